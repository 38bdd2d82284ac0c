"""Read cameras (camera_info) and the pose between them (TF), from bags, messages and files."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from typing import TYPE_CHECKING

import numpy as np

from tdfusion_ros.core.calibration import Camera
from tdfusion_ros.core.calibration import Size
from tdfusion_ros.core.data import MAX_SIDE_PX
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.formats.camera_info import Region
from tdfusion_ros.formats.camera_info import region_of
from tdfusion_ros.formats.plain_yaml import read_yaml
from tdfusion_ros.formats.plain_yaml import reading

if TYPE_CHECKING:
    from tdfusion_ros.formats.bags import BagReader

TF_TYPE = 'tf2_msgs/msg/TFMessage'
MODELS = ('plumb_bob', 'rational_polynomial')
# Parts of names of models whose zero is another projection than a pinhole's.
FISHEYES = (
    *('equi', 'fish', 'kannala', 'omni', 'mei', 'spher', 'eucm', 'unified', 'theta', 'fov'),
    *('atan', 'scaramuzza', 'ocam', 'panoram', 'cylind', 'division'),
)
MAX_OFF_CENTER = 0.26  # distance of a principal point from the border, as a share of the side
MIN_FOV, MAX_FOV = 0.01, 20.0  # image side over focal length: 0.6 to 169 degrees
MAX_TRANSLATION_M = 1e6  # a frame may be a distant map; more than this is an error
CALIBRATE_IT = (
    'calibrate it (ros2 run camera_calibration cameracalibrator …), or calibrate from pairs or '
    'from picked points'
)


def camera_from_bag(
    reader: 'BagReader', image_topic: str, stream: str, image_hw: Size | None
) -> Camera:
    """Return the camera of the first camera_info beside an image topic; or CalibrationError."""
    from tdfusion_ros.formats.bag_topics import info_topic
    from tdfusion_ros.formats.bag_topics import INFO_TYPE

    if 'rect' in image_topic.rpartition('/')[2] or '_rect/' in image_topic:
        raise CalibrationError(
            f'{image_topic} looks rectified, so K and D of its camera_info do not apply; give the '
            f'raw images with --{stream}-topic'
        )
    topic = info_topic(image_topic)
    if reader.topics().get(topic) == INFO_TYPE:
        for _, _, message in reader.messages(topic):
            return camera_from_message(message, stream, image_hw)
    raise CalibrationError(f'{reader.path} lacks {topic}; record it, or give --{stream}-info FILE')


def camera_from_message(info: Any, stream: str, image_hw: Size | None) -> Camera:
    """Return the camera of a CameraInfo; CalibrationError if uncalibrated or of other images."""
    k, d = np.array(info.k, np.float64).reshape(3, 3), np.array(info.d, np.float64)
    full, model = Camera((int(info.height), int(info.width)), k, d), str(info.distortion_model)
    return _sent(full, f'{stream} camera_info', model, region_of(info), image_hw)


def camera_from_file(path: Path, stream: str, image_hw: Size | None) -> Camera:
    """Return the camera of a YAML file of ROS's camera_calibration; or a CalibrationError."""
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
    return _sent(camera, f'{stream} camera_info {path}', model, region, image_hw)


def _sent(full: Camera, what: str, model: str, region: Region, image_hw: Size | None) -> Camera:
    """Return the camera of the part that is sent, without D of zeros; refuse a wrong one."""
    fault = (
        _number_fault(full, model)
        or _principal_point_fault(full, region)
        or _size_fault(full.size_hw, region, image_hw)
    )
    if fault:
        raise CalibrationError(f'{what} {fault}')
    shift = np.zeros((3, 3))
    shift[:2, 2] = region.offset_xy
    # Binning needs no change of K: the map is rescaled from this size to that of the images.
    return Camera(region.size_hw, full.k - shift, full.d if np.any(full.d) else np.zeros(0))


