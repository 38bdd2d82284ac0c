"""Read what camera_info and calibration files say of a camera."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tdfusion_ros.core.calibration import Camera
from tdfusion_ros.core.calibration import Size
from tdfusion_ros.core.data import MAX_SIDE_PX
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.formats.plain_yaml import read_yaml

MODELS = ('plumb_bob', 'rational_polynomial')
UNCALIBRATED = (
    'calibrate it (ros2 run camera_calibration cameracalibrator …), or calibrate from pairs or '
    'from picked points instead'
)


def from_message(info: Any, stream: str, image_hw: Size | None) -> Camera:
    """
    Return the camera of a sensor_msgs/CameraInfo.

    :param stream: ``rgb`` or ``ir``, for messages.
    :param image_hw: size of the images that it belongs to, where it is known.
    :raises CalibrationError: if it is not calibrated, or belongs to other images.
    """
    k = np.array(info.k, np.float64).reshape(3, 3)
    d = np.array(info.d, np.float64)
    size_hw = int(info.height), int(info.width)
    return _camera(stream, f'{stream} camera_info', size_hw, k, d, info.distortion_model, image_hw)


def from_file(path: Path, stream: str, image_hw: Size | None) -> Camera:
    """
    Return the camera of a YAML file of ROS's camera_calibration.

    :raises CalibrationError: as above, or if it cannot be read.
    """
    raw = read_mapping(path, f'{stream} camera_info')
    try:
        size_hw = int(raw['image_height']), int(raw['image_width'])
        k = np.array(raw['camera_matrix']['data'], np.float64).reshape(3, 3)
        d = np.array(raw['distortion_coefficients']['data'], np.float64).reshape(-1)
        model = str(raw['distortion_model'])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CalibrationError(
            f'{path} is not a file of camera_calibration with image_width, image_height, '
            f'camera_matrix, distortion_model and distortion_coefficients: {error!r}'
        ) from None
    return _camera(stream, f'{stream} camera_info {path}', size_hw, k, d, model, image_hw)


def read_mapping(path: Path, what: str) -> dict[str, Any]:
    """
    Read a YAML file that holds a mapping.

    :raises CalibrationError: if it does not.
    """
    try:
        raw = read_yaml(path.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CalibrationError(f'{what} {path} cannot be read: {error}') from None
    if not isinstance(raw, dict):
        raise CalibrationError(f'{what} {path} is not a YAML mapping')
    return raw


def _camera(
    stream: str, what: str, size_hw: Size, k: np.ndarray, d: np.ndarray, model: str, image_hw: Any
) -> Camera:
    if not np.isfinite(k).all() or k[0, 0] <= 0 or k[1, 1] <= 0:
        raise CalibrationError(
            f'{what} is not calibrated: its K has the focal length {k[0, 0]:g}; {UNCALIBRATED}'
        )
    if not all(1 <= side <= MAX_SIDE_PX for side in size_hw):
        raise CalibrationError(f'{what} says the size {_wh(size_hw)}, expected that of its images')
    if not k[2, 2]:
        raise CalibrationError(f'{what} has a K that does not end in 1')
    if not np.isfinite(d).all():
        raise CalibrationError(f'{what} has a D that is not all numbers; {UNCALIBRATED}')
    if image_hw is not None and abs(np.log(_aspect(size_hw) / _aspect(image_hw))) > 0.01:
        raise CalibrationError(
            f'{what} is for {_wh(size_hw)}, but the {stream} images are {_wh(image_hw)}, of '
            'another shape: it belongs to another mode of the camera, or the images are cropped; '
            'calibrate in the mode that is used'
        )
    if not np.any(d):
        d = np.zeros(0)
    elif model not in MODELS or len(d) not in (4, 5, 8):
        raise CalibrationError(
            f"{what} has the distortion model '{model}' with {len(d)} numbers, expected "
            f'{" (5 numbers) or ".join(MODELS)} (8); undistort the images (image_proc) or '
            'calibrate from pairs'
        )
    return Camera(size_hw, k, d)


def _aspect(size_hw: Size) -> float:
    return size_hw[1] / size_hw[0]


def _wh(size_hw: Size) -> str:
    return f'{size_hw[1]}x{size_hw[0]}'
