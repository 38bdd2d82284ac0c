"""Reasons at the place where a user looks for them."""

import cv2
from row import Row
from scene import bag
from scene import encoded
from scene import folder
from scene import fuse
from scene import image
from scene import ir8
from scene import pairs
from scene import rgb8
from scene import tdfusion


def ironbow(i):
    return cv2.applyColorMap(ir8(i), cv2.COLORMAP_INFERNO)[..., ::-1]


def false_colors():
    """Return a bag whose thermal camera shows a palette."""
    return bag('bag', pairs(ir=lambda ns, i: image(ns, ironbow(i), 'rgb8')))


def fuse_false_colors_of_folders():
    rgb = folder('rgb', {'a.png': encoded('.png', rgb8(0))})
    return fuse(rgb, folder('ir', {'a.png': encoded('.png', ironbow(0))}))


FALSE_COLORS = 'the ir image is in false colors.*switch'
ROWS = [
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
]