def _number_fault(camera: Camera, model: str) -> str:
    """Return what is wrong with size, K and D by themselves; empty: nothing."""
    k, d, (height, width) = camera.k, camera.d, camera.size_hw
    if not np.isfinite(k).all() or k[0, 0] <= 0 or k[1, 1] <= 0:
        return f'is not calibrated: its K has the focal length {k[0, 0]:g}; {CALIBRATE_IT}'
    if not all(1 <= side <= MAX_SIDE_PX for side in (height, width)):
        return f'has the size {width}x{height}, expected the size of its images'
    if not k[2, 2]:
        return f'has a K whose last number is {k[2, 2]:g}, expected 1; {CALIBRATE_IT}'
    if not np.isfinite(d).all():
        return f'has a D that is not all numbers; {CALIBRATE_IT}'
    if not MIN_FOV < width / k[0, 0] < MAX_FOV or not MIN_FOV < height / k[1, 1] < MAX_FOV:
        return (
            f'has a K that does not fit its size {width}x{height}: the focal length is '
            f'{k[0, 0]:g} px; {CALIBRATE_IT}'
        )
    if any(word in model.lower() for word in FISHEYES):
        return (
            f"has the distortion model '{model}', which is no pinhole even if all its numbers are "
            'zero; undistort the images, or calibrate from pairs'
        )
    if np.any(d) and (model not in MODELS or len(d) not in (4, 5, 8)):
        return (
            f"has the distortion model '{model}' with {len(d)} numbers, expected "
            f'{" (5 numbers) or ".join(MODELS)} (8); undistort the images (image_proc) or '
            'calibrate from pairs'
        )
    return ''


def _principal_point_fault(camera: Camera, region: Region) -> str:
    """Return why K belongs to another size: its principal point is far from the center."""
    height, width = camera.size_hw
    x, y = camera.k[0, 2] / width, camera.k[1, 2] / height
    if all(MAX_OFF_CENTER < part < 1 - MAX_OFF_CENTER for part in (x, y)):
        return ''
    (rows, columns), reason = region.binning_yx, 'it belongs to another size or mode'
    if (rows, columns) != (1, 1) and abs(x * columns - 0.5) < 0.1 and abs(y * rows - 0.5) < 0.1:
        reason = f'it seems to belong to the binned image, {width // columns}x{height // rows}'
    return (
        f'has a K that does not fit its size {width}x{height}: the principal point is at '
        f'{x:.0%} of the width and {y:.0%} of the height; {reason}. Correct it in the driver, or '
        'give a corrected file (--rgb-info, --ir-info)'
    )


def _size_fault(full_hw: Size, region: Region, image_hw: Size | None) -> str:
    """Return why a roi lies outside of the sensor, or is not what the images show."""
    (left, top), (height, width), sent_hw = region.offset_xy, region.size_hw, region.sent_size_hw
    roi = f'has a roi of {width}x{height} at ({left}, {top})'
    if top + height > full_hw[0] or left + width > full_hw[1]:
        return (
            f'{roi}, which does not lie in its size {full_hw[1]}x{full_hw[0]}: size and K must '
            'describe the full image'
        )
    if 0 in sent_hw:
        rows, columns = region.binning_yx
        return f'has a binning of {columns}x{rows}, which leaves no pixel of its size'
    if image_hw is None:
        return ''
    if region.size_hw != full_hw:
        fits = max(abs(a - b) for a, b in zip(sent_hw, image_hw, strict=True)) <= 1
    else:  # may be another resolution of the same view
        fits = abs(np.log(sent_hw[1] / sent_hw[0] * image_hw[0] / image_hw[1])) <= 0.01
        roi = 'has no roi'
    if fits:
        return ''
    return (
        f'{roi} and is for {sent_hw[1]}x{sent_hw[0]}, but the images are '
        f'{image_hw[1]}x{image_hw[0]}: it is from another mode of the camera, or the images are '
        'cropped; calibrate the camera in the mode that is used'
    )


