"""Other encoded images, and what the format of a CompressedImage says."""

import struct

import numpy as np
from PIL import Image
from received import COUNTS
from received import GOOD
from received import ir_of
from received import mosaic
from received import NEAR
from received import rgb_of
from received import saved
from received import seen
from received import TEMPERATURES
from scene import encoded
from scene import ir8
from scene import ir16
from scene import packed
from scene import rgb8

JPEG, PNG16 = encoded('.jpg', rgb8(0)), encoded('.png', ir16(0))
PALETTE = Image.fromarray(ir8(0)).convert('P')
TWO = [Image.fromarray(rgb8(i)) for i in (0, 40)]


ROWS = {
    'Bayer mosaic as PNG (image_transport_plugins #68)': (
        rgb_of('bayer_rggb8; png compressed ', encoded('.png', mosaic(rgb8(0)))),
        NEAR,
    ),
    'Bayer mosaic as JPEG (image_transport_plugins #172)': (
        rgb_of('bayer_rggb8; jpeg compressed ', encoded('.jpg', mosaic(rgb8(0)))),
        NEAR,
    ),
    'Bayer mosaic of 16 bits as PNG (image_transport_plugins #172)': (
        rgb_of(
            'bayer_rggb16; png compressed ',
            encoded('.png', mosaic(rgb8(0)).astype(np.uint16) * 257),
        ),
        NEAR,
    ),
    'gray made of a Bayer mosaic (image_transport_plugins, rolling)': (
        lambda: seen(
            packed(0, encoded('.png', rgb8(0)[..., 1]), 'bayer_rggb8; jpeg compressed mono8'),
            rgb8(0)[..., 1],
        ),
        GOOD,
    ),
    'Bayer mosaic, demosaiced before (image_transport_plugins PR 98)': (
        rgb_of('bayer_rggb8; jpeg compressed bgr8', JPEG),
        NEAR,
    ),
    'unknown Bayer pattern (vendor drivers)': (
        rgb_of('bayer_rgbw8; png compressed ', encoded('.png', mosaic(rgb8(0)))),
        "refused.*'bayer_rgbw8'",
    ),
    'YUYV, compressed to gray (image_transport_plugins #170)': (
        lambda: seen(
            packed(0, encoded('.jpg', ir8(0)), 'yuv422_yuy2; jpeg compressed mono8'), ir8(0)
        ),
        NEAR,
    ),
    'thermal counts as TIFF (sensor_msgs/CompressedImage)': (
        ir_of('mono16; tiff compressed mono16', encoded('.tiff', ir16(0))),
        COUNTS,
    ),
    'color as TIFF, of rgb8 (image_transport_plugins, which stores R, G, B as they are)': (
        rgb_of('rgb8; tiff compressed ', encoded('.tiff', rgb8(0)[..., ::-1])),
        GOOD,
    ),
    'color as TIFF, of bgr8 (image_transport_plugins)': (
        rgb_of('bgr8; tiff compressed ', encoded('.tiff', rgb8(0))),
        GOOD,
    ),
    'compressedDepth of counts (compressed_depth_image_transport)': (
        ir_of('16UC1; compressedDepth png', bytes(12) + PNG16),
        COUNTS,
    ),
    'compressedDepth without a codec (Foxy and before)': (
        ir_of('16UC1; compressedDepth', bytes(12) + PNG16),
        COUNTS,
    ),
    'compressedDepth of floats (compressed_depth_image_transport)': (
        ir_of('32FC1; compressedDepth png', struct.pack('<iff', 0, 9e6, 0) + PNG16, 9e6 / ir16(0)),
        TEMPERATURES,
    ),
    'compressedDepth of floats, with colors (damaged bags)': (
        rgb_of('32FC1; compressedDepth png', bytes(12) + encoded('.png', rgb8(0))),
        'refused .bad_encoding.: compressedDepth of 32FC1 has colors',
    ),
    'compressedDepth in rvl (compressed_depth_image_transport)': (
        ir_of('16UC1; compressedDepth rvl', bytes(12) + struct.pack('<II', 128, 96) + bytes(99)),
        r'expected an image.*rvl',
    ),
    'PNG of 16 bits and color (image_transport bgr16)': (
        rgb_of('rgb16; png compressed bgr16', encoded('.png', rgb8(0).astype(np.uint16) * 257)),
        GOOD,
    ),
    'gray PNG with a palette (gray palettes of viewers)': (
        ir_of('png', saved(PALETTE, 'PNG'), ir8(0)),
        GOOD,
    ),
    'gray PNG with alpha (photo editors)': (
        ir_of('png', saved(Image.fromarray(np.dstack([ir8(0), ir8(1)]), 'LA'), 'PNG'), ir8(0)),
        GOOD,
    ),
    'animated PNG: its first picture (APNG)': (
        rgb_of('png', saved(TWO[0], 'PNG', save_all=True, append_images=TWO[1:])),
        GOOD,
    ),
    'animated WebP: its first picture (WebP)': (
        rgb_of('webp', saved(TWO[0], 'WEBP', save_all=True, append_images=TWO[1:], lossless=True)),
        GOOD,
    ),
    'TIFF of two pages: its first (TIFF 6.0)': (
        rgb_of('tiff', saved(TWO[0], 'TIFF', save_all=True, append_images=TWO[1:])),
        GOOD,
    ),
}
