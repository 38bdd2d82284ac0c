"""Pictures and the messages that carry them."""

import array
from functools import cache
from pathlib import Path
from typing import Any

from builtin_interfaces.msg import Time
import cv2
import numpy as np
from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import Reader
from sensor_msgs.msg import CameraInfo
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray

SMALL_HW = (96, 128)
CHANNELS = {'rgb8': 3, 'bgr8': 3, 'rgba8': 4, 'mono8': 1, 'mono16': 1, '16UC1': 1}
KINDS = {
    'sensor_msgs/msg/Image': Image,
    'sensor_msgs/msg/CompressedImage': CompressedImage,
    'vision_msgs/msg/Detection2DArray': Detection2DArray,
}


@cache
def scene(seed: int = 0, size_hw: tuple[int, int] = SMALL_HW) -> tuple[np.ndarray, np.ndarray]:
    """
    Return a picture in color and in infrared, full of soft spots.

    :returns: (H, W, 3) uint8 and (H, W) uint16, do not write into them.
    """
    rng = np.random.default_rng(seed)
    height, width = size_hw
    rgb = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (width, height))
    ir = cv2.resize(rng.integers(0, 65536, (6, 8)).astype(np.uint16), (width, height))
    return rgb, ir


def header(stamp_ns: int, frame_id: str) -> Header:
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    return Header(stamp=Time(sec=sec, nanosec=nanosec), frame_id=frame_id)


def image(pixels: np.ndarray, encoding: str, head: Header, *, big: bool = False) -> Image:
    """
    Return an image message.

    :param pixels: as the encoding defines them, in the byte order of this machine.
    :param big: send the high byte of a channel first.
    """
    data = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder('>')) if big else pixels)
    return Image(
        header=head,
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=int(big),
        step=data.strides[0],
        data=packed(data.tobytes()),
    )


def compressed(pixels: np.ndarray, suffix: str, head: Header) -> CompressedImage:
    """Return a compressed image message; ``suffix`` is .png or .jpg, color is R, G, B."""
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    data = cv2.imencode(suffix, pixels)[1]
    return CompressedImage(header=head, format=suffix[1:], data=packed(data.tobytes()))


def camera_info(head: Header, size_hw: tuple[int, int] = SMALL_HW) -> CameraInfo:
    return CameraInfo(
        header=head,
        height=size_hw[0],
        width=size_hw[1],
        distortion_model='plumb_bob',
        d=[0.1, -0.2, 0.01, 0.02, 0.3],
        k=[554.0, 0.0, 64.5, 0.0, 553.0, 48.5, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[550.0, 0.0, 64.0, 0.0, 0.0, 551.0, 48.0, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def pair(stamp_ns: int, *, seed: int = 0, skew_ns: int = 8_000_000) -> tuple[Image, Image]:
    rgb, ir = scene(seed)
    return (
        image(rgb, 'rgb8', header(stamp_ns, 'rgb_optical_frame')),
        image(ir, 'mono16', header(stamp_ns + skew_ns, 'ir_optical_frame')),
    )


def pixels(message: Image) -> np.ndarray:
    shape = (message.height, message.width, CHANNELS[message.encoding])
    return np.frombuffer(message.data, np.uint8).reshape(shape).squeeze()


def packed(data: bytes) -> array.array:
    """Return bytes as messages take them without looking at every one."""
    return array.array('B', data)


def stamp_ns(message: Any) -> int:
    """Return the time of a message [ns]."""
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


def from_bag(folder: Path, *topics: str) -> list[tuple[str, Any]]:
    """Return topic and message of what a bag has on some topics, in the order of recording."""
    with Reader(folder) as reader:
        wanted = [c for c in reader.connections if c.topic in topics]
        return [
            (connection.topic, deserialize_message(bytes(data), KINDS[connection.msgtype]))
            for connection, _, data in reader.messages(wanted)
        ]
