"""Reasons at the place where a user looks for them."""

import os
from pathlib import Path

import cv2
from PIL import Image
from received import saved
from row import Row
from scene import bag
from scene import encoded
from scene import folder
from scene import fuse
from scene import image
from scene import ir8
from scene import packed
from scene import pairs
from scene import rgb8
from scene import tdfusion


def ironbow(i):
    return cv2.applyColorMap(ir8(i), cv2.COLORMAP_INFERNO)[..., ::-1]


def false_colors():
    """Return a bag whose thermal camera shows a palette."""
    return bag('bag', pairs(ir=lambda ns, i: image(ns, ironbow(i), 'rgb8')))


def video():
    """Return a bag with a video stream of the rgb camera."""
    topic, data = '/rgb/image_raw/compressed', bytes([0, 0, 0, 1, 103])
    return bag('bag', pairs(rgb=lambda ns, i: packed(ns, data, 'h264'), rgb_topic=topic))


def fuse_false_colors_of_folders():
    rgb = folder('rgb', {'a.png': encoded('.png', rgb8(0))})
    return fuse(rgb, folder('ir', {'a.png': encoded('.png', ironbow(0))}))


def fuse_folders_with_a_damaged_file():
    files = {f'{i}.png': encoded('.png', rgb8(i)) for i in range(3)}
    ir = folder('ir', {name: encoded('.png', ir8(0)) for name in files})
    return fuse(folder('rgb', files | {'1.png': files['1.png'][:200]}), ir)


def fuse_names_that_are_no_utf8():
    """Fuse folders whose names are in GBK, as unzip leaves those of Windows; list the results."""
    name = os.fsdecode('图像_01.png'.encode('gbk'))
    rgb = folder('rgb', {name: encoded('.png', rgb8(0))})
    said = fuse(rgb, folder('ir', {name: encoded('.png', ir8(0))}))
    return f'{said} {sorted(os.listdir(b"out"))}'


def fuse_turned_rgb():
    exif = Image.Exif()
    exif[274] = 3
    rgb = folder('rgb', {'a.jpg': saved(rgb8(0), 'JPEG', exif=exif)})
    return fuse(rgb, folder('ir', {'a.png': encoded('.png', ir8(0))}))


FALSE_COLORS = 'the ir image is in false colors.*switch'


def fuse_beside_a_folder_of_the_name_of_the_model():
    """Fuse where a download left a folder called like the shipped model."""
    folder('msrs_rt', {'model.json': b'{}'})
    return fuse(bag('bag', pairs()))


def fuse_with_parameters(text, *arguments):
    Path('robot.yaml').write_text(text)
    return fuse(bag('bag', pairs()), '--config', 'robot.yaml', *arguments)


CAMERA = 'usb_cam:\n  ros__parameters:\n    image_width: 640\n'
RIGS = (
    '/rig1/tdfusion:\n  ros__parameters: {score_threshold: 0.5}\n'
    '/rig2:\n  tdfusion:\n    ros__parameters: {score_treshold: 0.5}\n'
)
ROWS = [
    Row(
        'parameter file of a whole robot',
        'ros2 launch',
        lambda: fuse_with_parameters(CAMERA + 'tdfusion:\n  ros__parameters: {sync: {}}\n'),
        '3 pairs -> out; dropped: none',
    ),
    Row(
        'parameter file that sets use_sim_time for all nodes',
        'ros2 launch',
        lambda: fuse_with_parameters('/**:\n  ros__parameters: {use_sim_time: true}\n'),
        '3 pairs -> out; dropped: none',
    ),
    Row(
        'parameter file of two rigs',
        'robots with several cameras',
        lambda: fuse_with_parameters(RIGS),
        'has parameters of /rig1/tdfusion, /rig2/tdfusion; choose a node with --node',
    ),
    Row(
        'misspelled parameter of the second rig',
        'robots with several cameras',
        lambda: fuse_with_parameters(RIGS, '--node', '/rig2/tdfusion'),
        "unknown setting 'score_treshold'",
    ),
    Row(
        'a folder beside is called like the shipped model',
        'downloads and clones',
        fuse_beside_a_folder_of_the_name_of_the_model,
        '3 pairs -> out; dropped: none',
    ),
    Row(
        'folder of a model without a slash',
        'adversarial review',
        lambda: fuse(bag('mine', pairs()), '-p', 'model=mine'),
        "model 'mine' is neither .*; write a folder with a slash, as ./mine",
    ),
    Row('thermal bag in a palette, fused', 'FLIR ONE', lambda: fuse(false_colors()), FALSE_COLORS),
    Row(
        'thermal folder in a palette, fused',
        'FLIR ONE',
        fuse_false_colors_of_folders,
        f'no pair was fused: {FALSE_COLORS}',
    ),
    Row(
        'thermal bag in a palette, timed',
        'FLIR ONE',
        lambda: tdfusion('bench', false_colors(), '--frames', 2),
        FALSE_COLORS,
    ),
    Row(
        'thermal bag in a palette, calibrated',
        'FLIR ONE',
        lambda: tdfusion('calibrate', false_colors(), '-o', 'c.yaml'),
        f'no pair can be used: {FALSE_COLORS}',
    ),
    Row(
        'video in a bag, calibrated',
        'foxglove, gscam',
        lambda: tdfusion('calibrate', video(), '-o', 'c.yaml'),
        "no pair can be used: .*the format is 'h264'",
    ),
    Row(
        'video in a bag, timed',
        'foxglove, gscam',
        lambda: tdfusion('bench', video(), '--frames', 2),
        "no pairs to time: .*the format is 'h264'",
    ),
    Row(
        'one file of a folder is cut off',
        'broken copies',
        fuse_folders_with_a_damaged_file,
        r'2 pairs -> out; dropped: 1 rgb.unreadable\nfirst rgb.unreadable: rgb/1.png is not',
    ),
    Row(
        'file names that are not UTF-8',
        'zip files made on Windows',
        fuse_names_that_are_no_utf8,
        r'1 pair -> out; dropped: none.*exit status 0.*_01.png',
    ),
    Row(
        'rgb files say turn, ir files do not',
        'phones, FLIR ONE, DJI',
        fuse_turned_rgb,
        r'1 pair -> out.*rgb/a.jpg has the EXIF orientation 3, ir/a.png has 1',
    ),
]
