"""Raw images: encodings, and fields that do not fit."""

import numpy as np
from received import CELSIUS
from received import COUNTS
from received import GOOD
from received import mosaic
from received import NEAR
from received import seen
from received import TEMPERATURES
from row import Row
from scene import bag
from scene import encoded
from scene import fuse
from scene import image
from scene import ir8
from scene import ir16
from scene import packed
from scene import pairs
from scene import rgb8

YUYV = np.dstack([rgb8(0)[..., 0], np.full(rgb8(0).shape[:2], 128, np.uint8)])


def raw(pixels, encoding, expected, **fields):
    return lambda: seen(image(0, pixels, encoding, **fields), expected)


ROWS = [
    Row(
        'temperatures, 32FC1',
        'Optris, Seek, Hikvision',
        raw(CELSIUS, '32FC1', CELSIUS),
        TEMPERATURES,
    ),
    Row(
        'temperatures with NaN',
        'Optris',
        raw(np.where(ir8(0) > 200, np.nan, CELSIUS).astype(np.float32), '32FC1', CELSIUS),
        TEMPERATURES,
    ),
    Row(
        'temperatures, 64FC1',
        'numpy publishers',
        raw(np.float64(CELSIUS), '64FC1', CELSIUS),
        TEMPERATURES,
    ),
    Row(
        'signed counts, 16SC1',
        'Seek',
        raw(np.int16(CELSIUS * 10), '16SC1', np.int16(CELSIUS * 10)),
        TEMPERATURES,
    ),
    Row(
        'counts, high byte first',
        'GigE cameras',
        raw(ir16(0).astype('>u2'), 'mono16', ir16(0), is_bigendian=1),
        COUNTS,
    ),
    Row(
        'YUYV',
        'usb_cam, v4l2_camera',
        raw(YUYV, 'yuv422_yuy2', np.dstack([YUYV[..., 0]] * 3)),
        r'off by [0-9] %',
    ),
    Row(
        'UYVY',
        'usb_cam #263',
        raw(YUYV[..., ::-1], 'yuv422', np.dstack([YUYV[..., 0]] * 3)),
        r'off by [0-9] %',
    ),
    Row('Bayer', 'FLIR, Basler', raw(mosaic(rgb8(0)), 'bayer_rggb8', rgb8(0)), NEAR),
    Row(
        'color of 16 bits',
        'machine vision',
        raw(rgb8(0).astype(np.uint16) * 257, 'rgb16', rgb8(0)),
        GOOD,
    ),
    Row('step 0', 'hand-written publishers', raw(rgb8(0), 'rgb8', rgb8(0), step=0), GOOD),
    Row('step counts pixels', 'usb_cam #288', raw(rgb8(0), 'rgb8', rgb8(0), step=128), GOOD),
    Row(
        'half of the bytes are missing',
        'lossy links',
        raw(rgb8(0), 'rgb8', rgb8(0), data=np.zeros(9000, np.uint8)),
        'truncated',
    ),
    Row(
        '0 x 0 pixels',
        'drivers before their first frame',
        raw(rgb8(0), 'rgb8', rgb8(0), height=0, width=0, step=0, data=np.zeros(0, np.uint8)),
        'bad_size',
    ),
    Row(
        'encoding with a letter wrong',
        'hand-written publishers',
        raw(rgb8(0), 'rbg8', rgb8(0)),
        r"'rbg8' cannot be read; let the driver send one of mono8",
    ),
    Row(
        'thermal topic of compressedDepth, fused',
        'compressed_depth_image_transport',
        lambda: fuse(
            bag(
                'bag',
                pairs(
                    ir=lambda ns, i: packed(
                        ns, bytes(12) + encoded('.png', ir16(i)), '16UC1; compressedDepth png'
                    ),
                    ir_topic='/ir/image_raw/compressedDepth',
                ),
            )
        ),
        '3 pairs',
    ),
    Row(
        'thermal topic of temperatures, fused',
        'Optris',
        lambda: fuse(
            bag('bag', pairs(ir=lambda ns, i: image(ns, np.float32(ir16(i)) / 100, '32FC1')))
        ),
        '3 pairs -> out; dropped: none',
    ),
]
