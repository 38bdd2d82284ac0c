"""Image files: the one reader and the one writer for fusing, calibration and training."""

from collections.abc import Collection
from collections.abc import Sequence
from pathlib import Path
import re
import stat
import unicodedata

import cv2
import numpy as np
from PIL import Image

from tdfusion_ros.atomic import write_file
from tdfusion_ros.core.errors import BagError
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.formats.decode import decode_image
from tdfusion_ros.formats.decode import ORIENTATION
from tdfusion_ros.formats.read_errors import reason

SUFFIXES = ('.png', '.jpg', '.jpeg', '.webp', '.bmp', '.tif', '.tiff')
IR_NAMES = 'infrared', 'thermal', 'lwir', 'ir', 't'
# DJI drones use single letters: DJI_0001_T for infrared, W, V or Z for rgb.
_NAMES = '|'.join(('rgb', 'visible', 'vis', 'vi', 'color', 'w', 'v', 'z', *IR_NAMES))
CAMERA_NAMES = [
    re.compile(text, re.I) for text in (f'(?<=.)[-_.]({_NAMES})$', f'^({_NAMES})[-_.](?=.)')
]
MAX_FILE_BYTES = 1 << 29  # pixels of the largest image: 8192 x 8192 x 4 channels of 16 bits


def list_files(folder: Path, suffixes: Sequence[str] = SUFFIXES) -> dict[str, Path]:
    """
    Return the files of a folder by stem, without the ``._`` files that macOS adds.

    If all stems end or begin with the same name of a camera, as ``0001_rgb``, they are without it.

    :param suffixes: in lower case; the case of a file's suffix does not matter.
    :raises BagError: if the folder is missing or two files have the same stem.
    """
    if not folder.is_dir():
        raise BagError(f'{folder} is not a folder: correct the path, or add the folder')
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        ours = not path.name.startswith('._') and path.name != 'classes.txt'  # of LabelImg
        if path.suffix.lower() in suffixes and ours:
            stem = composed(path.stem)
            if stem in found:
                raise BagError(f'{found[stem]} and {path} have the same stem: delete one of them')
            found[stem] = path
    return {name: found[stem] for stem, name in pair_names(found).items()}


def pair_names(stems: Collection[str]) -> dict[str, str]:
    """Return the name of each stem: without the camera, if all have the same one."""
    is_one = len({named_camera(stem) for stem in stems}) == 1
    return {stem: without_camera(stem) if is_one else stem for stem in stems}


def named_camera(stem: str) -> str:
    """Return the name of a camera at the end of a stem, else at its beginning; else empty."""
    found = (name.search(stem) for name in CAMERA_NAMES)
    return next((one[0] for one in found if one), '')


def without_camera(stem: str) -> str:
    """Return a stem without the name of a camera at its end, else at its beginning."""
    if camera := named_camera(stem):
        return stem.removesuffix(camera) if stem.endswith(camera) else stem.removeprefix(camera)
    return stem


def composed(name: str) -> str:
    """Return a name as most systems write it: macOS takes letters and accents apart."""
    return unicodedata.normalize('NFC', name)


def image_files(folder: Path) -> dict[str, Path]:
    """Return the image files of a folder by stem, as ``list_files``; BagError if there is none."""
    files = list_files(folder)
    if not files:
        raise BagError(f'{folder} has no images ({" ".join(SUFFIXES)})')
    return files


def camera_files(rgb: Path, ir: Path) -> dict[str, dict[str, Path]]:
    """
    Return the image files of ``rgb`` and of ``ir`` by stem, as ``image_files``.

    If both are one folder, a file is of ir if it is named so, as ``0001_ir`` or ``thermal_1``.
    """
    if not (rgb.is_dir() and ir.is_dir() and rgb.samefile(ir)):
        return {'rgb': image_files(rgb), 'ir': image_files(ir)}
    found: dict[str, dict[str, Path]] = {'rgb': {}, 'ir': {}}
    for path in image_files(rgb).values():
        stem = composed(path.stem)
        is_ir = named_camera(stem).strip('-_.').lower() in IR_NAMES
        files, name = found['ir' if is_ir else 'rgb'], without_camera(stem)
        if name in files:
            raise BagError(f'{files[name]} and {path} are of one pair: delete one of them')
        files[name] = path
    if not all(found.values()):
        raise BagError(
            f'{rgb} is given for both cameras, so its files must be named for them, such as '
            '0001_rgb.png and 0001_ir.png'
        )
    return found


def read_image(path: Path) -> np.ndarray:
    """Return the pixels of a file of at most 512 MiB, as ``decode_image``, or raise BagError."""
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
    one, other = (orientation(path) for path in (rgb, ir))
    if one == other:
        return ''
    return (
        f'{rgb} has the EXIF orientation {one}, {ir} has {other}: both are read as they are '
        'stored, not turned as viewers do; if they do not line up so, turn the pixels and remove '
        'the orientation'
    )


def orientation(path: Path) -> int:
    """Return what EXIF or TIFF states, 1 (not turned) where it cannot be read."""
    try:
        with Image.open(path) as image:
            return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # Pillow raises errors of many kinds; read_image says what is wrong
        return 1


def encode_image(pixels: np.ndarray) -> tuple[str, bytes]:
    """Return suffix and content of a file that keeps pixels: TIFF for float32, else PNG."""
    suffix = '.tiff' if pixels.dtype == np.float32 else '.png'
    stored = np.ascontiguousarray(pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    return suffix, cv2.imencode(suffix, stored)[1].tobytes()


def encode_jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    """Return the content of a JPEG, (n,) uint8, of (H, W) or (H, W, 3) uint8, order R, G, B."""
    stored = np.ascontiguousarray(pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    return cv2.imencode('.jpg', stored, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].reshape(-1)


def write_image(path: Path, pixels: np.ndarray) -> None:
    """Write (H, W) or (H, W, 3) uint8 or uint16 RGB as PNG; OutputError as on a full disk."""
    write_file(path, encode_image(pixels)[1])
