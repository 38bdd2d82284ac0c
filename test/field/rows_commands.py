"""What commands say about bags and folders that they can or cannot use."""

import os
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from received import saved
from scene import bag
from scene import encoded
from scene import folder
from scene import fuse
from scene import image
from scene import ir8
from scene import ir16
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
    topic, data = '/rgb/image_raw/compressed', bytes([0, 0, 0, 1, 103])
    return bag('bag', pairs(rgb=lambda ns, i: packed(ns, data, 'h264'), rgb_topic=topic))


def compressed_depth():
    """Return a bag whose thermal camera sends PNG by compressed_depth_image_transport."""
    form = '16UC1; compressedDepth png'
    return bag(
        'bag',
        pairs(
            ir=lambda ns, i: packed(ns, bytes(12) + encoded('.png', ir16(i)), form),
            ir_topic='/ir/image_raw/compressedDepth',
        ),
    )


def temperatures():
    """Return a bag whose thermal camera sends degrees."""
    return bag('bag', pairs(ir=lambda ns, i: image(ns, np.float32(ir16(i)) / 100, '32FC1')))


def fuse_names_that_are_no_utf8():
    """Fuse folders whose names are in GBK, as unzip leaves names of Windows; list the results."""
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


def fuse_with_parameters(text, *arguments):
    Path('robot.yaml').write_text(text)
    return fuse(bag('bag', pairs()), '--config', 'robot.yaml', *arguments)


RIGS = (
    '/rig1/tdfusion:\n  ros__parameters: {score_threshold: 0.5}\n'
    '/rig2:\n  tdfusion:\n    ros__parameters: {score_treshold: 0.5}\n'
)
ROWS = {
    'thermal topic of compressedDepth (compressed_depth_image_transport)': (
        lambda: fuse(compressed_depth()),
        '3 pairs -> out; dropped: none',
    ),
    'thermal topic of temperatures (Optris)': (
        lambda: fuse(temperatures()),
        '3 pairs -> out; dropped: none',
    ),
    'misspelled parameter of the second rig (robots with several cameras)': (
        lambda: fuse_with_parameters(RIGS, '--node', '/rig2/tdfusion'),
        "unknown setting 'score_treshold'",
    ),
    'thermal bag in a palette, timed (FLIR ONE)': (
        lambda: tdfusion('bench', false_colors(), '--frames', 2),
        FALSE_COLORS,
    ),
    'thermal bag in a palette, calibrated (FLIR ONE)': (
        lambda: tdfusion('calibrate', false_colors(), '-o', 'c.yaml'),
        f'no pair can be used: {FALSE_COLORS}',
    ),
    'video in a bag, calibrated (foxglove, gscam)': (
        lambda: tdfusion('calibrate', video(), '-o', 'c.yaml'),
        "no pair can be used: .*the format is 'h264'",
    ),
    'video in a bag, timed (foxglove, gscam)': (
        lambda: tdfusion('bench', video(), '--frames', 2),
        "no pairs to time: .*the format is 'h264'",
    ),
    'file names that are not UTF-8 (zip files made on Windows)': (
        fuse_names_that_are_no_utf8,
        r'1 pair -> out; dropped: none.*exit status 0.*_01.png',
    ),
    'rgb files say turn, ir files do not (phones, FLIR ONE, DJI)': (
        fuse_turned_rgb,
        r'1 pair -> out.*rgb/a.jpg has the EXIF orientation 3, ir/a.png has 1',
    ),
}
