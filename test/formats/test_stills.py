"""Bytes of image files: what is read, and what is refused before OpenCV takes memory for it."""

import struct

import cv2
import numpy as np
import pytest

from tdfusion_ros.core.data import MAX_SIDE_PX
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.formats.stills import decode_still

RGB = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8), (0, 0), 2)
GRAY = RGB[..., 0].copy()
DEEP = GRAY.astype(np.uint16) * 257 + np.arange(56, dtype=np.uint16)
LOSSLESS = ['.png', '.bmp', '.tiff', '.webp']
HUGE = MAX_SIDE_PX + 1


def encoded(pixels, suffix, *options):
    shown = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    return cv2.imencode(suffix, np.ascontiguousarray(shown), list(options))[1].reshape(-1)


def refusal(data, monkeypatch):
    """Return the cause for which a file is refused before OpenCV sees it."""

    def unreached(*_):
        raise AssertionError('OpenCV was called')

    monkeypatch.setattr(cv2, 'imdecode', unreached)
    with pytest.raises(FrameError) as caught:
        decode_still(np.frombuffer(bytes(data), np.uint8))
    return caught.value.cause


def tag(order, number, kind, value, count=1):
    return struct.pack(f'{order}HHI', number, kind, count) + struct.pack(
        f'{order}H2x' if kind == 3 else f'{order}I', value
    )


def tiff(*tags, order='<'):
    mark = b'II*\0' if order == '<' else b'MM\0*'
    return mark + struct.pack(f'{order}IH', 8, len(tags)) + b''.join(tags) + bytes(4)


def webp(form, body):
    return b'RIFF' + struct.pack('<I', 12 + len(body)) + b'WEBP' + form + bytes(4) + body


@pytest.mark.parametrize('suffix', LOSSLESS)
def test_color_comes_back_as_it_was_stored(suffix):
    options = (cv2.IMWRITE_WEBP_QUALITY, 101) if suffix == '.webp' else ()  # 101: lossless
    np.testing.assert_array_equal(decode_still(encoded(RGB, suffix, *options)), RGB)


@pytest.mark.parametrize('suffix', ['.png', '.tiff'])
def test_sixteen_bits_keep_their_counts(suffix):
    pixels = decode_still(encoded(DEEP, suffix))
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels, DEEP)


@pytest.mark.parametrize('suffix', ['.jpg', '.webp'])
def test_lossy_color_is_read_in_its_order(suffix):
    pixels = decode_still(encoded(RGB, suffix)).astype(int)
    assert np.abs(pixels - RGB).mean() < 5 < np.abs(pixels[..., ::-1] - RGB).mean()


@pytest.mark.parametrize('suffix', [*LOSSLESS, '.jpg'])
@pytest.mark.parametrize('share', [0.0, 0.01, 0.02, 0.3, 0.7, 0.99])
def test_file_that_breaks_off_is_refused(suffix, share):
    data = encoded(RGB, suffix)
    with pytest.raises(FrameError) as caught:
        decode_still(data[: int(share * len(data))])
    assert caught.value.cause in ('truncated', 'bad_encoding')


@pytest.mark.parametrize('data', [b'', b'%PDF-1.7', b'GIF89a' + bytes(40), b'II+\0' + bytes(40)])
def test_what_is_no_image_of_these_kinds_is_refused(data, monkeypatch):
    assert refusal(data, monkeypatch) == 'bad_encoding'


def test_floats_are_refused():
    for pixels in (np.zeros((40, 56), np.float32), np.zeros((40, 56, 3), np.float32)):
        with pytest.raises(FrameError, match='channels of 32 bits'):
            decode_still(encoded(pixels, '.tiff'))


@pytest.mark.parametrize(
    'data',
    [
        b'BM' + bytes(12) + struct.pack('<Iii', 40, HUGE, 4) + bytes(40),
        b'BM' + bytes(12) + struct.pack('<Iii', 40, 4, -HUGE) + bytes(40),
        b'BM' + bytes(12) + struct.pack('<Iii', 40, -4, 4) + bytes(40),
        b'BM' + bytes(12) + struct.pack('<IHH', 12, 4, HUGE) + bytes(40),
        tiff(tag('<', 256, 4, 30_000), tag('<', 257, 4, 30_000)),
        tiff(tag('>', 256, 3, 30_000), tag('>', 257, 3, 4), order='>'),
        tiff(tag('<', 256, 3, 4)),
        tiff(tag('<', 256, 3, 4), tag('<', 257, 3, 4), tag('<', 322, 4, 1 << 24)),
        webp(b'VP8X', b'\0\0\0\0' + b'\xff\xff\x00' + b'\x03\0\0'),
        webp(b'VP8X', b'\0\0\0\0' + b'\x03\0\0' + b'\x00\x00\x01'),
        webp(b'VP8L', b'\x2f' + struct.pack('<I', 3 | 16382 << 14) + bytes(9)),
        webp(b'VP8 ', b'\0\0\0\x9d\x01\x2a' + struct.pack('<HH', 4, 16383) + bytes(9)),
    ],
)
def test_size_that_no_camera_has_is_refused_before_memory_is_taken(data, monkeypatch):
    assert refusal(data, monkeypatch) == 'bad_size'


@pytest.mark.parametrize(
    'data',
    [
        tiff(tag('<', 256, 3, 4), tag('<', 256, 4, 30_000), tag('<', 257, 3, 4)),
        tiff(tag('<', 256, 16, 4), tag('<', 257, 3, 4)),
        tiff(tag('<', 256, 3, 4), tag('<', 257, 3, 4), tag('<', 277, 3, 5)),
        tiff(tag('<', 256, 3, 4), tag('<', 257, 3, 4), tag('<', 258, 3, 64)),
        webp(b'ANIM', bytes(20)),
    ],
)
def test_header_that_could_mean_another_size_is_refused(data, monkeypatch):
    assert refusal(data, monkeypatch) == 'bad_encoding'


@pytest.mark.parametrize(
    'data',
    [
        b'BM' + bytes(14),
        b'II*\0' + struct.pack('<I', 1 << 31),
        tiff(tag('<', 256, 3, 4), tag('<', 257, 3, 4), tag('<', 258, 3, 0, 3))[:-20],
        webp(b'VP8X', b'\0\0\0\0'),
    ],
)
def test_header_that_breaks_off_is_refused(data, monkeypatch):
    assert refusal(data, monkeypatch) == 'truncated'


@pytest.mark.parametrize('suffix', [*LOSSLESS, '.jpg'])
def test_wrong_bytes_are_a_picture_or_a_frame_error_and_nothing_else(suffix):
    rng = np.random.default_rng(0)
    good = encoded(RGB, suffix)
    for _ in range(60):
        broken = good.copy()
        broken[rng.integers(0, min(len(good), 300), 3)] = rng.integers(0, 256, 3)
        try:
            assert decode_still(broken).dtype in (np.uint8, np.uint16)
        except FrameError:
            continue
