"""Raw images: every encoding of sensor_msgs, its layout in memory, and what does not fit."""

from collections import namedtuple

import cv2
import numpy as np
import pytest

from tdfusion_ros.core.data import MAX_SIDE_PX
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.formats.raw_images import BAYER
from tdfusion_ros.formats.raw_images import decode_raw
from tdfusion_ros.formats.raw_images import ENCODINGS

FIELDS = 'height width encoding step is_bigendian'
RawFormat = namedtuple('RawFormat', FIELDS, defaults=(False,))
HW = 40, 56
NOISE = np.random.default_rng(0).integers(0, 256, (*HW, 3)).astype(np.float32)
RGB = np.uint8(cv2.GaussianBlur(NOISE, (0, 0), 3) + np.float32([40, 0, -40]))
RGB16 = RGB.astype(np.uint16) * 257
GRAY = RGB[..., 0].copy()
DEEP = GRAY.astype(np.uint16) * 257 + np.arange(56, dtype=np.uint16)
CELSIUS = GRAY.astype(np.float32) / 3 - 20
ALPHA = np.full((*HW, 1), 99, np.uint8)
HUGE = MAX_SIDE_PX + 1


def mosaic(rgb, pattern):
    """Return the Bayer mosaic of an image: one channel per pixel, ``pattern`` row by row."""
    stored = np.empty(rgb.shape[:2], rgb.dtype)
    for place, color in enumerate(pattern):
        y, x = divmod(place, 2)
        stored[y::2, x::2] = rgb[y::2, x::2, 'rgb'.index(color)]
    return stored


def luma_and_color(rgb):
    """Return Y (H, W) and U, V (H, W, 2) of BT.601 in its limited range."""
    r, g, b = (rgb[..., i].astype(float) for i in range(3))
    y = 16 + 0.257 * r + 0.504 * g + 0.098 * b
    u = 128 - 0.148 * r - 0.291 * g + 0.439 * b
    v = 128 + 0.439 * r - 0.368 * g - 0.071 * b
    return y.round().astype(np.uint8), np.dstack([u, v]).round().astype(np.uint8)


def packed(rgb, first):
    """Return (H, W, 2): luma and, in turn, U and V; ``first`` is what comes first of a pixel."""
    y, uv = luma_and_color(rgb)
    color = np.where(np.arange(rgb.shape[1]) % 2, uv[:, :, 1], uv[:, :, 0])
    return np.dstack([y, color] if first == 'y' else [color, y])


def planes(rgb, order, every):
    """Return the rows of Y, then the rows of color at every 2nd or each pixel, as bytes."""
    y, uv = luma_and_color(rgb)
    color = uv[::every, ::every, :: 1 if order == 'uv' else -1]
    return np.concatenate([y, color.reshape(-1, rgb.shape[1])])


# encoding: the array as it is stored in the message, the pixels to read from it
STORED = {
    'mono8': (GRAY, GRAY),
    '8UC1': (GRAY, GRAY),
    'mono16': (DEEP, DEEP),
    '16UC1': (DEEP, DEEP),
    '8SC1': (CELSIUS.astype(np.int8), CELSIUS.astype(np.int8)),
    '16SC1': (np.int16(100 * CELSIUS), np.int16(100 * CELSIUS)),
    '32SC1': (np.int32(1000 * CELSIUS), np.int32(1000 * CELSIUS)),
    '32FC1': (CELSIUS, CELSIUS),
    '64FC1': (CELSIUS.astype(np.float64), CELSIUS),
    'rgb8': (RGB, RGB),
    'bgr8': (RGB[..., ::-1], RGB),
    'rgba8': (np.dstack([RGB, ALPHA]), RGB),
    'bgra8': (np.dstack([RGB[..., ::-1], ALPHA]), RGB),
    'rgb16': (RGB16, RGB16),
    'bgr16': (RGB16[..., ::-1], RGB16),
    'rgba16': (np.dstack([RGB16, ALPHA]), RGB16),
    'bgra16': (np.dstack([RGB16[..., ::-1], ALPHA]), RGB16),
    '8UC3': (RGB[..., ::-1], RGB),
    '8UC4': (np.dstack([RGB[..., ::-1], ALPHA]), RGB),
    '16UC3': (RGB16[..., ::-1], RGB16),
    '16UC4': (np.dstack([RGB16[..., ::-1], ALPHA]), RGB16),
    **{f'bayer_{p}8': (mosaic(RGB, p), RGB) for p in BAYER},
    **{f'bayer_{p}16': (mosaic(RGB16, p), RGB16) for p in BAYER},
    'uyvy': (packed(RGB, 'u'), RGB),
    'yuv422': (packed(RGB, 'u'), RGB),
    'yuyv': (packed(RGB, 'y'), RGB),
    'yuv422_yuy2': (packed(RGB, 'y'), RGB),
    'nv12': (planes(RGB, 'uv', 2), RGB),
    'nv21': (planes(RGB, 'vu', 2), RGB),
    'nv24': (planes(RGB, 'uv', 1), RGB),
}
CONVERTED = [name for name, known in ENCODINGS.items() if callable(known.rgb)]


