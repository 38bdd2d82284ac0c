"""
Raw images: the bytes of a sensor_msgs/Image to pixels.

All encodings of sensor_msgs/image_encodings.hpp with one channel, with color, Bayer or YUV are in
one table. Every field may be wrong: what does not fit together is a FrameError.
"""

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any
from typing import NamedTuple

import cv2
import numpy as np
from numpy.lib.stride_tricks import as_strided

from tdfusion_ros.core.data import MAX_SIDE_PX
from tdfusion_ros.core.errors import FrameError

MAX_PADDING = 1 << 16  # bytes behind a row
LARGEST = 1e9  # no count or temperature is larger; squares of it are still finite
# R, G, B of Y, U, V and 1: ITU-R BT.601, limited range, as in OpenCV's conversions.
OF_CHROMA = ((0.0, 1.596, -222.912), (-0.391, -0.813, 135.488), (2.018, 0.0, -276.928))
YUV_TO_RGB = np.array([(1.164, *row) for row in OF_CHROMA])


class Encoding(NamedTuple):
    """How an image is stored, and how to get R, G, B from it."""

    dtype: str
    """Of a channel, without byte order."""
    channels: int = 1
    rgb: slice | Callable[[np.ndarray], np.ndarray] | None = None
    """Which channels are R, G, B; or what makes them of the stored array; None: gray."""
    rows: Fraction = Fraction(1)
    """Stored rows for each row of the image: more than one if color is behind the luma."""


def _opencv(code: int) -> Callable[[np.ndarray], np.ndarray]:
    return partial(cv2.cvtColor, code=code)


def _nv24(stored: np.ndarray) -> np.ndarray:
    """Return R, G, B of a plane of Y and, behind it, one of U and V with rows twice as long."""
    height, width, step = stored.shape[0] // 3, stored.shape[1], stored.strides[0]
    color = as_strided(stored[height:], (height, width, 2), (2 * step, 2, 1))
    return cv2.transform(np.dstack([stored[:height], color]), YUV_TO_RGB)


RGB, BGR = slice(0, 3), slice(2, None, -1)
# The first two pixels of the first two rows; OpenCV names them by the second row, from the right.
BAYER = {
    'rggb': cv2.COLOR_BayerBG2RGB,
    'bggr': cv2.COLOR_BayerRG2RGB,
    'gbrg': cv2.COLOR_BayerGR2RGB,
    'grbg': cv2.COLOR_BayerGB2RGB,
}
UYVY, YUYV, NV12, NV21 = (
    _opencv(getattr(cv2, f'COLOR_YUV2RGB_{name}')) for name in ('UYVY', 'YUY2', 'NV12', 'NV21')
)
ENCODINGS: dict[str, Encoding] = {
    'mono8': Encoding('u1'),
    'mono16': Encoding('u2'),
    '8UC1': Encoding('u1'),
    '16UC1': Encoding('u2'),
    '8SC1': Encoding('i1'),
    '16SC1': Encoding('i2'),
    '32SC1': Encoding('i4'),
    '32FC1': Encoding('f4'),
    '64FC1': Encoding('f8'),
    'rgb8': Encoding('u1', 3, RGB),
    'bgr8': Encoding('u1', 3, BGR),
    'rgba8': Encoding('u1', 4, RGB),
    'bgra8': Encoding('u1', 4, BGR),
    'rgb16': Encoding('u2', 3, RGB),
    'bgr16': Encoding('u2', 3, BGR),
    'rgba16': Encoding('u2', 4, RGB),
    'bgra16': Encoding('u2', 4, BGR),
    '8UC3': Encoding('u1', 3, BGR),  # in OpenCV's order
    '8UC4': Encoding('u1', 4, BGR),
    '16UC3': Encoding('u2', 3, BGR),
    '16UC4': Encoding('u2', 4, BGR),
    **{f'bayer_{p}8': Encoding('u1', 1, _opencv(code)) for p, code in BAYER.items()},
    **{f'bayer_{p}16': Encoding('u2', 1, _opencv(code)) for p, code in BAYER.items()},
    'uyvy': Encoding('u1', 2, UYVY),
    'yuv422': Encoding('u1', 2, UYVY),
    'yuyv': Encoding('u1', 2, YUYV),
    'yuv422_yuy2': Encoding('u1', 2, YUYV),
    'nv12': Encoding('u1', 1, NV12, Fraction(3, 2)),
    'nv21': Encoding('u1', 1, NV21, Fraction(3, 2)),
    'nv24': Encoding('u1', 1, _nv24, Fraction(3)),
}


