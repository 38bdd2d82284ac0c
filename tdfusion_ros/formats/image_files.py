"""Image files: the one reader and the one writer for fusing, calibration and training."""

from pathlib import Path
import stat

import cv2
import numpy as np
from PIL import Image

from tdfusion_ros.atomic import write_file
from tdfusion_ros.core.errors import BagError
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.formats.decode import decode_image
from tdfusion_ros.formats.decode import ORIENTATION
from tdfusion_ros.formats.plain_yaml import reason

SUFFIXES = ('.png', '.jpg', '.jpeg', '.webp', '.bmp', '.tif', '.tiff')
MAX_FILE_BYTES = 1 << 29  # pixels of the largest image: 8192 x 8192 x 4 channels of 16 bits


def image_files(folder: Path) -> dict[str, Path]:
    """
    Return the image files of a folder by stem.

    :raises BagError: if it is not a folder, has no images, or has two of one stem.
    """
    if not folder.is_dir():
        raise BagError(f'{folder} is not a folder of images')
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        # macOS adds a file ._NAME next to each file on a foreign disk.
        if path.suffix.lower() in SUFFIXES and not path.name.startswith('._'):
            if path.stem in files:
                raise BagError(f"{folder} has two images of the stem '{path.stem}'")
            files[path.stem] = path
    if not files:
        raise BagError(f'{folder} has no images ({" ".join(SUFFIXES)})')
    return files


def read_image(path: Path) -> np.ndarray:
    """
    Return the pixels of an image file: PNG, JPEG, WebP, BMP or TIFF, whatever its suffix.

    :param path: a file of at most 512 MiB; sides of the image are at most 8192 px.
    :returns: as :func:`tdfusion_ros.formats.decode.decode_image`.
    :raises BagError: naming the file and what is wrong with it.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_FILE_BYTES:
            raise BagError(
                f'{path} is not an image: expected a file of at most {MAX_FILE_BYTES >> 20} MiB'
            )
        return decode_image(np.fromfile(path, np.uint8))
    except FrameError as error:
        raise BagError(f'{path} is not an image that can be read: {error}') from None
    except OSError as error:
        raise BagError(f'{path} cannot be read: {reason(error)}') from None


def different_orientations(rgb: Path, ir: Path) -> str:
    """
    Return a sentence if the files of a pair tell viewers to turn them differently, else ``''``.

    Nothing here turns an image, so the images may be turned against each other, or may line up
    although only one file states an orientation: no program can tell.
    """
    one, other = (_orientation(path) for path in (rgb, ir))
    if one == other:
        return ''
    return (
        f'{rgb} has the EXIF orientation {one}, {ir} has {other}: both are read as they are '
        'stored, not turned as viewers do; if they do not line up so, turn the pixels and remove '
        'the orientation'
    )


def _orientation(path: Path) -> int:
    """Return what EXIF or TIFF states, 1 (not turned) where it cannot be read."""
    try:
        with Image.open(path) as image:
            return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # Pillow raises errors of many kinds; read_image says what is wrong
        return 1


def encode_image(pixels: np.ndarray) -> tuple[str, bytes]:
    """
    Return the suffix and the content of a file that keeps the pixels as they are.

    :param pixels: (H, W) or (H, W, 3), uint8 or uint16, order R, G, B: a PNG; or (H, W) float32: a
        TIFF.
    """
    suffix = '.tiff' if pixels.dtype == np.float32 else '.png'
    stored = np.ascontiguousarray(pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    return suffix, cv2.imencode(suffix, stored)[1].tobytes()


def write_image(path: Path, pixels: np.ndarray) -> None:
    """
    Write a PNG.

    :param pixels: (H, W) or (H, W, 3), uint8 or uint16, order R, G, B.
    :raises OutputError: if it cannot be written, as on a full disk.
    """
    write_file(path, encode_image(pixels)[1])
