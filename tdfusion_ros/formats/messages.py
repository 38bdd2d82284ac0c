"""
Messages to numpy and back, the same for live messages and for messages of bags.

Nothing here imports ROS. Reading needs only the fields; writing gets the message classes
(:class:`MessageTypes`): from rclpy on the robot, from rosbags offline.
"""

import array
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import copy
from dataclasses import dataclass
from functools import cache
from functools import partial
from math import isfinite
from math import nan
import re
import struct
import sys
from typing import Any

import numpy as np

from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.data import Temperatures
from tdfusion_ros.formats.decode import decode_compressed
from tdfusion_ros.formats.image_files import encode_jpeg
from tdfusion_ros.formats.raw_images import decode_raw

JPEG_QUALITY = 90
STALL_STATUS = 'tdfusion fuse: inference'
# By the number of dimensions and the bytes of a channel.
RAW_NAMES = {(3, 1): 'rgb8', (3, 2): 'rgb16', (2, 1): 'mono8', (2, 2): 'mono16', (2, 4): '32FC1'}
UNITS, ENDS = ('count', 'kelvin'), ('min', 'median', 'max')
MEASUREMENTS = [f'{unit}_{which}' for unit in UNITS for which in ENDS]


@dataclass(frozen=True)
class MessageTypes:
    """Message classes by name; ``pack`` turns (n,) uint8 into what they take as ``uint8[]``."""

    get: Callable[[str], Any]
    pack: Callable[[np.ndarray], Any]

    def make(self, name: str, /, **fields: Any) -> Any:
        return self.get(name)(**fields)


def ros_types() -> MessageTypes:
    """Return the message classes of the ROS installation."""
    from importlib import import_module

    @cache  # each box needs five
    def get(name: str) -> Any:
        package, _, leaf = name.split('/')
        return getattr(import_module(f'{package}.msg'), leaf)

    def pack(data: np.ndarray) -> Any:
        # For any other type, rclpy checks byte by byte: 54 ms instead of 0.05.
        packed = array.array('B')
        packed.frombytes(data.data)
        return packed

    return MessageTypes(get, pack)


def stamp_ns(header: Any) -> int:
    """Return the time of a std_msgs/Header [ns]."""
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def to_frame(message: Any) -> Frame:
    """Return the frame of a sensor_msgs/Image or CompressedImage; FrameError if it is no image."""
    data = np.frombuffer(message.data, np.uint8)
    if hasattr(message, 'format'):
        encoding, pixels = message.format, decode_compressed(message.format, data)
    else:
        encoding, pixels = message.encoding, decode_raw(message, data)
    return Frame(pixels, stamp_ns(message.header), message.header.frame_id, encoding)


def header(types: MessageTypes, frame: Frame) -> Any:
    """Return a std_msgs/Header with the frame's stamp and frame id."""
    sec, nanosec = divmod(frame.stamp_ns, 1_000_000_000)
    stamp = types.make('builtin_interfaces/msg/Time', sec=sec, nanosec=nanosec)
    return types.make('std_msgs/msg/Header', stamp=stamp, frame_id=frame.frame_id)


def image(types: MessageTypes, head: Any, pixels: np.ndarray) -> Any:
    """Return a sensor_msgs/Image: rgb8, rgb16 of (H, W, 3); mono8, mono16, 32FC1 of (H, W)."""
    pixels = np.ascontiguousarray(pixels)
    size = {'height': pixels.shape[0], 'width': pixels.shape[1], 'step': pixels.strides[0]}
    order = {'is_bigendian': int(sys.byteorder == 'big')}
    encoding = RAW_NAMES[pixels.ndim, pixels.itemsize]
    data = types.pack(pixels.reshape(-1).view(np.uint8))
    kind = 'sensor_msgs/msg/Image'
    return types.make(kind, header=head, **size, **order, encoding=encoding, data=data)


def compressed_image(types: MessageTypes, head: Any, pixels: np.ndarray) -> Any:
    """Return a sensor_msgs/CompressedImage with a JPEG of (H, W, 3) uint8, order R, G, B."""
    data, form = types.pack(encode_jpeg(pixels, JPEG_QUALITY)), 'rgb8; jpeg compressed bgr8'
    return types.make('sensor_msgs/msg/CompressedImage', header=head, format=form, data=data)


def camera_info(head: Any, rgb_info: Any) -> Any:
    """Return the rgb camera's info with the header of the fused image."""
    info = copy.copy(rgb_info)
    info.header = head
    return info


def camera_info_values(info: Any) -> dict[str, Any]:
    """Return the content of a sensor_msgs/CameraInfo as plain values for JSON."""
    values = {'frame_id': info.header.frame_id, 'size_hw': [info.height, info.width]}
    matrices = {name: [float(x) for x in getattr(info, name)] for name in ('d', 'k', 'r', 'p')}
    return {**values, 'distortion_model': info.distortion_model, **matrices}