def message(array, encoding, padding=0, big=False):
    """Return layout and bytes of an Image whose rows end in so many bytes of padding."""
    stored = array.astype(array.dtype.newbyteorder('>' if big else '<'))
    rows = np.ascontiguousarray(stored.reshape(len(stored), -1)).view(np.uint8)
    if encoding == 'nv24' and padding:  # a row of color is two rows long, and so is its padding
        luma, color = rows[: HW[0]], rows[HW[0] :].reshape(HW[0], -1)
        wide = np.pad(color, ((0, 0), (0, 2 * padding)), constant_values=255)
        rows = np.concatenate([np.pad(luma, ((0, 0), (0, padding))), wide.reshape(2 * HW[0], -1)])
    else:
        rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=255)
    return RawFormat(*HW, encoding, rows.shape[1], big), rows.reshape(-1)


def cause_of(*arguments):
    with pytest.raises(FrameError) as caught:
        decode_raw(*arguments)
    return caught.value.cause


@pytest.mark.parametrize('big', [False, True])
@pytest.mark.parametrize('padding', [0, 1, 6])
@pytest.mark.parametrize('encoding', ENCODINGS)
def test_every_encoding_is_read_with_any_padding_and_endianness(encoding, padding, big):
    array, expected = STORED[encoding]
    pixels = decode_raw(*message(array, encoding, padding, big))
    assert pixels.dtype.isnative
    if encoding not in CONVERTED:
        np.testing.assert_array_equal(pixels, expected)
        is_count = expected.dtype in (np.uint8, np.uint16)
        assert pixels.dtype == (expected.dtype if is_count else np.float32)
        return
    assert (pixels.shape, pixels.dtype) == (expected.shape, expected.dtype)
    one = 257 if expected.dtype == np.uint16 else 1
    error = np.abs(pixels.astype(float) - expected).mean() / one
    swapped = np.abs(pixels[..., ::-1].astype(float) - expected).mean() / one
    assert error < 3 < 10 < swapped


def test_last_row_may_come_without_its_padding():
    layout, data = message(GRAY, 'mono8', padding=3)
    np.testing.assert_array_equal(decode_raw(layout, data[:-3]), GRAY)


@pytest.mark.parametrize('step', [0, 1, 56])
def test_wrong_step_is_no_fault_if_the_bytes_are_as_many_as_the_pixels_need(step):
    data = RGB.reshape(-1)
    np.testing.assert_array_equal(decode_raw(RawFormat(*HW, 'rgb8', step), data), RGB)
    assert cause_of(RawFormat(*HW, 'rgb8', step), data[:-1]) == 'bad_size'


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_values_that_no_sensor_measures_become_nan(dtype):
    odd = [np.nan, np.inf, -np.inf, np.finfo(dtype).max, -5e12]
    array = np.where(np.arange(56) < 5, np.resize(odd, 56), CELSIUS).astype(dtype)
    pixels = decode_raw(*message(array, f'{8 * array.itemsize}FC1'))
    assert np.isnan(pixels[:, :5]).all()
    np.testing.assert_array_equal(pixels[:, 5:], CELSIUS[:, 5:])


@pytest.mark.parametrize(
    ('layout', 'cause'),
    [
        (RawFormat(40, 56, 'mono8', 57), 'truncated'),
        (RawFormat(40, 56, 'mono16', 112), 'truncated'),
        (RawFormat(40, 56, 'nv12', 56), 'truncated'),
        (RawFormat(40, 56, 'rgb8', 56), 'bad_size'),
        (RawFormat(40, 56, 'mono8', 10**9), 'bad_size'),
        (RawFormat(0, 56, 'mono8', 56), 'bad_size'),
        (RawFormat(40, 0, 'mono8', 0), 'bad_size'),
        (RawFormat(HUGE, 56, 'mono8', 56), 'bad_size'),
        (RawFormat(2**32 - 1, 2**32 - 1, 'mono8', 2**32 - 1), 'bad_size'),
        (RawFormat(2, 56, 'bayer_rggb8', 56), 'bad_size'),
        (RawFormat(20, 33, 'yuyv', 66), 'bad_size'),
        (RawFormat(21, 56, 'nv12', 56), 'bad_size'),
        (RawFormat(20, 55, 'nv21', 55), 'bad_size'),
        (RawFormat(40, 56, '8UC2', 112), 'bad_encoding'),
        (RawFormat(40, 56, '32FC3', 672), 'bad_encoding'),
        (RawFormat(40, 56, '', 56), 'bad_encoding'),
    ],
)
def test_fields_that_do_not_fit_the_bytes_are_refused_with_their_cause(layout, cause):
    assert cause_of(layout, GRAY.reshape(-1)) == cause


def test_unknown_encoding_is_named_with_those_that_are_read():
    with pytest.raises(FrameError, match=r"'yuv444'.*let the driver send one of mono8, .*nv24"):
        decode_raw(RawFormat(40, 56, 'yuv444', 168), GRAY.reshape(-1))
