import cv2
import numpy as np
import pytest

from tdfusion_ros.core.data import MAX_SIDE_PX
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.formats.decode import decode_compressed
from tdfusion_ros.formats.decode import decode_raw
from tdfusion_ros.formats.decode import ENCODINGS
from tdfusion_ros.formats.decode import Layout
from tdfusion_ros.formats.decode import SizeGuard

RGB = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
GRAY = RGB[..., 0].copy()
DEEP = GRAY.astype(np.uint16) * 257 + np.arange(7, dtype=np.uint16)
ALPHA = np.full((5, 7, 1), 99, np.uint8)
# encoding: the array as it lies in the message, the pixels to read from it
CASES = {
    'mono8': (GRAY, GRAY),
    '8UC1': (GRAY, GRAY),
    'mono16': (DEEP, DEEP),
    '16UC1': (DEEP, DEEP),
    'rgb8': (RGB, RGB),
    'rgba8': (np.dstack([RGB, ALPHA]), RGB),
    'bgr8': (RGB[..., ::-1], RGB),
    '8UC3': (RGB[..., ::-1], RGB),
    'bgra8': (np.dstack([RGB[..., ::-1], ALPHA]), RGB),
}


def message(array, encoding, padding=0, big=False):
    """Return layout and bytes of an Image whose rows end in so many bytes of padding."""
    rows = array.astype(array.dtype.newbyteorder('>' if big else '<')).reshape(5, -1)
    rows = np.ascontiguousarray(rows).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=255)
    return Layout(5, 7, encoding, rows.shape[1], big), rows.reshape(-1)


def cause_of(decode, *arguments):
    with pytest.raises(FrameError) as caught:
        decode(*arguments)
    return caught.value.cause


@pytest.mark.parametrize('big', [False, True])
@pytest.mark.parametrize('padding', [0, 1, 6])
@pytest.mark.parametrize('encoding', ENCODINGS)
def test_every_encoding_is_read_whatever_padding_and_endianness(encoding, padding, big):
    array, wanted = CASES[encoding]
    pixels = decode_raw(*message(array, encoding, padding, big))
    np.testing.assert_array_equal(pixels, wanted)
    assert pixels.dtype == wanted.dtype
    assert pixels.dtype.isnative


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_pixels_are_a_view_of_the_message(encoding):
    layout, data = message(CASES[encoding][0], encoding, padding=2)
    assert np.shares_memory(decode_raw(layout, data), data)


def test_last_row_may_come_without_its_padding():
    layout, data = message(GRAY, 'mono8', padding=3)
    np.testing.assert_array_equal(decode_raw(layout, data[:-3]), GRAY)


@pytest.mark.parametrize(
    ('layout', 'cause'),
    [
        (Layout(5, 7, 'mono8', 8), 'truncated'),
        (Layout(5, 7, 'mono16', 14), 'truncated'),
        (Layout(5, 7, 'rgb8', 7), 'bad_size'),
        (Layout(5, 7, 'mono8', 10**9), 'bad_size'),
        (Layout(0, 7, 'mono8', 7), 'bad_size'),
        (Layout(5, 0, 'mono8', 0), 'bad_size'),
        (Layout(MAX_SIDE_PX + 1, 7, 'mono8', 7), 'bad_size'),
        (Layout(2**32 - 1, 2**32 - 1, 'mono8', 2**32 - 1), 'bad_size'),
        (Layout(5, 7, 'yuv422', 14), 'bad_encoding'),
        (Layout(5, 7, '', 7), 'bad_encoding'),
    ],
)
def test_fields_that_do_not_fit_the_bytes_are_refused_with_their_cause(layout, cause):
    assert cause_of(decode_raw, layout, GRAY.reshape(-1)) == cause


def test_no_bytes_at_all_are_refused():
    assert cause_of(decode_raw, Layout(5, 7, 'mono8', 7), np.zeros(0, np.uint8)) == 'truncated'
    assert cause_of(decode_compressed, np.zeros(0, np.uint8)) == 'bad_encoding'


