"""Where the ir camera is, as TF or a file says it. TF is read, never published."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.tools.calibrate.cameras import read_mapping

MOST_APART_M = 1e6  # a frame may be a map's, far away; beyond that it is a slip


@dataclass(frozen=True, eq=False)
class Pose:
    """
    Takes a point of one frame to another: X_to = rotation · X_from + translation.

    :param rotation: (3, 3).
    :param translation_m: (3,) [m].
    """

    rotation: np.ndarray
    translation_m: np.ndarray

    def then(self, other: 'Pose') -> 'Pose':
        """Return this pose followed by another."""
        return Pose(
            other.rotation @ self.rotation,
            other.rotation @ self.translation_m + other.translation_m,
        )

    def inverse(self) -> 'Pose':
        """Return the way back."""
        return Pose(self.rotation.T, -self.rotation.T @ self.translation_m)


def from_tf(messages: Iterable[Any], rgb_frame: str, ir_frame: str) -> Pose:
    """
    Return the pose that takes a point of the rgb camera's frame to the ir camera's.

    :param messages: tf2_msgs/TFMessage of /tf_static.
    :raises CalibrationError: naming the frames there are, if there is no way between the two.
    """
    ways: dict[str, dict[str, Pose]] = {}
    for message in messages:
        for item in message.transforms:
            parent, child = (
                name.lstrip('/') for name in (item.header.frame_id, item.child_frame_id)
            )
            t, q = item.transform.translation, item.transform.rotation
            to_parent = Pose(_rotation((q.x, q.y, q.z, q.w), child), np.array([t.x, t.y, t.z]))
            _check(to_parent, child)
            ways.setdefault(child, {})[parent] = to_parent
            ways.setdefault(parent, {})[child] = to_parent.inverse()
    start, goal = rgb_frame.lstrip('/'), ir_frame.lstrip('/')
    reached = {start: Pose(np.eye(3), np.zeros(3))}
    queue = deque([start])
    while queue:
        frame = queue.popleft()
        for there, step in ways.get(frame, {}).items():
            if there not in reached:
                reached[there] = reached[frame].then(step)
                queue.append(there)
    if goal not in reached:
        raise CalibrationError(
            f"/tf_static has no way from the rgb frame '{start}' to the ir frame '{goal}'; its "
            f'frames are {", ".join(sorted(ways)) or "none"}; record /tf_static, or give '
            '--extrinsics'
        )
    return reached[goal]


def from_file(path: Path) -> Pose:
    """
    Read a pose: ``translation_m``, and ``rotation`` (3 x 3) or ``quaternion_xyzw``.

    :raises CalibrationError: naming what is missing or wrong.
    """
    raw = read_mapping(path, 'extrinsics')
    try:
        translation = np.array(raw['translation_m'], np.float64).reshape(3)
        if 'quaternion_xyzw' in raw:
            rotation = _rotation(raw['quaternion_xyzw'], str(path))
        else:
            rotation = np.array(raw['rotation'], np.float64).reshape(3, 3)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CalibrationError(
            f'extrinsics {path} must give translation_m [x, y, z] and rotation (3 x 3) or '
            f'quaternion_xyzw: {error!r}'
        ) from None
    pose = Pose(rotation, translation)
    _check(pose, str(path))
    return pose


def _check(pose: Pose, where: str) -> None:
    if not (np.abs(pose.translation_m) < MOST_APART_M).all():
        raise CalibrationError(
            f"'{where}' has the translation {pose.translation_m.tolist()}, expected [x, y, z] in "
            'meters'
        )
    # Asked this way round, so that NaN is refused.
    if not np.abs(pose.rotation @ pose.rotation.T - np.eye(3)).max() < 1e-3:
        raise CalibrationError(f"'{where}' has a rotation that is not a rotation matrix")


def _rotation(xyzw: Any, where: str) -> np.ndarray:
    x, y, z, w = (float(v) for v in xyzw)
    length = np.sqrt(x * x + y * y + z * z + w * w)
    if not abs(length - 1) < 0.01:
        raise CalibrationError(
            f"'{where}' has a quaternion of length {length:.3f}, expected 1 (x, y, z, w)"
        )
    x, y, z, w = x / length, y / length, z / length, w / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
