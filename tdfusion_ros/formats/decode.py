"""
Bytes to pixels: raw image messages, and encoded images of messages and files.

Every byte may be wrong: what cannot be decoded is a FrameError, and costs no more memory than an
image of the largest size. Raw encodings are named as in sensor_msgs/image_encodings.
"""

from dataclasses import dataclass
from io import BytesIO

import cv2
import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from tdfusion_ros.core.data import MAX_SIDE_PX
from tdfusion_ros.core.errors import FrameError

# First bytes of the encoded images that are read, and Pillow's names of these formats.
KINDS = {
    b'\x89PNG\r\n\x1a\n': 'PNG',
    b'\xff\xd8': 'JPEG',
    b'RIFF': 'WEBP',
    b'BM': 'BMP',
    b'II*\0': 'TIFF',
    b'MM\0*': 'TIFF',
}
# What a byte can encode: Huffman codes need a bit or more for each 64 pixels (512, and a margin);
# deflate makes 1032 bytes of one, of 8 pixels each.
PIXELS_PER_BYTE = {'JPEG': 1024, 'PNG': 8256}
MAX_CHUNKS = 100_000  # of a PNG; OpenCV writes one for 8 kB
MAX_HEADER_BYTES = 1 << 22  # JPEG files of phones have megabytes of metadata before the pixels
READ_COST = 64  # each read counts as so many bytes more, as Pillow looks for markers byte by byte
TIFF_TAGS = (258, 277, 323, 322)  # bits, channels, tile height, tile width
# encoding: bytes per channel, channels, which of them are R, G, B (8UC3 in OpenCV's order)
ENCODINGS: dict[str, tuple[int, int, slice | None]] = {
    'mono8': (1, 1, None),
    '8UC1': (1, 1, None),
    'mono16': (2, 1, None),
    '16UC1': (2, 1, None),
    'rgb8': (1, 3, slice(None)),
    'rgba8': (1, 4, slice(0, 3)),
    'bgr8': (1, 3, slice(None, None, -1)),
    '8UC3': (1, 3, slice(None, None, -1)),
    'bgra8': (1, 4, slice(2, None, -1)),
}


@dataclass(frozen=True)
class RawFormat:
    """The fields of sensor_msgs/Image that say how its bytes are laid out."""

    height: int
    width: int
    encoding: str
    step: int
    is_bigendian: bool = False


def decode_raw(raw: RawFormat, data: np.ndarray) -> np.ndarray:
    """
    Return the pixels of a sensor_msgs/Image, as a view of its bytes where that is possible.

    :param data: (n,) uint8.
    :returns: (H, W) or (H, W, 3), uint8 or uint16, order R, G, B.
    :raises FrameError: ``bad_encoding``, ``bad_size`` or ``truncated``.
    """
    known = ENCODINGS.get(raw.encoding)
    if known is None:
        raise FrameError(
            'bad_encoding',
            f"encoding '{raw.encoding[:32]}' cannot be read; use "
            f'one of {", ".join(ENCODINGS)}, or install cv_bridge',
        )
    item, channels, order = known
    height, width, step = raw.height, raw.width, raw.step
    check_size(height, width)
    row = width * channels * item
    if step < row or step > row + (1 << 16):
        raise FrameError('bad_size', f'step {step} does not fit a row of {row} bytes')
    if len(data) < step * (height - 1) + row:
        raise FrameError('truncated', f'{len(data)} bytes cannot hold {height} rows of {step}')
    dtype = np.dtype(np.uint8 if item == 1 else ('>u2' if raw.is_bigendian else '<u2'))
    pixels = np.ndarray(
        (height, width, channels), dtype, buffer=data, strides=(step, channels * item, item)
    )
    if order is not None:
        return pixels[..., order]
    pixels = pixels[..., 0]
    return pixels if dtype.isnative else pixels.astype(np.uint16)


