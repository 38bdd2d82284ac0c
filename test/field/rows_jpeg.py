"""JPEG as cameras and their drivers make it: what is behind, before and around the picture."""

import numpy as np
from PIL import Image
from received import ir_of
from received import NEAR
from received import rgb_of
from received import saved
from scene import encoded
from scene import ir8
from scene import rgb8

JPEG = encoded('.jpg', rgb8(0))
RADIOMETRIC = np.random.default_rng(0).bytes(9000)  # has FF D8 and FF D9 somewhere


def long_scans():
    """Return a JPEG whose scan is repeated 2000 times: each would take the time of a picture."""
    data = saved(ir8(0), 'JPEG', progressive=True)
    at = data.index(b'\xff\xda')
    return data[:at] + (data[at:-2]) * 2000 + data[-2:]


def without_tables():
    """Return a JPEG without its Huffman tables: the standard ones count, as in Motion JPEG."""
    parts, at = [JPEG[:2]], 2
    while JPEG[at + 1] != 0xDA:  # the scan
        end = at + 2 + int.from_bytes(JPEG[at + 2 : at + 4], 'big')
        parts.append(JPEG[at:end] if JPEG[at + 1] != 0xC4 else b'')
        at = end
    return b''.join((*parts, JPEG[at:]))


ROWS = {
    'Motion JPEG without tables (UVC cameras)': (rgb_of('jpeg', without_tables()), NEAR),
    'JPEG with an old buffer behind it (usb_cam raw_mjpeg)': (rgb_of('jpeg', JPEG * 2), NEAR),
    'JPEG with a newline behind it (shell pipes)': (rgb_of('jpeg', JPEG + b'\r\n'), NEAR),
    'thermal JPEG with counts behind it (DJI M3T, M30T, H30T)': (
        ir_of('jpeg', encoded('.jpg', ir8(0)) + RADIOMETRIC, ir8(0)),
        NEAR,
    ),
    'JPEG cut off, the next one behind it (usb_cam)': (
        rgb_of('jpeg', JPEG[:-400] + JPEG),
        r'truncated.*end marker',
    ),
    'gray JPEG of an rgb camera (mono cameras)': (
        rgb_of('jpeg', encoded('.jpg', rgb8(0)[..., 1])),
        'off by',
    ),
    'JPEG in CMYK (photo editors)': (
        rgb_of('jpeg', saved(Image.fromarray(rgb8(0)).convert('CMYK'), 'JPEG', quality=95)),
        NEAR,
    ),
    'JPEG whose target is called rgb8 (many drivers)': (
        rgb_of('rgb8; jpeg compressed rgb8', JPEG),
        NEAR,
    ),
    'JPEG under the name png (republishers)': (rgb_of('png', JPEG), NEAR),
    'JPEG of 2000 scans (libjpeg-turbo, progressive JPEG bombs)': (
        ir_of('jpeg', long_scans()),
        'truncated.*more than 100 scans',
    ),
    'thermal JPEG of 12 bits (DICOM, libjpeg-turbo 3)': (
        ir_of(
            'jpeg', encoded('.jpg', ir8(0)).replace(b'\xff\xc0\0\x0b\x08', b'\xff\xc1\0\x0b\x0c')
        ),
        'bad_encoding.*not 8 bits.*PNG',
    ),
    'lossless JPEG and JPEG-LS (medical and thermal archives)': (
        ir_of('jpeg', encoded('.jpg', ir8(0)).replace(b'\xff\xc0', b'\xff\xf7')),
        'bad_encoding.*lossless.*PNG',
    ),
    'video in a CompressedImage (foxglove, gscam)': (
        rgb_of('h264', bytes([0, 0, 0, 1, 103])),
        r"expected an image.*'h264'",
    ),
}