def detection_array(
    types: MessageTypes, head: Any, found: Detections, classes: Sequence[str]
) -> Any:
    """Return a vision_msgs/Detection2DArray: class_id is the class name; id may be empty."""

    def make(name: str, **fields: Any) -> Any:
        return types.make(f'vision_msgs/msg/{name}', **fields)

    detections = []
    for (left, top, right, bottom), score, class_id, number in found.rows():
        x, y = (left + right) / 2, (top + bottom) / 2
        position = make('Point2D', x=x, y=y)
        center = make('Pose2D', position=position, theta=0.0)
        box = make('BoundingBox2D', center=center, size_x=right - left, size_y=bottom - top)
        what = {'id': str(number or ''), 'results': [hypothesis(types, classes[class_id], score)]}
        detections.append(make('Detection2D', header=head, bbox=box, **what))
    return make('Detection2DArray', header=head, detections=detections)


def hypothesis(types: MessageTypes, class_id: str, score: float) -> Any:
    """Return a vision_msgs/ObjectHypothesisWithPose without a pose."""
    named = types.make('vision_msgs/msg/ObjectHypothesis', class_id=class_id, score=score)
    kind = 'vision_msgs/msg/ObjectHypothesisWithPose'
    return types.make(kind, hypothesis=named, pose=_no_pose(types))


def temperatures_by_name(measured: Temperatures) -> list[dict[str, float]]:
    """Return what is known of each detection, such as ``{'count_min': 7312.0, …}``."""
    rows = np.hstack((measured.counts, measured.kelvin)).round(3).tolist()
    return [{n: v for n, v in zip(MEASUREMENTS, row, strict=True) if isfinite(v)} for row in rows]


def temperatures_of(rows: Sequence[Mapping[str, float]]) -> Temperatures:
    """Return the temperatures of rows that may have MEASUREMENTS."""
    found = np.array([[row.get(name, nan) for name in MEASUREMENTS] for row in rows], np.float64)
    found = found.reshape(-1, len(MEASUREMENTS))
    return Temperatures(found[:, :3], found[:, 3:])


def temperature_array(types: MessageTypes, boxes: Any, measured: Temperatures) -> Any:
    """Return a Detection2DArray of the same detections (``boxes``) and what was measured."""
    detections = []
    for one, row in zip(boxes.detections, temperatures_by_name(measured), strict=True):
        results = [*one.results, *(hypothesis(types, *item) for item in row.items())]
        fields = {'header': one.header, 'id': one.id, 'bbox': one.bbox, 'results': results}
        detections.append(types.make('vision_msgs/msg/Detection2D', **fields))
    kind = 'vision_msgs/msg/Detection2DArray'
    return types.make(kind, header=boxes.header, detections=detections)


def results_by_name(detection: Any) -> dict[str, float]:
    """Return the results of a vision_msgs/Detection2D by name: its class and what was measured."""
    return {one.hypothesis.class_id: one.hypothesis.score for one in detection.results}


def object_id(detection: Any) -> int:
    """Return the id of a vision_msgs/Detection2D, 0 if it has none or no number."""
    return int(detection.id) if re.fullmatch('[0-9]{1,18}', detection.id) else 0


def _no_pose(types: MessageTypes) -> Any:
    position = types.make('geometry_msgs/msg/Point', x=0.0, y=0.0, z=0.0)
    orientation = types.make('geometry_msgs/msg/Quaternion', x=0.0, y=0.0, z=0.0, w=1.0)
    pose = types.make('geometry_msgs/msg/Pose', position=position, orientation=orientation)
    return types.make('geometry_msgs/msg/PoseWithCovariance', pose=pose, covariance=np.zeros(36))


def cdr_stamp_ns(data: bytes) -> int:
    """
    Return the stamp of a serialized message that begins with a header [ns].

    :param data: CDR: four bytes, the lowest bit of the second means little endian, then the
        fields (OMG DDS-XTypes, 7.4.3.4).
    :raises struct.error, IndexError: if it is too short.
    """
    sec, nanosec = struct.unpack_from('<iI' if data[1] & 1 else '>iI', data, 4)
    return sec * 1_000_000_000 + nanosec


def stall_warning(types: MessageTypes, head: Any, mode: str, warning: str) -> Any:
    """Return a diagnostic_msgs/DiagnosticArray for a bag: what a result lacks."""
    text = {'name': STALL_STATUS, 'message': f'{warning}: {mode}'}
    kind = 'diagnostic_msgs/msg/DiagnosticStatus'
    status = types.make(kind, level=1, **text, hardware_id='', values=[])  # 1: WARN
    return types.make('diagnostic_msgs/msg/DiagnosticArray', header=head, status=[status])


def label_info(types: MessageTypes, head: Any, classes: Sequence[str], threshold: float) -> Any:
    """Return a vision_msgs/LabelInfo: the classes that detections may have."""
    one = partial(types.make, 'vision_msgs/msg/VisionClass')
    names = [one(class_id=i, class_name=name) for i, name in enumerate(classes)]
    fields = {'header': head, 'threshold': threshold, 'class_map': names}
    return types.make('vision_msgs/msg/LabelInfo', **fields)
