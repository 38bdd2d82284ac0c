"""
Encoded images to pixels: of files, and of sensor_msgs/CompressedImage.

Every byte may be wrong: what cannot be decoded is a FrameError, and costs no more memory than an
image of the largest size. The size is read from the header, before OpenCV decodes the pixels.
"""

from collections.abc import Callable
from io import BytesIO
import re
import struct

import cv2
import numpy as np
from PIL import Image
from PIL import UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from tdfusion_ros.core.data import MAX_SIDE_PX
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.formats.raw_images import check_size
from tdfusion_ros.formats.raw_images import counts
from tdfusion_ros.formats.raw_images import ENCODINGS
from tdfusion_ros.formats.raw_images import to_rgb

# First bytes of the encoded images that are read, and Pillow's names of these formats.
PNG = b'\x89PNG\r\n\x1a\n'
KINDS = {PNG: 'PNG', b'\xff\xd8': 'JPEG', b'RIFF': 'WEBP', b'BM': 'BMP'}
KINDS |= {b'II*\0': 'TIFF', b'MM\0*': 'TIFF'}
MAX_BYTES = 1 << 28  # of the decoded pixels: the largest size with four channels of 8 bits
# What a byte can encode: Huffman codes need a bit or more for each 64 pixels (512, and a margin);
# deflate makes 1032 bytes of one, of 8 pixels each.
PIXELS_PER_BYTE = {'JPEG': 1024, 'PNG': 8256}
PNG_CHANNELS = {0: 1, 2: 3, 3: 3}  # by color type; others become four
MAX_CHUNKS = 100_000  # of a PNG or JPEG; OpenCV writes one for 8 kB
MAX_SCANS = 100  # of a progressive JPEG: each takes the time of an image; encoders write ten
# A marker of a JPEG, unlike FF00 (a byte FF of the pixels) and FFD0 to FFD7 (restarts).
MARKER = re.compile(rb'\xff[^\x00\xd0-\xd7\xff]')
START, END, SCAN = b'\xff\xd8', b'\xff\xd9', b'\xff\xda'
# Beginnings of a picture (SOF), and those that OpenCV decodes; JPEG-LS and the others are lossless
# or hierarchical.
FRAMES = {bytes((0xFF, n)) for n in (*range(0xC0, 0xD0), 0xF7) if n not in (0xC4, 0xC8, 0xCC)}
DECODED = {bytes((0xFF, n)) for n in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)}
MAX_HEADER_BYTES = 1 << 22  # JPEG files of phones have megabytes of metadata before the pixels
READ_COST = 64  # each read counts as so many bytes more, as Pillow looks for markers byte by byte
ORIENTATION = 274  # tag of EXIF and TIFF
WIDTH, HEIGHT = 256, 257  # tags of TIFF
TIFF_TAGS = (258, 277, 323, 322, ORIENTATION)  # bits, channels, tile height, tile width
# OpenCV applies the orientation of a TIFF, of no other format; what undoes it.
TURN_BACK: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[:, ::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels[::-1].swapaxes(0, 1),
}
DEPTH_HEADER = struct.Struct('<iff')  # of compressed_depth_image_transport: codec, A, B
PATIENCE = 10  # images


def decode_compressed(form: str, data: np.ndarray) -> np.ndarray:
    """
    Return the pixels of a sensor_msgs/CompressedImage.

    :param form: its ``format``: empty, the name of a codec, or as image_transport writes it,
        ``ORIGINAL; CODEC compressed [STORED]`` or ``ORIGINAL; compressedDepth [CODEC]``, where
        ORIGINAL and STORED are raw encodings.
    :param data: (n,) uint8.
    :returns: as :func:`tdfusion_ros.formats.raw_images.decode_raw`.
    :raises FrameError: ``bad_encoding``, ``bad_size`` or ``truncated``.
    """
    original, _, codec = form.partition(';')
    original, stored = original.strip(), codec.partition('compressed')[2].strip()
    head = DEPTH_HEADER.size
    if data[head : head + len(PNG)].tobytes() == PNG:
        return _depth(original, data)
    try:
        pixels = decode_image(data)
    except FrameError as error:
        # As h264, or the codec rvl of compressedDepth.
        raise FrameError(error.cause, f"{error} (the format is '{form[:64]}')") from None
    # image_transport stores R, G, B of rgb8 in a TIFF as they are, where readers expect B, G, R.
    if codec.split() == ['tiff', 'compressed'] and original.startswith('rgb'):
        return pixels[..., ::-1] if pixels.ndim == 3 else pixels
    is_mosaic = original.startswith('bayer_') and stored in ('', original)
    if not is_mosaic or pixels.ndim == 3:  # else color, or gray made of color, as mono8
        return pixels
    encoding = f'{original.rstrip("0123456789")}{8 * pixels.itemsize}'
    known = ENCODINGS.get(encoding)
    if known is None or not callable(known.rgb):
        raise FrameError('bad_encoding', f"the Bayer pattern '{original[:32]}' is unknown")
    return to_rgb(known.rgb, pixels, encoding)


