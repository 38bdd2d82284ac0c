"""Read cameras (camera_info) and the pose between them (TF), from bags, messages and files."""

from pathlib import Path
from typing import Any

import numpy as np

from tdfusion_ros.core.calibration import Camera
from tdfusion_ros.core.calibration import Size
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.formats.bag_topics import info_topic
from tdfusion_ros.formats.bag_topics import INFO_TYPE
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.camera_info import camera_from_message
from tdfusion_ros.formats.camera_info import check_raw
from tdfusion_ros.formats.camera_info import checked_camera
from tdfusion_ros.formats.camera_info import Region
from tdfusion_ros.formats.plain_yaml import read_yaml
from tdfusion_ros.formats.read_errors import reading
from tdfusion_ros.formats.transforms import checked_pose
from tdfusion_ros.formats.transforms import rotation_of

TF_TYPE = 'tf2_msgs/msg/TFMessage'


def camera_from_bag(reader: BagReader, image_topic: str, stream: str, *image_hw: Size) -> Camera:
    """Return the camera of the first camera_info beside an image topic; or CalibrationError."""
    check_raw(image_topic, stream)
    topic = info_topic(image_topic)
    if reader.topics().get(topic) == INFO_TYPE:
        for _, _, message in reader.messages(topic):
            return camera_from_message(message, stream, *image_hw)
    raise CalibrationError(f'{reader.path} lacks {topic}; record it, or give --{stream}-info FILE')


def camera_from_file(path: Path, stream: str, *image_hw: Size) -> Camera:
    """Return the camera of a YAML file of ROS's camera_calibration, or raise CalibrationError."""
    raw = _read_mapping(path, f'{stream} camera_info')
    try:
        camera = Camera(
            (int(raw['image_height']), int(raw['image_width'])),
            np.array(raw['camera_matrix']['data'], np.float64).reshape(3, 3),
            np.array(raw['distortion_coefficients']['data'], np.float64).reshape(-1),
        )
        model = str(raw['distortion_model'])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CalibrationError(
            f'{path} is not a camera_calibration file with image_width, image_height, '
            f'camera_matrix, distortion_model and distortion_coefficients: {error!r}'
        ) from None
    region = Region((0, 0), camera.size_hw, (1, 1))
    return checked_camera(camera, f'{stream} camera_info {path}', model, region, image_hw)


def static_transforms(reader: BagReader) -> list[Any]:
    """Return the messages of /tf_static, in any namespace."""
    types = reader.topics()
    topics = [t for t in types if types[t] == TF_TYPE and t.endswith('/tf_static')]
    return [message for _, _, message in reader.messages(*topics)] if topics else []


def pose_from_file(path: Path) -> np.ndarray:
    """Read a pose (4, 4), its rotation also as a quaternion; or raise CalibrationError."""
    raw = _read_mapping(path, 'extrinsics')
    try:
        translation = np.array(raw['translation_m'], np.float64).reshape(3)
        if 'quaternion_xyzw' in raw:
            rotation = rotation_of(raw['quaternion_xyzw'], str(path))
        else:
            rotation = np.array(raw['rotation'], np.float64).reshape(3, 3)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CalibrationError(
            f'extrinsics {path} must have translation_m [x, y, z] and rotation (3 x 3) or '
            f'quaternion_xyzw: {error!r}'
        ) from None
    return checked_pose(rotation, translation, str(path))


def _read_mapping(path: Path, what: str) -> dict[str, Any]:
    with reading(CalibrationError, f'{what} {path} cannot be read'):
        raw = read_yaml(path.read_text(encoding='utf-8'))
    if not isinstance(raw, dict):
        raise CalibrationError(f'{what} {path} is not a YAML mapping')
    return raw