def static_transforms(reader: 'BagReader') -> list[Any]:
    """Return the messages of /tf_static, in any namespace."""
    types = reader.topics()
    topics = [t for t in types if types[t] == TF_TYPE and t.endswith('/tf_static')]
    return [message for _, _, message in reader.messages(*topics)] if topics else []


def pose_from_tf(messages: Iterable[Any], rgb_frame: str, ir_frame: str) -> np.ndarray:
    """Return (4, 4) from the rgb camera's frame to the ir camera's [m]; or a CalibrationError."""
    steps: dict[str, dict[str, np.ndarray]] = {}  # by source frame, by target frame
    for item in (item for message in messages for item in message.transforms):
        parent, child = item.header.frame_id.lstrip('/'), item.child_frame_id.lstrip('/')
        t, q = item.transform.translation, item.transform.rotation
        to_parent = _pose(_rotation((q.x, q.y, q.z, q.w), child), (t.x, t.y, t.z), child)
        steps.setdefault(child, {})[parent] = to_parent
        steps.setdefault(parent, {})[child] = np.linalg.inv(to_parent)
    start, goal = rgb_frame.lstrip('/'), ir_frame.lstrip('/')
    reached, queue = {start: np.eye(4)}, [start]
    for frame in queue:  # breadth first: the queue grows
        for target, step in steps.get(frame, {}).items():
            if target not in reached:
                reached[target] = step @ reached[frame]
                queue.append(target)
    if goal not in reached:
        raise CalibrationError(
            f"/tf_static does not connect the rgb frame '{start}' with the ir frame '{goal}'; it "
            f'has the frames {", ".join(sorted(steps)) or "none"}; record /tf_static, or give '
            '--extrinsics'
        )
    return reached[goal]


def pose_from_file(path: Path) -> np.ndarray:
    """Read (4, 4) from ``translation_m`` and ``rotation`` or ``quaternion_xyzw``; or an error."""
    raw = _read_mapping(path, 'extrinsics')
    try:
        translation = np.array(raw['translation_m'], np.float64).reshape(3)
        if 'quaternion_xyzw' in raw:
            rotation = _rotation(raw['quaternion_xyzw'], str(path))
        else:
            rotation = np.array(raw['rotation'], np.float64).reshape(3, 3)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CalibrationError(
            f'extrinsics {path} must have translation_m [x, y, z] and rotation (3 x 3) or '
            f'quaternion_xyzw: {error!r}'
        ) from None
    return _pose(rotation, translation, str(path))


def _pose(rotation: np.ndarray, translation_m: Any, where: str) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, translation_m
    # Comparisons with NaN are false, so `not (… < …)` refuses it.
    if not (np.abs(pose[:3, 3]) < MAX_TRANSLATION_M).all():
        raise CalibrationError(
            f"'{where}' has the translation {pose[:3, 3].tolist()}, expected [x, y, z] in meters"
        )
    if not np.abs(rotation @ rotation.T - np.eye(3)).max() < 1e-3:
        raise CalibrationError(f"'{where}' has a rotation that is not a rotation matrix")
    return pose


def _rotation(xyzw: Any, where: str) -> np.ndarray:
    x, y, z, w = (float(v) for v in xyzw)
    length = float(np.linalg.norm((x, y, z, w)))
    if not abs(length - 1) < 0.01:
        raise CalibrationError(
            f"'{where}' has a quaternion of length {length:.3f}, expected 1 (x, y, z, w)"
        )
    cross = np.cross(np.eye(3), np.array([x, y, z]) / length)  # cross @ p = (x, y, z) x p
    return np.eye(3) + 2 * (w / length * cross + cross @ cross)


def _read_mapping(path: Path, what: str) -> dict[str, Any]:
    with reading(CalibrationError, f'{what} {path} cannot be read'):
        raw = read_yaml(path.read_text(encoding='utf-8'))
    if not isinstance(raw, dict):
        raise CalibrationError(f'{what} {path} is not a YAML mapping')
    return raw