@pytest.mark.parametrize('wanted', [GRAY, DEEP, RGB], ids=['gray', '16 bit', 'color'])
def test_png_is_read_without_loss(wanted):
    data = cv2.imencode('.png', wanted[..., ::-1] if wanted.ndim == 3 else wanted)[1]
    pixels = decode_compressed(data.reshape(-1))
    np.testing.assert_array_equal(pixels, wanted)
    assert pixels.dtype == wanted.dtype


def test_alpha_of_a_png_is_left_out():
    data = cv2.imencode('.png', np.dstack([RGB[..., ::-1], ALPHA]))[1]
    np.testing.assert_array_equal(decode_compressed(data.reshape(-1)), RGB)


def photo(demo_pairs):
    return np.ascontiguousarray(demo_pairs[0].rgb.pixels[:120, :160])


def encoded(pixels, suffix, padding=0):
    data = cv2.imencode(suffix, pixels[..., ::-1])[1].reshape(-1)
    return np.concatenate([data, np.zeros(padding, np.uint8)])


@pytest.mark.parametrize('padding', [0, 3])
def test_jpeg_is_read_as_rgb_also_with_zeros_behind_it(demo_pairs, padding):
    wanted = photo(demo_pairs)
    pixels = decode_compressed(encoded(wanted, '.jpg', padding))
    assert np.abs(pixels.astype(int) - wanted).mean() < 4
    assert np.abs(pixels[..., ::-1].astype(int) - wanted).mean() > 4


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
@pytest.mark.parametrize('share', [0.01, 0.3, 0.7, 0.99])
def test_compressed_image_that_breaks_off_is_refused(demo_pairs, suffix, share):
    data = encoded(photo(demo_pairs), suffix)
    assert cause_of(decode_compressed, data[: int(share * len(data))]) in (
        'truncated',
        'bad_encoding',
    )


def test_jpeg_without_a_frame_header_is_refused():
    data = np.frombuffer(b'\xff\xd8\xff\xfe\x00\x10' + bytes(40) + b'\xff\xd9', np.uint8)
    assert cause_of(decode_compressed, data) == 'truncated'


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_absurd_dimensions_are_refused_before_anything_is_allocated(demo_pairs, suffix):
    data = encoded(photo(demo_pairs), suffix)
    size = (120).to_bytes(2, 'big') + (160).to_bytes(2, 'big')  # a JPEG's height and width
    if suffix == '.png':
        size = (160).to_bytes(4, 'big') + (120).to_bytes(4, 'big')
    broken = bytes(data).replace(size, b'\xff' * len(size), 1)
    assert broken != bytes(data)
    assert cause_of(decode_compressed, np.frombuffer(broken, np.uint8)) == 'bad_size'


def test_broken_compressed_bytes_are_a_picture_or_a_frame_error_and_nothing_else(demo_pairs):
    rng = np.random.default_rng(0)
    for suffix in ('.jpg', '.png'):
        good = encoded(photo(demo_pairs), suffix)
        for _ in range(60):
            broken = good.copy()
            broken[rng.integers(0, len(good), 4)] = rng.integers(0, 256, 4)
            try:
                assert decode_compressed(broken).dtype in (np.uint8, np.uint16)
            except FrameError:
                continue


def test_size_guard_refuses_odd_frames_and_keeps_the_size_of_the_stream():
    guard = SizeGuard(patience=3)
    guard.check((480, 640))
    assert cause_of(guard.check, (240, 320)) == 'size_changed'
    guard.check((480, 640))
    assert cause_of(guard.check, (240, 320)) == 'size_changed'
    assert cause_of(guard.check, (240, 320)) == 'size_changed'
    guard.check((480, 640))


def test_size_guard_believes_a_camera_that_was_reconfigured():
    guard = SizeGuard(patience=3)
    guard.check((480, 640))
    for _ in range(2):
        assert cause_of(guard.check, (240, 320)) == 'size_changed'
    guard.check((240, 320))
    guard.check((240, 320))
    assert cause_of(guard.check, (480, 640)) == 'size_changed'
