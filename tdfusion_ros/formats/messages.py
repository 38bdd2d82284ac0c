"""
Messages to numpy and back, the same for live messages and for messages from bags.

Nothing here imports ROS: reading only needs the fields, and writing is given the message classes
(:class:`MessageTypes`), rclpy's on the robot and rosbags' offline. What a topic carries is
therefore decided once.
"""

import array
from collections.abc import Callable
from collections.abc import Sequence
import copy
from dataclasses import dataclass
from functools import cache
import sys
from typing import Any

import numpy as np

from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.formats.decode import decode_image
from tdfusion_ros.formats.decode import decode_raw
from tdfusion_ros.formats.decode import ENCODINGS
from tdfusion_ros.formats.decode import Layout


@dataclass(frozen=True)
class MessageTypes:
    """
    Message classes by short name.

    :param get: returns the class for a name, as ``sensor_msgs/msg/Image``.
    :param pack: turns (n,) uint8 into what the class takes as ``uint8[]``.
    """

    get: Callable[[str], Any]
    pack: Callable[[np.ndarray], Any]


def ros_types() -> MessageTypes:
    """Return the message classes of the ROS installation."""
    from importlib import import_module

    @cache  # every box asks for five
    def get(name: str) -> Any:
        package, _, leaf = name.split('/')
        return getattr(import_module(f'{package}.msg'), leaf)

    def pack(data: np.ndarray) -> array.array:
        # Assigning anything else makes rclpy check byte by byte: 54 ms instead of 0.05.
        packed = array.array('B')
        packed.frombytes(memoryview(data))
        return packed

    return MessageTypes(get, pack)


def stamp_ns(header: Any) -> int:
    """Return the time of a std_msgs/Header [ns]."""
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def to_frame(message: Any) -> Frame:
    """
    Read a sensor_msgs/Image or CompressedImage.

    :raises FrameError: if its bytes are not an image of a known encoding.
    """
    data = np.frombuffer(message.data, np.uint8)
    if hasattr(message, 'format'):
        pixels = decode_image(data)
    elif message.encoding in ENCODINGS:
        pixels = decode_raw(
            Layout(
                message.height,
                message.width,
                message.encoding,
                message.step,
                bool(message.is_bigendian),
            ),
            data,
        )
    else:
        pixels = _through_cv_bridge(message)
    encoding = message.format if hasattr(message, 'format') else message.encoding
    return Frame(pixels, stamp_ns(message.header), message.header.frame_id, encoding)


def _through_cv_bridge(message: Any) -> np.ndarray:
    try:
        from cv_bridge import CvBridge
        from cv_bridge import CvBridgeError
    except ImportError:
        raise FrameError(
            'bad_encoding',
            f"encoding '{message.encoding[:32]}' cannot be read "
            f'without cv_bridge; without it, use one of {", ".join(ENCODINGS)}',
        ) from None
    try:
        return CvBridge().imgmsg_to_cv2(message, 'rgb8')
    except (CvBridgeError, RuntimeError, ValueError, TypeError) as error:
        raise FrameError('bad_encoding', f'cv_bridge: {error}') from None


def header(types: MessageTypes, frame: Frame) -> Any:
    """Return a std_msgs/Header with the frame's stamp and frame id."""
    sec, nanosec = divmod(frame.stamp_ns, 1_000_000_000)
    return types.get('std_msgs/msg/Header')(
        stamp=types.get('builtin_interfaces/msg/Time')(sec=sec, nanosec=nanosec),
        frame_id=frame.frame_id,
    )


def image(types: MessageTypes, head: Any, pixels: np.ndarray) -> Any:
    """
    Return a sensor_msgs/Image.

    :param pixels: (H, W, 3) uint8 as rgb8, (H, W) uint8 as mono8, or (H, W) uint16 as mono16.
    """
    pixels = np.ascontiguousarray(pixels)
    return types.get('sensor_msgs/msg/Image')(
        header=head,
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding='rgb8' if pixels.ndim == 3 else f'mono{8 * pixels.itemsize}',
        is_bigendian=int(sys.byteorder == 'big'),
        step=pixels.strides[0],
        data=types.pack(pixels.reshape(-1).view(np.uint8)),
    )


def camera_info(head: Any, rgb_info: Any) -> Any:
    """Return the rgb camera's info with the header of the fused image."""
    info = copy.copy(rgb_info)
    info.header = head
    return info


def camera_info_values(info: Any) -> dict[str, Any]:
    """Return what a camera info says of the camera, as JSON holds it."""
    return {
        'frame_id': info.header.frame_id,
        'size_hw': [info.height, info.width],
        'distortion_model': info.distortion_model,
        **{name: [float(x) for x in getattr(info, name)] for name in ('d', 'k', 'r', 'p')},
    }


def detection_array(
    types: MessageTypes, head: Any, found: Detections, classes: Sequence[str]
) -> Any:
    """Return a vision_msgs/Detection2DArray; class_id is the name of the class."""
    vision = {
        name: types.get(f'vision_msgs/msg/{name}')
        for name in ('Detection2D', 'BoundingBox2D', 'Pose2D', 'Point2D', 'ObjectHypothesis')
    }
    corners = found.boxes_xyxy.astype(np.float64)
    centers, sizes = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
    array_of = []
    for (x, y), (w, h), score, class_id in zip(
        centers.tolist(),
        sizes.tolist(),
        found.scores.tolist(),
        found.class_ids.tolist(),
        strict=True,
    ):
        center = vision['Pose2D'](position=vision['Point2D'](x=x, y=y), theta=0.0)
        hypothesis = vision['ObjectHypothesis'](class_id=classes[class_id], score=score)
        array_of.append(
            vision['Detection2D'](
                header=head,
                results=[_with_pose(types, hypothesis)],
                id='',
                bbox=vision['BoundingBox2D'](center=center, size_x=w, size_y=h),
            )
        )
    return types.get('vision_msgs/msg/Detection2DArray')(header=head, detections=array_of)


def _with_pose(types: MessageTypes, hypothesis: Any) -> Any:
    geometry = {
        name: types.get(f'geometry_msgs/msg/{name}')
        for name in ('Pose', 'PoseWithCovariance', 'Point', 'Quaternion')
    }
    pose = geometry['Pose'](
        position=geometry['Point'](x=0.0, y=0.0, z=0.0),
        orientation=geometry['Quaternion'](x=0.0, y=0.0, z=0.0, w=1.0),
    )
    return types.get('vision_msgs/msg/ObjectHypothesisWithPose')(
        hypothesis=hypothesis,
        pose=geometry['PoseWithCovariance'](pose=pose, covariance=np.zeros(36)),
    )


def stall_warning(types: MessageTypes, head: Any, mode: str, warning: str) -> Any:
    """Return a diagnostic_msgs/DiagnosticArray that says what a result lacks, for bags."""
    status = types.get('diagnostic_msgs/msg/DiagnosticStatus')(
        level=1,  # WARN
        name='tdfusion fuse: inference',
        message=f'{warning}: {mode}',
        hardware_id='',
        values=[],
    )
    return types.get('diagnostic_msgs/msg/DiagnosticArray')(header=head, status=[status])


def label_info(types: MessageTypes, head: Any, classes: Sequence[str], threshold: float) -> Any:
    """Return a vision_msgs/LabelInfo: the classes that detections may name."""
    vision_class = types.get('vision_msgs/msg/VisionClass')
    return types.get('vision_msgs/msg/LabelInfo')(
        header=head,
        threshold=threshold,
        class_map=[vision_class(class_id=i, class_name=name) for i, name in enumerate(classes)],
    )
