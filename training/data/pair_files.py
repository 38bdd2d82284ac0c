"""Read the files of a sample: an rgb or ir image, a mask, text. Errors name the file."""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from tdfusion_ros.core.calibration import Calibration
from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.coverage import soft
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.registration import Registration
from tdfusion_ros.core.rgb_image import rgb_image
from tdfusion_ros.core.thermal import gray
from tdfusion_ros.core.thermal import is_gray
from tdfusion_ros.core.thermal import ThermalScaler
from tdfusion_ros.formats.image_files import different_orientations
from tdfusion_ros.formats.image_files import read_image

TAIL_BYTES = 1 << 16
ENDS = {'PNG': b'IEND', 'JPEG': b'\xff\xd9'}
IGNORE = 255
"""Mask value of an unlabeled pixel: it counts neither in a loss nor in a metric."""
Files = tuple[Path | None, Path | None]
"""The rgb and the ir file of a pair; None if there is no such camera."""


def read_rgb(path: Path) -> np.ndarray:
    """Return (H, W, 3) uint8, channel order R, G, B."""
    try:
        return rgb_image(read_image(path))
    except FrameError as error:
        raise FusionError(f'{path}: {error}') from None


def read_thermal(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """
    Return (H, W) uint8, and where it measures, (H, W) bool, None: everywhere.

    Three equal channels become one; 16-bit counts are scaled as the node scales its first frame.

    :raises FusionError: if the file cannot be read or shows temperature in false colors.
    """
    ir = read_image(path)
    if ir.ndim == 3 and not is_gray(ir):
        raise FusionError(
            f'{path} is in false colors, which cannot be converted back to temperature: '
            'use the gray images of this data set, or exchange the folders of rgb and ir'
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
            if (image.height, image.width) != size_hw:  # before it is decoded
                raise FusionError(
                    f'{path} is {image.width}x{image.height}, its pair is '
                    f'{size_hw[1]}x{size_hw[0]}: a mask must have the size of its pair; '
                    'resize it with nearest neighbor'
                )
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
    mask = np.where(mask == ignore_index, np.uint8(IGNORE), mask)
    unknown = np.setdiff1d(mask[mask != IGNORE], np.arange(classes))
    if unknown.size:
        raise FusionError(
            f'{path} contains the value {unknown[0]}, which is neither a class (0 to '
            f'{classes - 1}) nor {ignore_index} for "ignore": correct the mask, or the class '
            'names of the data set'
        )
    return mask


def read_pair(
    files: Files, calibration: Calibration | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """
    Return rgb and ir, or black, and coverage as in ``Sample``.

    :param calibration: registers ir; None: the files are registered.
    :raises FusionError: if the sizes of registered files differ.
    """
    rgb_path, ir_path = files
    rgb = None if rgb_path is None else read_rgb(rgb_path)
    if ir_path is None:
        assert rgb is not None
        size_hw = rgb.shape[:2]
        return rgb, np.zeros(size_hw, np.uint8), np.zeros(size_hw, np.float32)
    ir, seen = read_thermal(ir_path)
    coverage = None if seen is None else soft(seen)
    if rgb is None or rgb_path is None:
        return np.zeros((*ir.shape, 3), np.uint8), ir, coverage
    if calibration is not None:
        levels = ir.astype(np.float32) / 255
        warped, coverage = Registration(calibration).apply(levels, rgb.shape[:2], seen)
        return rgb, cv2.convertScaleAbs(warped, alpha=255), coverage
    check_sizes(rgb_path, ir_path, rgb.shape[:2], ir.shape)
    return rgb, ir, coverage


def check_sizes(
    rgb_path: Path, ir_path: Path, rgb_hw: tuple[int, int], ir_hw: tuple[int, int]
) -> None:
    """Raise FusionError for images of a registered pair that have different sizes."""
    if rgb_hw != ir_hw:
        turned = different_orientations(rgb_path, ir_path)
        raise FusionError(
            f'{ir_path} is {ir_hw[1]}x{ir_hw[0]}, {rgb_path} is {rgb_hw[1]}x{rgb_hw[0]}: '
            'images of a registered pair have one size: register them, or put what tdfusion '
            'calibrate writes into the folder of the data set, as calibration.yaml'
            + (f' ({turned})' if turned else '')
        )


def check_image(path: Path) -> tuple[int, int]:
    """Return the size of an image, from its header; FusionError if it is none, or cut off."""
    try:
        with path.open('rb') as file, Image.open(file) as image:
            size_hw, end = (image.height, image.width), ENDS.get(image.format or '', b'')
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            tail = file.read()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        read_image(path)  # says why
        raise FusionError(f'{path} is not an image that can be read: {error}') from None
    if end not in tail:  # cut off, or there is much behind the end
        read_image(path)
    return size_hw


def read_bytes(path: Path) -> bytes:
    """Return the content of a file; a file that cannot be read is a ``FusionError``."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FusionError(f'{path} cannot be read ({error.strerror}): add the file') from None


def read_text(path: Path) -> str:
    """Return the text of a file; one that is neither UTF-8 nor UTF-16 is a ``FusionError``."""
    data = read_bytes(path)
    try:  # Windows tools write a byte order mark, PowerShell writes UTF-16
        return data.decode('utf-16' if data[:2] in (b'\xff\xfe', b'\xfe\xff') else 'utf-8-sig')
    except UnicodeDecodeError:
        raise FusionError(f'{path} is not UTF-8 text: save it as UTF-8') from None
