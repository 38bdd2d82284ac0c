"""The calibration that camera_info and TF describe at this moment."""

from collections.abc import Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from rclpy.lifecycle import Node
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile

from tdfusion_ros.core.calibration import cropped_size
from tdfusion_ros.core.calibration import Extrinsics
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.core.registration import check_view
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.core.thermal import sides_to_cut
from tdfusion_ros.formats.camera_info import camera_from_message
from tdfusion_ros.formats.camera_info import check_raw
from tdfusion_ros.formats.transforms import pose_from_tf

DEPTH = 100  # as tf2_ros
SAME = 1e-4  # [rad] and [m]: a smaller change of the pose is noise, and no reason for a new map
TF_TOPICS = {'/tf': DurabilityPolicy.VOLATILE, '/tf_static': DurabilityPolicy.TRANSIENT_LOCAL}


def tf_message_type() -> Any:
    """Return TFMessage; CalibrationError where it is not installed."""
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError as error:
        raise CalibrationError(
            f'calibration tf needs tf2_msgs ({error}): apt install ros-$ROS_DISTRO-tf2-msgs, or '
            'python pip_ros/build_messages.py'
        ) from None
    return TFMessage


class TfCalibration:
    """
    Follow /tf and /tf_static; :meth:`of` returns the same object until something changes.

    :param image_topics: full name of each stream's image topic.
    """

    def __init__(self, node: Node, image_topics: Mapping[str, str]) -> None:
        self._node = node
        self._image_topics = image_topics
        self._transforms: dict[str, Any] = {}  # the latest to each child frame
        self._has_moved = False
        self._frames, self._pose = ('', ''), np.eye(4)
        self._current: Extrinsics | None = None
        self._subscriptions = [
            node.create_subscription(
                tf_message_type(),
                topic,
                self._receive,
                QoSProfile(depth=DEPTH, durability=durability),
            )
            for topic, durability in TF_TOPICS.items()
        ]

    def of(
        self, pair: FramePair, infos: Mapping[str, Any], config: FusionConfig
    ) -> Extrinsics | None:
        """
        Return the calibration for a pair; for one with a missing image, the last one, if any.

        :param infos: the latest CameraInfo of each stream.
        :raises CalibrationError: if camera_info or TF are missing or wrong.
        """
        if pair.rgb is None or pair.ir is None:
            return self._current
        cameras = {}
        for stream, frame in (('rgb', pair.rgb), ('ir', pair.ir)):
            check_raw(self._image_topics[stream], stream)
            if stream not in infos:
                raise CalibrationError(
                    f'calibration tf: no camera_info of {stream} yet: let its driver publish it '
                    f'beside {self._image_topics[stream]}, or remap {stream}/camera_info'
                )
            cut = sides_to_cut(config.ir.crop, frame.size_hw) if stream == 'ir' else (0, 0, 0, 0)
            sizes = frame.size_hw, cropped_size(frame.size_hw, cut)
            cameras[stream] = camera_from_message(infos[stream], stream, *sizes)
        frames = pair.rgb.frame_id, pair.ir.frame_id
        if self._has_moved or frames != self._frames:
            tree = SimpleNamespace(transforms=list(self._transforms.values()))
            self._pose = pose_from_tf([tree], *frames)
            self._has_moved, self._frames = False, frames
        rotation, translation_m = self._pose[:3, :3], self._pose[:3, 3]
        depth_m = config.calibration_depth_m
        found = Extrinsics(cameras['rgb'], cameras['ir'], rotation, translation_m, depth_m)
        if self._current is None or not _same(found, self._current):
            check_view(found)
            self._current = found
            self._node.get_logger().info(
                f'calibration from camera_info and TF: ir is {np.linalg.norm(translation_m):.3f} '
                f'm from rgb, the images line up at {depth_m:g} m',
                throttle_duration_sec=5.0,
            )
        return self._current

    def destroy(self) -> None:
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _receive(self, message: Any) -> None:
        for item in message.transforms:
            last: Any = self._transforms.get(item.child_frame_id)
            is_known = last is not None and last.header.frame_id == item.header.frame_id
            self._has_moved |= not (is_known and last.transform == item.transform)
            self._transforms[item.child_frame_id] = item


def _same(a: Extrinsics, b: Extrinsics) -> bool:
    """Return whether two calibrations give the same map."""
    close = partial(np.allclose, rtol=0, atol=SAME)
    is_near = close(a.rotation, b.rotation) and close(a.translation_m, b.translation_m)
    return bool(is_near) and _exact(a) == _exact(b)


def _exact(one: Extrinsics) -> tuple[Any, ...]:
    return one.assumed_depth_m, *(
        (c.size_hw, c.k.tolist(), c.d.tolist()) for c in (one.rgb, one.ir)
    )