def _depth(original: str, data: np.ndarray) -> np.ndarray:
    """Return the pixels of a PNG behind a header; of 32FC1 it has A / value + B, 0 for NaN."""
    _, a, b = DEPTH_HEADER.unpack_from(data.data)
    pixels = decode_image(data[DEPTH_HEADER.size :])
    if original != '32FC1':
        return pixels
    if pixels.ndim == 3:
        raise FrameError('bad_encoding', 'compressedDepth of 32FC1 has colors')
    with np.errstate(all='ignore'):
        values = np.float32(a) / (pixels.astype(np.float32) - np.float32(b))
        return counts(np.where(pixels == 0, np.float32('nan'), values))


def decode_image(data: np.ndarray) -> np.ndarray:
    """
    Return the pixels of a PNG, JPEG, WebP, BMP or TIFF; of several pictures the first.

    The orientation that EXIF or TIFF may state is not applied, as rgb and ir would differ where
    only one of them states it.

    :param data: (n,) uint8, the content of a file or of a sensor_msgs/CompressedImage.
    :returns: (H, W) or (H, W, 3), uint8 or uint16, order R, G, B; or (H, W) float32 of a TIFF with
        signed or floating-point values, NaN where there is none.
    :raises FrameError: ``bad_encoding``, ``bad_size`` or ``truncated``.
    """
    if not data.size:
        raise FrameError('truncated', 'the image has no bytes')
    head = data[:12].tobytes()
    kind = next((kind for begin, kind in KINDS.items() if head.startswith(begin)), None)
    if kind is None:
        known = ', '.join(dict.fromkeys(KINDS.values()))
        raise FrameError('bad_encoding', f'expected an image: {known}; send others as raw')
    # A JPEG that is cut off would decode to an image with a gray rest, without an error.
    if kind == 'JPEG':
        data = data[: _jpeg_end(data.tobytes())]
    if kind == 'PNG':
        _check_chunks(data)
    orientation = _check_header(kind, data)
    try:
        pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise FrameError('truncated', f'the {kind} cannot be decoded: {error.err}') from None
    if pixels is None:
        raise FrameError('truncated', f'the {kind} cannot be decoded')
    if orientation in TURN_BACK:
        pixels = TURN_BACK[orientation](pixels)
    check_size(*pixels.shape[:2])
    return _in_order(kind, pixels)


def _in_order(kind: str, pixels: np.ndarray) -> np.ndarray:
    """Return what OpenCV decoded, as gray or R, G, B."""
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.dtype in (np.uint8, np.uint16) and channels in (1, 3, 4):
        if channels == 1:
            return pixels.reshape(pixels.shape[:2])
        code = cv2.COLOR_BGRA2RGB if channels == 4 else cv2.COLOR_BGR2RGB
        return cv2.cvtColor(np.ascontiguousarray(pixels), code)
    if channels == 1 and pixels.dtype.kind in 'if':
        return counts(pixels)
    raise FrameError('bad_encoding', f'the {kind} has {channels} channels of {pixels.dtype}')


class _HeaderBytes(BytesIO):
    """Bytes with a limit on reading: a header may point to one place many times."""

    def __init__(self, data: bytes, limit: int) -> None:
        super().__init__(data)
        self._left = limit

    def read(self, size: int | None = -1) -> bytes:
        part = super().read(size)
        self._left -= len(part) + READ_COST
        if self._left < 0:
            raise FrameError('truncated', 'the header is too long')
        return part


