"""Bytes to pixels: what is read, and what is refused before memory is allocated for it."""

from io import BytesIO
import struct
import zlib

import cv2
import numpy as np
from PIL import Image
import pytest

from tdfusion_ros.core.data import MAX_SIDE_PX
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.formats.decode import decode_image
from tdfusion_ros.formats.decode import SizeGuard

RGB = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8), (0, 0), 2)
GRAY = RGB[..., 0].copy()
DEEP = GRAY.astype(np.uint16) * 257 + np.arange(56, dtype=np.uint16)
ALPHA = np.full((40, 56, 1), 99, np.uint8)
CELSIUS = GRAY.astype(np.float32) / 3 - 20
SUFFIXES = ('.png', '.bmp', '.tiff', '.webp', '.jpg')
HUGE = MAX_SIDE_PX + 1


def cause_of(decode, *arguments):
    with pytest.raises(FrameError) as caught:
        decode(*arguments)
    return caught.value.cause


def encoded(pixels, suffix, *options):
    bgr = np.ascontiguousarray(pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    return cv2.imencode(suffix, bgr, list(options))[1].reshape(-1)


def tag(number, kind, value, count=1):
    head = struct.pack('<HHI', number, kind, count)
    return head + struct.pack('<H2x' if kind == 3 else '<I', value)


def tiff(*tags):
    """Return an uncompressed gray TIFF of 4x4 pixels with these tags in place of its own."""
    own = [tag(n, 4, v) for n, v in ((256, 4), (257, 4), (258, 8), (262, 1), (273, 8), (277, 1))]
    by_number = {struct.unpack_from('<H', t)[0]: t for t in (*own, *tags)}
    body = b''.join(by_number[n] for n in sorted(by_number))
    return b'II*\0' + struct.pack('<IH', 8, len(by_number)) + body + bytes(4)


def png(width, height, *, end=b'IEND', bits=8, color=0):
    def chunk(name, data):
        body = name + data
        return struct.pack('>I', len(data)) + body + struct.pack('>I', zlib.crc32(body))

    size = struct.pack('>IIBBBBB', width, height, bits, color, 0, 0, 0)
    chunks = (chunk(b'IHDR', size), chunk(b'IDAT', zlib.compress(bytes(5))), chunk(end, b''))
    return b'\x89PNG\r\n\x1a\n' + b''.join(chunks)


def jpeg(width, height):
    data = encoded(GRAY, '.jpg').tobytes()
    at = data.find(b'\xff\xc0') + 5
    return data[:at] + struct.pack('>HH', height, width) + data[at + 4 :]


def png_with_huge_chunk():
    data = bytearray(png(2, 2))
    data[data.index(b'IDAT') - 4] = 0x7F  # of the length
    return bytes(data)


def jpeg_with_hidden_size():
    """Return a huge JPEG that seems small if the lone mark FF D0 is taken for a segment."""
    first = b'\xff\xfe\xff\xff' + bytes(65530) + b'\xff\xe0\x00'  # ends in a second comment
    small = b'\xff\xc0\x00\x0b\x08\x00\x10\x00\x10\x01\x00\x11\x00'
    second = (b'\xff\xfe\x03\xe8' + bytes(250) + small).ljust(1002, b'\0')
    return b'\xff\xd8\xff\xd0' + first + second + jpeg(65535, 65535)[2:]


def webp(width, height):
    data = encoded(RGB, '.webp', cv2.IMWRITE_WEBP_QUALITY, 101).tobytes()  # 101: lossless, VP8L
    (packed,) = struct.unpack_from('<I', data, 21)
    packed = packed & 0xF0000000 | (height - 1) << 14 | width - 1
    return data[:21] + struct.pack('<I', packed) + data[25:]


def with_orientation(kind, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    options = {'tiffinfo': {274: orientation}} if kind == 'TIFF' else {'exif': exif}
    file = BytesIO()
    Image.fromarray(RGB).save(file, kind, **options)
    return np.frombuffer(file.getvalue(), np.uint8)


class TestImage:
    @pytest.mark.parametrize('suffix', SUFFIXES[:4])
    def test_color_comes_back_as_it_was_stored(self, suffix):
        options = (cv2.IMWRITE_WEBP_QUALITY, 101) if suffix == '.webp' else ()
        np.testing.assert_array_equal(decode_image(encoded(RGB, suffix, *options)), RGB)

    @pytest.mark.parametrize('suffix', ['.png', '.tiff'])
    @pytest.mark.parametrize('pixels', [GRAY, DEEP], ids=['8 bit', '16 bit'])
    def test_gray_keeps_its_counts(self, suffix, pixels):
        read = decode_image(encoded(pixels, suffix))
        assert read.dtype == pixels.dtype
        np.testing.assert_array_equal(read, pixels)

    def test_alpha_is_left_out(self):
        data = cv2.imencode('.png', np.dstack([RGB[..., ::-1], ALPHA]))[1].reshape(-1)
        np.testing.assert_array_equal(decode_image(data), RGB)

    @pytest.mark.parametrize('values', [CELSIUS, np.int16(CELSIUS * 100), np.int32(CELSIUS * 1e3)])
    def test_tiff_of_temperatures_is_read(self, values):
        read = decode_image(encoded(values, '.tiff'))
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, values)

    @pytest.mark.parametrize('suffix', ['.jpg', '.webp'])
    @pytest.mark.parametrize('padding', [0, 3])
    def test_lossy_color_is_read_in_its_order_also_with_zeros_behind_it(self, suffix, padding):
        data = np.concatenate([encoded(RGB, suffix), np.zeros(padding, np.uint8)])
        pixels = decode_image(data).astype(int)
        assert np.abs(pixels - RGB).mean() < 5 < np.abs(pixels[..., ::-1] - RGB).mean()

    @pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP', 'TIFF'])
    @pytest.mark.parametrize('orientation', range(1, 9))
    def test_orientation_that_the_file_states_is_not_applied(self, kind, orientation):
        plain, turned = (with_orientation(kind, number) for number in (1, orientation))
        np.testing.assert_array_equal(decode_image(plain), decode_image(turned))

    @pytest.mark.parametrize('suffix', SUFFIXES)
    @pytest.mark.parametrize('share', [0.0, 0.01, 0.02, 0.3, 0.7, 0.99])
    def test_image_that_is_cut_off_is_refused(self, suffix, share):
        data = encoded(RGB, suffix)
        cause = cause_of(decode_image, data[: int(share * len(data))])
        assert cause in ('truncated', 'bad_encoding')

    @pytest.mark.parametrize(
        ('cause', 'data'),
        [
            ('truncated', b''),
            ('bad_encoding', b'%PDF-1.7'),
            ('bad_encoding', b'GIF89a' + bytes(40)),
            ('bad_encoding', b'II+\0' + bytes(40)),
            ('bad_encoding', tiff(tag(258, 3, 32), tag(277, 4, 3))),
            ('bad_size', b'BM' + bytes(12) + struct.pack('<IiiHHI', 40, HUGE, 4, 1, 24, 0) * 2),
            ('bad_size', b'BM' + bytes(12) + struct.pack('<IiiHHI', 40, 4, -HUGE, 1, 24, 0) * 2),
            ('bad_size', b'BM' + bytes(12) + struct.pack('<IiiHHI', 40, -4, 4, 1, 24, 0) * 2),
            ('bad_size', tiff(tag(256, 4, HUGE))),
            ('bad_size', tiff(tag(256, 4, 30_000), tag(257, 4, 30_000))),
            ('bad_size', tiff(tag(322, 4, 1 << 24), tag(323, 4, 4))),
            ('bad_size', webp(4, HUGE)),
            ('bad_size', jpeg(0xFFFF, 4)),
            ('bad_size', png(60_000, 60_000)),
            ('bad_size', png(8192, 8192, bits=16, color=2) + bytes(50_000)),
            (
                'bad_size',
                tiff(tag(256, 4, 8000), tag(257, 4, 8000), tag(277, 3, 4), tag(258, 3, 16)),
            ),
            ('truncated', png(8192, 8192)),  # more than its bytes can encode
            ('truncated', jpeg(8192, 8192)),
            ('truncated', png(4, 4, end=b'NONE')),
            ('truncated', b'\xff\xd8\xff\xfe\x00\x10' + bytes(40) + b'\xff\xd9'),
            ('truncated', b'BM' + bytes(14)),
            ('truncated', b'II*\0' + struct.pack('<I', 1 << 31)),
            ('truncated', b'RIFF' + bytes(40)),
            ('truncated', png_with_huge_chunk()),
            ('truncated', b'\xff\xd8' + b'\xff' * 5_000_000 + b'\xff\xd9'),
            ('bad_size', jpeg_with_hidden_size()),
        ],
    )
    def test_image_is_refused_before_memory_is_allocated(self, cause, data, monkeypatch):
        monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('OpenCV was called'))
        assert cause_of(decode_image, np.frombuffer(data, np.uint8)) == cause

    @pytest.mark.filterwarnings('ignore:Tag data larger than file')
    def test_header_that_points_to_one_place_many_times_is_refused_at_once(self):
        shared = [tag(number, 2, 0, 1 << 20) for number in range(1000, 11_000)]
        data = np.frombuffer(tiff(*shared) + bytes(1 << 20), np.uint8)
        assert cause_of(decode_image, data) == 'truncated'


class TestSizeGuard:
    def test_odd_frames_are_refused_until_ten_of_them_follow_each_other(self):
        guard, small = SizeGuard(), (240, 320)
        for size_hw in ((480, 640), small, (480, 640), *[small] * 9):
            if size_hw == small:
                assert cause_of(guard.check, size_hw) == 'size_changed'
            else:
                guard.check(size_hw)
        for _ in range(2):
            guard.check(small)
        assert cause_of(guard.check, (480, 640)) == 'size_changed'
