"""Where a pixel of rgb is in ir: the types, and their YAML form (see ``config/calibration/``)."""

from dataclasses import dataclass
from dataclasses import replace
from typing import Any

import numpy as np

from tdfusion_ros.core.data import MAX_SIDE_PX
from tdfusion_ros.core.data import Size
from tdfusion_ros.core.errors import CalibrationError

DISTORTIONS = (4, 5, 8, 12, 14)  # numbers that OpenCV's models of a lens have


@dataclass(frozen=True, eq=False)
class Camera:
    """
    A pinhole camera.

    :param size_hw: the image size that ``k`` belongs to [px].
    :param k: (3, 3) float64 intrinsic matrix [px].
    :param d: (n,) float64 distortion of OpenCV, n in ``DISTORTIONS``: plumb_bob (n = 5),
        rational_polynomial (n = 8), also with a thin prism (12) and a tilted sensor (14).
    """

    size_hw: Size
    k: np.ndarray
    d: np.ndarray


@dataclass(frozen=True, eq=False)
class Identity:
    """Both cameras have the same field of view; an ir image of another size is stretched."""


@dataclass(frozen=True, eq=False)
class Homography:
    """
    A homography, for a plane or a distant scene.

    :param matrix: (3, 3), ir pixel = matrix · rgb pixel, for images of the sizes below.
    :param rgb_size_hw: the image size that the matrix belongs to; None: any size [px].
    :param ir_size_hw: the same for ir.
    """

    matrix: np.ndarray
    rgb_size_hw: Size | None = None
    ir_size_hw: Size | None = None


@dataclass(frozen=True, eq=False)
class Extrinsics:
    """
    Two calibrated cameras, and the distance at which their images line up.

    :param rotation: (3, 3), from the rgb camera's frame to the ir camera's frame.
    :param translation_m: (3,), the same [m].
    :param assumed_depth_m: distance of the scene, a plane parallel to the rgb image [m].
    """

    rgb: Camera
    ir: Camera
    rotation: np.ndarray
    translation_m: np.ndarray
    assumed_depth_m: float


Calibration = Identity | Homography | Extrinsics
Sides = tuple[int, int, int, int]  # top, bottom, left, right [px]
KEYS = {
    'identity': (),
    'homography': ('homography', 'rgb_size_hw', 'ir_size_hw'),
    'extrinsics': ('rgb', 'ir', 'rotation', 'translation_m', 'assumed_depth_m'),
}


def resizing(from_hw: Size, to_hw: Size) -> np.ndarray:
    """Return the (3, 3) matrix of ``cv2.resize`` between two sizes."""
    kx, ky = to_hw[1] / from_hw[1], to_hw[0] / from_hw[0]
    return np.array([[kx, 0, (kx - 1) / 2], [0, ky, (ky - 1) / 2], [0, 0, 1]])


def cropped_size(sent_hw: Size, cut: Sides) -> Size:
    """Return what is left of an image of a size if these sides are cut off."""
    return sent_hw[0] - cut[0] - cut[1], sent_hw[1] - cut[2] - cut[3]


def cropped_camera(camera: Camera, sent_hw: Size, cut: Sides) -> Camera:
    """Return the camera of cut images, if it is that of the whole ones, of size ``sent_hw``."""
    if camera.size_hw != sent_hw:
        return camera
    return Camera(cropped_size(sent_hw, cut), _moving(cut) @ camera.k, camera.d)


def cropped(calibration: Calibration, sent_hw: Size, cut: Sides) -> Calibration:
    """Return the calibration of cut ir images, if it is one of whole ones of this size."""
    if isinstance(calibration, Extrinsics):
        return replace(calibration, ir=cropped_camera(calibration.ir, sent_hw, cut))
    if isinstance(calibration, Homography) and calibration.ir_size_hw == sent_hw:
        matrix = _moving(cut) @ calibration.matrix
        return replace(calibration, matrix=matrix, ir_size_hw=cropped_size(sent_hw, cut))
    return calibration


def _moving(cut: Sides) -> np.ndarray:
    return np.array([[1.0, 0, -cut[2]], [0, 1, -cut[0]], [0, 0, 1]])


