"""What the product reads of a message, compared with what the camera saw."""

import io

import numpy as np
from PIL import Image
from scene import ir16
from scene import packed
from scene import rgb8

from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.rgb_image import rgb_image
from tdfusion_ros.core.thermal import gray
from tdfusion_ros.formats.messages import to_frame

GOOD = r'off by 0 %'
NEAR = r'off by [0-2] %'
COUNTS = 'off by 0 %, uint16'
TEMPERATURES = 'off by 0 %, float32'


def seen(message, expected):
    """Read a message; say how far its pixels are from what the camera saw, in % of its range."""
    try:
        pixels = to_frame(message).pixels
    except FrameError as error:
        return f'refused ({error.cause}): {error}'
    if expected.ndim == 3:
        pixels, expected = rgb_image(pixels), rgb_image(expected)
    elif pixels.ndim == 3:
        pixels = gray(pixels)
    error = np.nanmean(np.abs(pixels.astype(np.float64) - expected)) / np.ptp(expected)
    return f'off by {100 * error:.0f} %, {pixels.dtype}'


def rgb_of(form, data):
    """Return a run of a row: read the first rgb picture, encoded so."""
    return lambda: seen(packed(0, data, form), rgb8(0))


def ir_of(form, data, expected=None):
    """Return a run of a row: read an ir picture, encoded so; expected: the first counts."""
    return lambda: seen(packed(0, data, form), ir16(0) if expected is None else expected)


def mosaic(rgb):
    stored = rgb[..., 1].copy()
    stored[::2, ::2], stored[1::2, 1::2] = rgb[::2, ::2, 0], rgb[1::2, 1::2, 2]
    return stored


def saved(pixels, kind, **options):
    file = io.BytesIO()
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(file, kind, **options)
    return file.getvalue()