def decode_image(data: np.ndarray) -> np.ndarray:
    """
    Return the pixels of a PNG, JPEG, WebP, BMP or TIFF; of several pages the first.

    Pillow reads the header; OpenCV decodes only after the size was found to be within limits. The
    orientation that EXIF may state is not applied.

    :param data: (n,) uint8, the content of a file or of a sensor_msgs/CompressedImage.
    :returns: (H, W) or (H, W, 3), uint8 or uint16, order R, G, B.
    :raises FrameError: ``bad_encoding``, ``bad_size`` or ``truncated``.
    """
    head = data[:12].tobytes()
    kind = next((kind for begin, kind in KINDS.items() if head.startswith(begin)), None)
    if kind is None:
        raise FrameError(
            'bad_encoding', f'expected an image: {", ".join(dict.fromkeys(KINDS.values()))}'
        )
    # A JPEG that is cut off would decode to an image with a gray rest, without an error.
    if kind == 'JPEG' and not data[-64:].tobytes().rstrip(b'\0').endswith(b'\xff\xd9'):
        raise FrameError('truncated', 'the JPEG ends before its end marker')
    if kind == 'PNG':
        _check_chunks(data)
    _check_header(kind, data)
    try:
        pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise FrameError('truncated', f'the {kind} cannot be decoded: {error.err}') from None
    if pixels is None:
        raise FrameError('truncated', f'the {kind} cannot be decoded')
    check_size(*pixels.shape[:2])
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.dtype not in (np.uint8, np.uint16) or channels not in (1, 3, 4):
        raise FrameError('bad_encoding', f'the {kind} has {channels} channels of {pixels.dtype}')
    if pixels.ndim == 2:
        return pixels
    code = cv2.COLOR_BGRA2RGB if channels == 4 else cv2.COLOR_BGR2RGB
    return cv2.cvtColor(pixels, code)


def check_size(height: int, width: int) -> None:
    """Raise FrameError for sizes that no camera has, before memory is allocated."""
    if not (1 <= height <= MAX_SIDE_PX and 1 <= width <= MAX_SIDE_PX):
        raise FrameError('bad_size', f'{width}x{height} pixels: sides must be 1 to {MAX_SIDE_PX}')


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


def _check_header(kind: str, data: np.ndarray) -> None:
    """Raise FrameError for an image by its header, before memory for its pixels is allocated."""
    content, bits, channels, tile_hw = data.tobytes(), 8, 1, [1, 1]
    limit = MAX_HEADER_BYTES + len(content) * (kind == 'WEBP')  # Pillow reads a whole WEBP
    try:
        image = Image.open(_HeaderBytes(content, limit), formats=(kind,))
        width, height = image.size
        if isinstance(image, TiffImageFile):
            bits, channels, *tile_hw = (int(np.max(image.tag_v2.get(t, 1))) for t in TIFF_TAGS)
    except FrameError:
        raise
    except Image.DecompressionBombError as error:
        raise FrameError('bad_size', f'{error} Sides must be 1 to {MAX_SIDE_PX}.') from None
    except Exception as error:  # Pillow's header parsers raise errors of many kinds
        raise FrameError('truncated', f'the {kind} header cannot be read: {error}') from None
    check_size(height, width)
    check_size(*tile_hw)
    if not (1 <= channels <= 4 and 1 <= bits <= 16):
        raise FrameError(
            'bad_encoding',
            f'the TIFF has {channels} channels of {bits} bits, expected 1 to 4 of at most 16',
        )
    if height * width > PIXELS_PER_BYTE.get(kind, np.inf) * len(content):
        raise FrameError('truncated', f'{len(content)} bytes cannot hold {width}x{height} pixels')


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

    If a camera was reconfigured, its new size is accepted after ``patience`` such frames.
    """

    def __init__(self, patience: int = 10) -> None:
        self._patience = patience
        self._size_hw: tuple[int, int] | None = None
        self._odd = 0

    def check(self, size_hw: tuple[int, int]) -> None:
        """Raise FrameError ``size_changed`` for a frame of another size than the stream."""
        if self._size_hw is None or size_hw == self._size_hw or self._odd + 1 >= self._patience:
            self._size_hw, self._odd = size_hw, 0
            return
        self._odd += 1
        raise FrameError(
            'size_changed',
            f'the image is {size_hw[1]}x{size_hw[0]}, expected {self._size_hw[1]}x'
            f'{self._size_hw[0]}; a new size is accepted after {self._patience} such images',
        )
