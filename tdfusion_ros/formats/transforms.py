"""Poses between frames: from TF messages and from files."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tdfusion_ros.core.errors import CalibrationError

MAX_TRANSLATION_M = 1e6  # a frame may be a distant map; more than this is an error


def pose_from_tf(messages: Iterable[Any], rgb_frame: str, ir_frame: str) -> np.ndarray:
    """Return (4, 4) from the rgb frame to the ir frame [m], or raise CalibrationError."""
    steps: dict[str, dict[str, np.ndarray]] = {}  # by source frame, by target frame
    for item in (item for message in messages for item in message.transforms):
        parent, child = item.header.frame_id.lstrip('/'), item.child_frame_id.lstrip('/')
        t, q = item.transform.translation, item.transform.rotation
        to_parent = checked_pose(rotation_of((q.x, q.y, q.z, q.w), child), (t.x, t.y, t.z), child)
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
            f"TF does not connect the rgb frame '{start}' with the ir frame '{goal}'; it has the "
            f'frames {", ".join(sorted(steps)) or "none"}; publish or record /tf_static'
        )
    return reached[goal]


def checked_pose(rotation: np.ndarray, translation_m: Any, where: str) -> np.ndarray:
    """Return (4, 4) of a (3, 3) rotation and a translation [m], or raise CalibrationError."""
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


def rotation_of(xyzw: Any, where: str) -> np.ndarray:
    """Return (3, 3) of a quaternion x, y, z, w; CalibrationError if its length is not 1."""
    x, y, z, w = (float(v) for v in xyzw)
    length = float(np.linalg.norm((x, y, z, w)))
    if not abs(length - 1) < 0.01:
        raise CalibrationError(
            f"'{where}' has a quaternion of length {length:.3f}, expected 1 (x, y, z, w)"
        )
    cross = np.cross(np.eye(3), np.array([x, y, z]) / length)  # cross @ p = (x, y, z) x p
    return np.eye(3) + 2 * (w / length * cross + cross @ cross)
