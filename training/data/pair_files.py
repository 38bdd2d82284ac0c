"""Read one file: text, an rgb or infrared picture, a mask; what cannot be read is named."""

from pathlib import Path
import struct
import zlib

import cv2
import numpy as np

from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.thermal import gray
from tdfusion_ros.core.thermal import is_gray
from tdfusion_ros.core.thermal import ThermalScaler

IGNORE = 255
"""Mask value of a pixel that counts neither in a loss nor in a metric."""

_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_GRAY, _PALETTE = 0, 3
"""Color types of PNG whose samples are one number a pixel."""


def read_rgb(path: Path) -> np.ndarray:
    """Return (H, W, 3) uint8, channel order R, G, B."""
    return cv2.cvtColor(_decode(path, read_bytes(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def read_ir(path: Path) -> np.ndarray:
    """
    Return (H, W) uint8; three equal channels, as in some JPEG files, become one as on the robot.

    16 bits become 8 as the node would scale its first frame: between its percentiles.

    :raises FusionError: if the file cannot be read, or shows temperature in false colors.
    """
    ir = _decode(path, read_bytes(path), cv2.IMREAD_ANYCOLOR, (np.uint8, np.uint16))
    if ir.ndim == 3 and not is_gray(ir):
        raise FusionError(
            f'{path} is in false colors, which cannot be read back as temperature: '
            'take the gray images of this data set'
        )
    ir = ir if ir.ndim == 2 else gray(ir)
    if ir.dtype == np.uint8:
        return ir
    return cv2.convertScaleAbs(ThermalScaler(IrConfig()).scale(ir), alpha=255)


def read_mask(path: Path, size_hw: tuple[int, int], classes: int, ignore_index: int) -> np.ndarray:
    """
    Return the class numbers of an index PNG, (H, W) uint8; unlabeled pixels are ``IGNORE``.

    :param classes: how many classes there are; values must lie below, or be ``ignore_index``.

    OpenCV, whatever its flags, paints a palette PNG in its colors, and spreads 1, 2 and 4 bit
    samples over 0 to 255. So the header is rewritten to 'gray' first, which leaves the samples
    alone, and the spread is undone.
    """
    data, depth = _as_gray(path, read_bytes(path))
    mask = _decode(path, data, cv2.IMREAD_UNCHANGED) // (255 // (2**depth - 1))
    if mask.shape != size_hw:
        raise FusionError(
            f'{path} is {_size(mask.shape)}, its pair is {_size(size_hw)}: a mask must have the '
            'size of its pair; make it again, or resize it with nearest neighbor'
        )
    mask = np.where(mask == ignore_index, np.uint8(IGNORE), mask)
    unknown = np.setdiff1d(mask[mask != IGNORE], np.arange(classes))
    if unknown.size:
        raise FusionError(
            f'{path} holds the value {unknown[0]}, which is no class (0 to {classes - 1}) and not '
            f'{ignore_index} for "ignore": correct the mask, or the class names of the data set'
        )
    return mask


def read_bytes(path: Path) -> bytes:
    """Return the content of a file; a file that cannot be read is a ``FusionError``."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FusionError(f'{path} cannot be read ({error.strerror}): add the file') from None


def read_text(path: Path) -> str:
    """Return the text of a file; one that is not UTF-8 is a ``FusionError``."""
    try:
        return read_bytes(path).decode('utf-8-sig')  # as Windows tools write it, too
    except UnicodeDecodeError:
        raise FusionError(f'{path} is not UTF-8 text: write it again') from None


def _decode(
    path: Path, data: bytes, flags: int, kinds: tuple[type, ...] = (np.uint8,)
) -> np.ndarray:
    # From memory: a truncated JPEG then fails, while cv2.imread fills it up with gray.
    coded = np.frombuffer(data, np.uint8)
    image = cv2.imdecode(coded, flags | cv2.IMREAD_ANYDEPTH) if data else None
    if image is None:
        raise FusionError(f'{path} cannot be decoded, it is damaged or no picture: copy it again')
    if image.dtype not in kinds:
        raise FusionError(f'{path} is {image.dtype}, expected 8 bits a channel: convert it')
    return image


def _as_gray(path: Path, data: bytes) -> tuple[bytes, int]:
    """Return the PNG without palette, declared as gray, and the bits of a sample."""
    if data[:8] != _SIGNATURE or len(data) < 33:
        raise FusionError(f'{path} is not a PNG: a mask is stored as index PNG; write it as one')
    depth, kind = data[24], data[25]
    if kind not in (_GRAY, _PALETTE) or depth > 8:
        raise FusionError(
            f'{path} is a picture of colors or of {depth} bits: a mask holds one class number '
            'a pixel, 8 bits at most; write the numbers as a gray or palette PNG'
        )
    header = data[12:25] + bytes([_GRAY]) + data[26:29]
    parts, at = [data[:12], header, struct.pack('>I', zlib.crc32(header))], 33
    while at + 8 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], 'big')
        # They contradict the new header: libpng would complain on standard error.
        if data[at + 4 : at + 8] not in (b'PLTE', b'tRNS'):
            parts.append(data[at:end])
        at = end
    return b''.join(parts), depth


def _size(shape: tuple[int, ...]) -> str:
    return f'{shape[1]}x{shape[0]}'