def _check_header(kind: str, data: np.ndarray) -> int:
    """Return the orientation of a TIFF, 1 for others; FrameError before pixels are allocated."""
    content, bits, channels, tile_hw, orientation = data.tobytes(), 8, 4, [1, 1], 1
    limit = MAX_HEADER_BYTES + len(content) * (kind == 'WEBP')  # Pillow reads a whole WEBP
    try:
        file = _HeaderBytes(content, limit)
        if kind == 'TIFF':  # Image.open() refuses what OpenCV reads, such as 64 bits
            tags = ImageFileDirectory_v2(file.read(8))
            file.seek(tags.next)
            tags.load(file)
            width, height = tags[WIDTH], tags[HEIGHT]
            found = (int(np.max(tags.get(tag, 1))) for tag in TIFF_TAGS)
            bits, channels, *tile_hw, orientation = found
        else:
            width, height = Image.open(file, formats=(kind,)).size
    except FrameError:
        raise
    except Image.DecompressionBombError as error:
        raise FrameError('bad_size', f'{error} Sides must be 1 to {MAX_SIDE_PX}.') from None
    except UnidentifiedImageError:  # its message names an object of Python
        raise FrameError('truncated', f'the {kind} header is damaged') from None
    except Exception as error:  # Pillow's header parsers raise errors of many kinds
        raise FrameError('truncated', f'the {kind} header cannot be read: {error}') from None
    check_size(height, width)
    check_size(*tile_hw)
    if kind == 'PNG':
        bits, channels = content[24], PNG_CHANNELS.get(content[25], 4)
    if not (1 <= channels <= 4 and 1 <= bits <= (64 if channels == 1 else 16)):
        raise FrameError(
            'bad_encoding',
            f'the {kind} has {channels} channels of {bits} bits, expected 1 of 64 or 4 of 16',
        )
    if height * width > PIXELS_PER_BYTE.get(kind, np.inf) * len(content):
        raise FrameError('truncated', f'{len(content)} bytes cannot hold {width}x{height} pixels')
    size = height * width * channels * max(1, bits // 8)
    if size > MAX_BYTES:
        raise FrameError(
            'bad_size',
            f'{width}x{height} pixels of {channels} channels of {bits} bits would take '
            f'{size >> 20} MiB, expected at most {MAX_BYTES >> 20}',
        )
    return orientation


def _jpeg_end(content: bytes) -> int:
    """
    Return where the first picture of a JPEG ends.

    Behind it may be the rest of an older picture in the buffer of a driver, or thermal counts.

    :raises FrameError: ``truncated`` if it has no end, ``bad_encoding`` if OpenCV reads no
        such JPEG.
    """
    at, scans = len(START), 0
    for _ in range(MAX_CHUNKS):
        marker = MARKER.search(content, at)
        if marker is None or marker[0] == START or scans > MAX_SCANS:
            break
        at = marker.end()
        if marker[0] == END:
            return at
        scans += marker[0] == SCAN
        if marker[0] in FRAMES and (
            marker[0] not in DECODED or content[at + 2 : at + 3] != b'\x08'
        ):
            raise FrameError(
                'bad_encoding',
                f'the JPEG is lossless or has not 8 bits (marker {marker[0].hex()}), expected 8 '
                'bits and lossy; send more bits as PNG or TIFF',
            )
        at += max(2, int.from_bytes(content[at : at + 2], 'big'))
    why = f'has more than {MAX_SCANS} scans' if scans > MAX_SCANS else 'ends before its end marker'
    raise FrameError('truncated', f'the JPEG {why}')


def _check_chunks(data: np.ndarray) -> None:
    """Raise FrameError for a PNG that is cut off: OpenCV allocates what a chunk states."""
    at = 8  # behind the signature
    for _ in range(MAX_CHUNKS):
        length, kind = data[at : at + 4].tobytes(), data[at + 4 : at + 8].tobytes()
        at += 12 + int.from_bytes(length, 'big')
        if at > len(data) or len(kind) < 4:
            break
        if kind == b'IEND':
            return
    raise FrameError('truncated', 'the PNG ends within a chunk')


class SizeGuard:
    """
    Keep a stream at one image size, so that a single odd frame does not rebuild maps and engines.

    After ``PATIENCE`` frames of a new size it is accepted: the camera was reconfigured.
    """

    def __init__(self) -> None:
        self._size_hw: tuple[int, int] | None = None
        self._odd = 0

    def check(self, size_hw: tuple[int, int]) -> None:
        """Raise FrameError ``size_changed`` for a frame of another size than the stream."""
        if self._size_hw is None or size_hw == self._size_hw or self._odd + 1 >= PATIENCE:
            self._size_hw, self._odd = size_hw, 0
            return
        self._odd += 1
        raise FrameError(
            'size_changed',
            f'the image is {size_hw[1]}x{size_hw[0]}, expected {self._size_hw[1]}x'
            f'{self._size_hw[0]}; a new size is accepted after {PATIENCE} such images',
        )