def decode_raw(raw: Any, data: np.ndarray) -> np.ndarray:
    """
    Return the pixels of a sensor_msgs/Image, as a view of its bytes where that is possible.

    :param raw: the message, of any class. :param data: its bytes, (n,) uint8.
    :returns: (H, W) uint8 or uint16; (H, W) float32 of signed or floating-point channels, NaN
        where there is no value; or (H, W, 3) uint8 or uint16, order R, G, B.
    :raises FrameError: ``bad_encoding``, ``bad_size`` or ``truncated``.
    """
    known = ENCODINGS.get(raw.encoding)
    if known is None:
        raise FrameError(
            'bad_encoding',
            f"encoding '{raw.encoding[:32]}' cannot be read; let the driver send one of "
            f'{", ".join(ENCODINGS)}',
        )
    check_size(raw.height, raw.width)
    stored = _stored_array(raw, known, data)
    if not stored.dtype.isnative or raw.step % stored.itemsize:  # OpenCV reads no such array
        stored = stored.astype(stored.dtype.newbyteorder('='))
    if isinstance(known.rgb, slice):
        return stored[..., known.rgb]
    if known.channels == 1:
        stored = stored[..., 0]
    if known.rgb is not None:
        return to_rgb(known.rgb, stored, raw.encoding)
    return stored if stored.dtype in (np.uint8, np.uint16) else counts(stored)


def to_rgb(
    convert: Callable[[np.ndarray], np.ndarray], stored: np.ndarray, encoding: str
) -> np.ndarray:
    """Return R, G, B of a stored array; FrameError if the encoding does not exist in this size."""
    height, width = stored.shape[:2]
    if min(height, width) > 2 or 'bayer' not in encoding:  # OpenCV makes a smaller one black
        try:
            return convert(stored)
        except cv2.error:  # odd width or height
            pass
    raise FrameError('bad_size', f'{width}x{height} is not a size of {encoding}')


def counts(values: np.ndarray) -> np.ndarray:
    """Return signed or floating-point values, (H, W), as float32; NaN where there is no value."""
    with np.errstate(over='ignore', invalid='ignore'):
        pixels = values.astype(np.float32)
        pixels[~(np.abs(pixels) < LARGEST)] = np.nan
    return pixels


def check_size(height: int, width: int) -> None:
    """Raise FrameError for sizes that no camera has, before memory is allocated."""
    if not (1 <= height <= MAX_SIDE_PX and 1 <= width <= MAX_SIDE_PX):
        raise FrameError('bad_size', f'{width}x{height} pixels: sides must be 1 to {MAX_SIDE_PX}')


def _stored_array(raw: Any, known: Encoding, data: np.ndarray) -> np.ndarray:
    """Return a view of the bytes: (rows, W, channels)."""
    dtype = np.dtype(known.dtype).newbyteorder('>' if raw.is_bigendian else '<')
    rows, step = raw.height * known.rows, raw.step
    row = raw.width * known.channels * dtype.itemsize
    if rows.denominator > 1:
        raise FrameError('bad_size', f'{raw.width}x{raw.height} is not a size of {raw.encoding}')
    height = int(rows)
    if step < row and len(data) == height * row:  # the driver set 0, or counted pixels
        step = row
    if not row <= step <= row + MAX_PADDING:
        raise FrameError('bad_size', f'step {step} does not fit a row of {row} bytes')
    if len(data) < step * (height - 1) + row:
        raise FrameError('truncated', f'{len(data)} bytes cannot hold {height} rows of {step}')
    strides = step, known.channels * dtype.itemsize, dtype.itemsize
    return np.ndarray((height, raw.width, known.channels), dtype, data, strides=strides)
