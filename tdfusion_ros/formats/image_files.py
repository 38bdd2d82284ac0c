"""Read image files: the one reader for fusing, calibration and training."""

from pathlib import Path
import stat

import numpy as np

from tdfusion_ros.core.errors import BagError
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.formats.decode import decode_image
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
    :returns: (H, W) or (H, W, 3), uint8 or uint16, order R, G, B.
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
