"""
Bytes of image messages to pixels. Every byte may be wrong: what cannot be read is a FrameError.

Encodings are those of sensor_msgs/image_encodings; the fields are passed one by one, so that live
messages and messages from bags take the same way.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from tdfusion_ros.core.data import MAX_SIDE_PX
from tdfusion_ros.core.errors import FrameError

PNG_BEGIN = b'\x89PNG\r\n\x1a\n'
MOST_PARTS = 100_000  # of a compressed image; a PNG of OpenCV has one for 8 kB
# What a byte can hold: Huffman codes need a bit or more for each 64 pixels (512, and a margin);
# deflate makes 1032 bytes of one, of 8 pixels each.
JPEG_PIXELS, PNG_PIXELS = 1024, 8256
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
class Layout:
    """The fields of sensor_msgs/Image that say how its bytes are laid out."""

    height: int
    width: int
    encoding: str
    step: int
    is_bigendian: bool = False


def decode_raw(layout: Layout, data: np.ndarray) -> np.ndarray:
    """
    Return the pixels of a sensor_msgs/Image, a view of its bytes wherever that is possible.

    :param data: (n,) uint8.
    :returns: (H, W) or (H, W, 3), uint8 or uint16, order R, G, B.
    :raises FrameError: ``bad_encoding``, ``bad_size`` or ``truncated``.
    """
    known = ENCODINGS.get(layout.encoding)
    if known is None:
        raise FrameError(
            'bad_encoding',
            f"encoding '{layout.encoding[:32]}' cannot be read; use "
            f'one of {", ".join(ENCODINGS)}, or install cv_bridge',
        )
    item, channels, order = known
    height, width, step = layout.height, layout.width, layout.step
    check_size(height, width)
    row = width * channels * item
    if step < row or step > row + (1 << 16):
        raise FrameError('bad_size', f'step {step} does not fit a row of {row} bytes')
    if len(data) < step * (height - 1) + row:
        raise FrameError('truncated', f'{len(data)} bytes cannot hold {height} rows of {step}')
    dtype = np.dtype(np.uint8 if item == 1 else ('>u2' if layout.is_bigendian else '<u2'))
    pixels = np.ndarray(
        (height, width, channels), dtype, buffer=data, strides=(step, channels * item, item)
    )
    if order is not None:
        return pixels[..., order]
    pixels = pixels[..., 0]
    return pixels if dtype.isnative else pixels.astype(np.uint16)


def decode_compressed(data: np.ndarray) -> np.ndarray:
    """
    Return the pixels of a sensor_msgs/CompressedImage: JPEG, or PNG with 8 or 16 bits.

    :param data: (n,) uint8.
    :returns: (H, W) or (H, W, 3), uint8 or uint16, order R, G, B.
    :raises FrameError: ``bad_encoding``, ``bad_size`` or ``truncated``.
    """
    head = bytes(data[:33])
    if head.startswith(b'\xff\xd8'):
        # A JPEG that breaks off decodes to an image with a gray rest, without an error.
        if not bytes(data[-64:]).rstrip(b'\x00').endswith(b'\xff\xd9'):
            raise FrameError('truncated', 'the JPEG breaks off before its end mark')
        _check_compressed(_jpeg_size_hw(data), len(data), JPEG_PIXELS)
    elif head.startswith(PNG_BEGIN) and len(head) == 33:
        _check_chunks(data)
        size_hw = int.from_bytes(head[20:24], 'big'), int.from_bytes(head[16:20], 'big')
        _check_compressed(size_hw, len(data), PNG_PIXELS)
    else:
        raise FrameError('bad_encoding', 'compressed images must be JPEG or PNG')
    return decode_checked(data)


def decode_checked(data: np.ndarray) -> np.ndarray:
    """
    Return the pixels of an image whose stated size was found to be within limits.

    :param data: (n,) uint8.
    :returns: (H, W) or (H, W, 3), uint8 or uint16, order R, G, B.
    :raises FrameError: ``bad_encoding`` or ``truncated``.
    """
    try:
        pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise FrameError('truncated', f'the image cannot be decoded: {error.err}') from None
    if pixels is None:
        raise FrameError('truncated', 'the image cannot be decoded')
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.dtype not in (np.uint8, np.uint16) or channels not in (1, 3, 4):
        raise FrameError('bad_encoding', f'the image has {channels} channels of {pixels.dtype}')
    if pixels.ndim == 2:
        return pixels
    code = cv2.COLOR_BGRA2RGB if channels == 4 else cv2.COLOR_BGR2RGB
    return cv2.cvtColor(pixels, code)


def check_size(height: int, width: int) -> None:
    """Refuse dimensions that no camera has, before anything of that size is allocated."""
    if not (1 <= height <= MAX_SIDE_PX and 1 <= width <= MAX_SIDE_PX):
        raise FrameError('bad_size', f'{width}x{height} pixels: sides must be 1 to {MAX_SIDE_PX}')


def _check_compressed(size_hw: tuple[int, int], length: int, most_pixels: int) -> None:
    check_size(*size_hw)
    if size_hw[0] * size_hw[1] > most_pixels * length:
        raise FrameError(
            'truncated', f'{length} bytes cannot hold {size_hw[1]}x{size_hw[0]} pixels'
        )


def _check_chunks(data: np.ndarray) -> None:
    """Refuse a PNG that breaks off; OpenCV takes the memory that a chunk states, up to 2 GB."""
    at = len(PNG_BEGIN)
    for _ in range(MOST_PARTS):
        length, kind = data[at : at + 4].tobytes(), data[at + 4 : at + 8].tobytes()
        at += 12 + int.from_bytes(length, 'big')
        if at > len(data) or len(kind) < 4:
            break
        if kind == b'IEND':
            return
    raise FrameError('truncated', 'the PNG breaks off within a chunk')


def _jpeg_size_hw(data: np.ndarray) -> tuple[int, int]:
    """Return the size that the frame header of a JPEG states (ITU-T T.81, B.2.2)."""
    at = 2
    for _ in range(MOST_PARTS):
        if at + 9 > len(data) or data[at] != 0xFF:
            break
        kind = int(data[at + 1])
        if kind == 0xFF:  # fill byte
            at += 1
            continue
        if kind == 0x01 or 0xD0 <= kind <= 0xD7:  # stand alone; else another size would be found
            at += 2
            continue
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            height, width = data[at + 5 : at + 9].view('>u2')
            return int(height), int(width)
        at += 2 + int(data[at + 2]) * 256 + int(data[at + 3])
    raise FrameError('truncated', 'the JPEG has no frame header')


class SizeGuard:
    """
    Hold a stream to one image size, so that one odd frame does not rebuild maps and engines.

    A camera that was really reconfigured is believed after ``patience`` frames of the new size.
    """

    def __init__(self, patience: int = 10) -> None:
        self._patience = patience
        self._size_hw: tuple[int, int] | None = None
        self._odd = 0

    def check(self, size_hw: tuple[int, int]) -> None:
        """Raise FrameError ``size_changed`` for a frame that is not of the stream's size."""
        if self._size_hw is None or size_hw == self._size_hw or self._odd + 1 >= self._patience:
            self._size_hw, self._odd = size_hw, 0
            return
        self._odd += 1
        raise FrameError(
            'size_changed',
            f'the image is {size_hw[1]}x{size_hw[0]}, the stream '
            f'was {self._size_hw[1]}x{self._size_hw[0]}; if the camera was reconfigured, the '
            f'new size is taken after {self._patience} such images',
        )
