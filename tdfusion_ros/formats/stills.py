"""
Bytes of image files to pixels: what messages carry, and WebP, BMP and TIFF.

The size that a file states is read and limited as that of a message is, before OpenCV takes
memory for it; OpenCV's own limit is 2**30 pixels, gigabytes.
"""

from collections.abc import Callable
import struct

import numpy as np

from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.formats.decode import check_size
from tdfusion_ros.formats.decode import decode_checked
from tdfusion_ros.formats.decode import decode_compressed
from tdfusion_ros.formats.decode import PNG_BEGIN

MOST_BITS = 16  # of a channel
# Tags of TIFF (revision 6.0, sections 3 and 15), and its types of whole numbers.
WIDTH, HEIGHT, BITS, CHANNELS, TILE_WIDTH, TILE_HEIGHT = 256, 257, 258, 277, 322, 323
WHOLE = {1: 'B', 3: 'H', 4: 'I'}


def decode_still(data: np.ndarray) -> np.ndarray:
    """
    Return the pixels of a PNG, JPEG, WebP, BMP or TIFF; of several pages the first.

    :param data: (n,) uint8.
    :returns: (H, W) or (H, W, 3), uint8 or uint16, order R, G, B.
    :raises FrameError: ``bad_encoding``, ``bad_size`` or ``truncated``.
    """
    head = data[:12].tobytes()
    if head.startswith((PNG_BEGIN, b'\xff\xd8')):
        return decode_compressed(data)
    for begins, ends, size_hw in FORMS:
        if head.startswith(begins) and head.endswith(ends):
            try:
                check_size(*size_hw(data.data))
            except struct.error:
                raise FrameError('truncated', 'the image breaks off within its header') from None
            return decode_checked(data)
    raise FrameError('bad_encoding', 'image files must be PNG, JPEG, WebP, BMP or TIFF')


def _webp_size_hw(data: memoryview) -> tuple[int, int]:
    """Return the size of a WebP (RFC 9649, 2.5 to 2.7; RFC 6386, 9.1)."""
    form, at = data[12:16].tobytes(), 20
    if form == b'VP8X':
        width, width_high, height, height_high = struct.unpack_from('<HBHB', data, at + 4)
        return height + (height_high << 16) + 1, width + (width_high << 16) + 1
    if form == b'VP8L':
        (packed,) = struct.unpack_from('<I', data, at + 1)
        return (packed >> 14 & 0x3FFF) + 1, (packed & 0x3FFF) + 1
    if form == b'VP8 ':
        width, height = struct.unpack_from('<HH', data, at + 6)
        return height & 0x3FFF, width & 0x3FFF
    raise FrameError('bad_encoding', f'the WebP begins with {form!r}, which is no image')


def _bmp_size_hw(data: memoryview) -> tuple[int, int]:
    """Return the size of a BMP, whose height is negative where the first row is on top."""
    (length,) = struct.unpack_from('<I', data, 14)
    width, height = struct.unpack_from('<HH' if length == 12 else '<ii', data, 18)
    return abs(height), width


def _tiff_size_hw(data: memoryview) -> tuple[int, int]:
    """Return the size of the first page of a TIFF, and refuse tiles and pixels without limit."""
    order = '<' if data[0] == ord('I') else '>'
    fields = _tiff_fields(data, order)
    if TILE_WIDTH in fields or TILE_HEIGHT in fields:
        check_size(*(_number(data, order, fields, tag) for tag in (TILE_HEIGHT, TILE_WIDTH)))
    channels = _number(data, order, fields, CHANNELS, 1)
    bits = _number(data, order, fields, BITS, 1)  # of the first channel; OpenCV wants them alike
    if not (1 <= channels <= 4 and 1 <= bits <= MOST_BITS):
        raise FrameError(
            'bad_encoding',
            f'the TIFF has {channels} channels of {bits} bits; up to 4 of {MOST_BITS} are read',
        )
    return _number(data, order, fields, HEIGHT), _number(data, order, fields, WIDTH)


def _tiff_fields(data: memoryview, order: str) -> dict[int, tuple[int, int, int]]:
    """Return type, count and the place of the value of each tag that is needed."""
    (at,) = struct.unpack_from(f'{order}I', data, 4)
    (number,) = struct.unpack_from(f'{order}H', data, at)
    fields: dict[int, tuple[int, int, int]] = {}
    for entry in range(at + 2, at + 2 + 12 * number, 12):
        tag, kind, count = struct.unpack_from(f'{order}HHI', data, entry)
        if tag not in (WIDTH, HEIGHT, BITS, CHANNELS, TILE_WIDTH, TILE_HEIGHT):
            continue
        if tag in fields or kind not in WHOLE or not 1 <= count <= 4:
            raise FrameError('bad_encoding', f'tag {tag} of the TIFF is not as it has to be')
        fields[tag] = kind, count, entry + 8
    return fields


def _number(
    data: memoryview,
    order: str,
    fields: dict[int, tuple[int, int, int]],
    tag: int,
    default: int = 0,
) -> int:
    """Return the first value of a tag, which lies elsewhere where all need over four bytes."""
    if tag not in fields:
        return default
    kind, count, at = fields[tag]
    if struct.calcsize(WHOLE[kind]) * count > 4:
        (at,) = struct.unpack_from(f'{order}I', data, at)
    return struct.unpack_from(order + WHOLE[kind], data, at)[0]


# First bytes, last of the first twelve, and what reads the size.
FORMS: tuple[tuple[bytes, bytes, Callable[[memoryview], tuple[int, int]]], ...] = (
    (b'RIFF', b'WEBP', _webp_size_hw),
    (b'BM', b'', _bmp_size_hw),
    (b'II*\0', b'', _tiff_size_hw),
    (b'MM\0*', b'', _tiff_size_hw),
)
