"""Read the files of a sample: an rgb or ir image, a mask, text. Errors name the file."""

from collections.abc import Sequence
import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.rgb_image import rgb_image
from tdfusion_ros.core.thermal import gray
from tdfusion_ros.core.thermal import is_gray
from tdfusion_ros.core.thermal import ThermalScaler
from tdfusion_ros.formats.image_files import read_image
from tdfusion_ros.formats.image_files import SUFFIXES

IGNORE = 255
"""Mask value of an unlabeled pixel: it counts neither in a loss nor in a metric."""


def list_files(folder: Path, suffixes: Sequence[str] = SUFFIXES) -> dict[str, Path]:
    """
    Return the files of a folder by stem, without the ``._`` files that macOS adds.

    :param suffixes: in lower case; the case of a file's suffix does not matter.
    :raises FusionError: if the folder is missing or two files have the same stem.
    """
    if not folder.is_dir():
        raise FusionError(f'{folder} is not a folder: add it, or name a complete data set')
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes and not path.name.startswith('._'):
            if path.stem in found:
                raise FusionError(
                    f'{found[path.stem]} and {path} have the same stem: delete one of them'
                )
            found[path.stem] = path
    return found


def read_rgb(path: Path) -> np.ndarray:
    """Return (H, W, 3) uint8, channel order R, G, B."""
    try:
        return rgb_image(read_image(path))
    except FrameError as error:
        raise FusionError(f'{path}: {error}') from None


def read_ir(path: Path) -> np.ndarray:
    """Return the image of :func:`read_thermal` alone."""
    return read_thermal(path)[0]


def read_thermal(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """
    Return (H, W) uint8; three equal channels, as in some JPEG files, become one as on the robot.

    16-bit counts are scaled between percentiles, as the node scales its first frame.

    :returns: the image; and where it holds a measurement, (H, W) bool, None: everywhere.
    :raises FusionError: if the file cannot be read or shows temperature in false colors.
    """
    ir = read_image(path)
    if ir.ndim == 3 and not is_gray(ir):
        raise FusionError(
            f'{path} is in false colors, which cannot be converted back to temperature: '
            'use the gray images of this data set'
        )
    ir = ir if ir.ndim == 2 else gray(ir)
    if ir.dtype == np.uint8:
        return ir, None
    scaler = ThermalScaler(IrConfig(crop='none'))  # the pair is registered pixel by pixel
    try:
        return cv2.convertScaleAbs(scaler.scale(ir), alpha=255), scaler.seen
    except FrameError as error:
        raise FusionError(f'{path}: {error}') from None


def read_mask(path: Path, size_hw: tuple[int, int], classes: int, ignore_index: int) -> np.ndarray:
    """
    Return the class indices of an index PNG, (H, W) uint8; unlabeled pixels are ``IGNORE``.

    OpenCV would replace the indices of a palette PNG by its colors; Pillow keeps them.

    :param classes: number of classes; each value must be below it or equal ``ignore_index``.
    """
    data = read_bytes(path)
    try:
        with Image.open(io.BytesIO(data), formats=['PNG']) as image:
            mode, mask = image.mode, np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise FusionError(
            f'{path} cannot be read as a PNG ({error}): store masks as index PNG'
        ) from None
    if mode not in ('1', 'L', 'P'):
        raise FusionError(
            f'{path} has pixels of mode {mode}: a mask has one class index per pixel, at most 8 '
            'bits; write the indices as a gray or palette PNG'
        )
    if mode != 'P':  # Pillow stretches gray samples of 1, 2 and 4 bits to 0..255
        bits = data[24]  # per sample, in the PNG header
        mask = mask.astype(np.uint8) if mode == '1' else mask // (255 // (2**bits - 1))
    if mask.shape != size_hw:
        raise FusionError(
            f'{path} is {mask.shape[1]}x{mask.shape[0]}, its pair is {size_hw[1]}x{size_hw[0]}: '
            'a mask must have the size of its pair; resize it with nearest neighbor'
        )
    mask = np.where(mask == ignore_index, np.uint8(IGNORE), mask)
    unknown = np.setdiff1d(mask[mask != IGNORE], np.arange(classes))
    if unknown.size:
        raise FusionError(
            f'{path} contains the value {unknown[0]}, which is neither a class (0 to '
            f'{classes - 1}) nor {ignore_index} for "ignore": correct the mask, or the class '
            'names of the data set'
        )
    return mask


def read_size_hw(path: Path) -> tuple[int, int]:
    """Return the size of an image from its header, without decoding it."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise FusionError(f'{path} is not an image that can be read: {error}') from None


def read_bytes(path: Path) -> bytes:
    """Return the content of a file; a file that cannot be read is a ``FusionError``."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FusionError(f'{path} cannot be read ({error.strerror}): add the file') from None


def read_text(path: Path) -> str:
    """Return the text of a file; one that is not UTF-8 is a ``FusionError``."""
    try:
        return read_bytes(path).decode('utf-8-sig')  # Windows tools write a byte order mark
    except UnicodeDecodeError:
        raise FusionError(f'{path} is not UTF-8 text: save it as UTF-8') from None