def parse_calibration(raw: Any) -> Calibration:
    """Return the calibration of a parsed YAML document; CalibrationError names a wrong key."""
    if not isinstance(raw, dict):
        raise CalibrationError('expected a mapping with the key mode')
    mode = raw.get('mode')
    if not isinstance(mode, str) or mode not in KEYS:
        raise CalibrationError(
            f'mode must be {", ".join(KEYS)}, got {mode!r}: let tdfusion calibrate write '
            'it, from pairs, points, a board, or the files of camera_calibration'
        )
    _check_keys(raw, 'it', ('mode', *KEYS[mode]))
    if mode == 'identity':
        return Identity()
    if mode == 'homography':
        matrix = _numbers(raw.get('homography'), 'homography', (3, 3))
        if abs(np.linalg.det(matrix)) < 1e-12:
            raise CalibrationError('homography cannot be inverted')
        sizes = (parse_size(raw.get(key), key) for key in ('rgb_size_hw', 'ir_size_hw'))
        return Homography(matrix, *sizes)
    rotation = _numbers(raw.get('rotation'), 'rotation', (3, 3))
    error = np.abs(rotation @ rotation.T - np.eye(3)).max()
    if not error <= 1e-3 or np.linalg.det(rotation) < 0:  # NaN where numbers overflow
        raise CalibrationError('rotation is not a rotation matrix')
    depth = float(_numbers(raw.get('assumed_depth_m', 20.0), 'assumed_depth_m', ()))
    if depth <= 0:
        raise CalibrationError(f'assumed_depth_m must be above 0, got {depth}')
    rgb, ir = (_camera(raw.get(name), name) for name in ('rgb', 'ir'))
    translation_m = _numbers(raw.get('translation_m'), 'translation_m', (3,))
    return Extrinsics(rgb, ir, rotation, translation_m, depth)


def _check_keys(raw: dict[Any, Any], what: str, known: tuple[str, ...]) -> None:
    """Raise CalibrationError for a key that is not known, as misspelled ones have no effect."""
    if unknown := [str(key) for key in raw if key not in known]:
        names = f'{", ".join(unknown)}, expected {", ".join(known)}'
        raise CalibrationError(f'{what} has the unknown keys {names}')


def _camera(raw: Any, name: str) -> Camera:
    if not isinstance(raw, dict):
        raise CalibrationError(f'{name} must give size_hw, k and d')
    _check_keys(raw, name, ('size_hw', 'k', 'd'))
    k = _numbers(raw.get('k'), f'{name}.k', (3, 3))
    if k[0, 0] <= 0 or k[1, 1] <= 0:
        raise CalibrationError(f'{name}.k has no focal length: the camera is not calibrated')
    if k[1, 0] or (k[2] != (0, 0, 1)).any():
        form = '[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]'
        raise CalibrationError(f'{name}.k must be {form} in pixels, got {k.tolist()}')
    d = raw.get('d', [])
    if not isinstance(d, list) or len(d) not in (0, *DISTORTIONS):
        raise CalibrationError(f'{name}.d must have 0, 4, 5, 8, 12 or 14 numbers')
    size = parse_size(raw.get('size_hw'), f'{name}.size_hw')
    if size is None:
        raise CalibrationError(f'{name}.size_hw must be [height, width]')
    return Camera(size, k, _numbers(d, f'{name}.d', (len(d),)))


def _numbers(raw: Any, name: str, shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.array(raw, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.full((), np.nan)
    if array.shape != shape or not np.isfinite(array).all():
        raise CalibrationError(f'{name} must be numbers of shape {shape}, got {raw!r}')
    return array


def parse_size(raw: Any, name: str) -> Size | None:
    """Read ``[height, width]``; None stays None, else CalibrationError on ``name``."""
    if raw is None:
        return None
    size = _numbers(raw, name, (2,))
    if not ((size >= 1) & (size <= MAX_SIDE_PX)).all() or (size != size.round()).any():
        raise CalibrationError(
            f'{name} must be [height, width] in pixels, each 1 to {MAX_SIDE_PX}, got {raw!r}'
        )
    return int(size[0]), int(size[1])
