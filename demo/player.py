"""Play a bag to the node in real time and record what it publishes; one thread does both."""

from collections.abc import Callable
from collections.abc import Mapping
from time import monotonic
from time import time_ns
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
import rclpy
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray
from vision_msgs.msg import LabelInfo

from tdfusion_ros.core.errors import BagError
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.bags import BagWriter
from tdfusion_ros.node import qos

INPUT_KINDS = {
    'sensor_msgs/msg/Image': Image,
    'sensor_msgs/msg/CompressedImage': CompressedImage,
    'sensor_msgs/msg/CameraInfo': CameraInfo,
}
RESULTS = {
    '/fused/image_raw': ('sensor_msgs/msg/Image', Image),
    '/fused/camera_info': ('sensor_msgs/msg/CameraInfo', CameraInfo),
    '/detections': ('vision_msgs/msg/Detection2DArray', Detection2DArray),
    '/label_info': ('vision_msgs/msg/LabelInfo', LabelInfo),
    '/diagnostics': ('diagnostic_msgs/msg/DiagnosticArray', DiagnosticArray),
}
LATCHED = ('/label_info',)
START_S, SETTLE_S = 30.0, 1.5
COLUMNS = {  # of the live table: title -> value of the node's diagnostics
    'rgb Hz': 'rgb_rate_hz',
    'ir Hz': 'ir_rate_hz',
    'pairs Hz': 'pairs_rate_hz',
    'pairs': 'pairs',
    'skew ms': 'abs_skew_ms_mean',
    'p50 ms': 'latency_ms_p50',
    'p95 ms': 'latency_ms_p95',
}


def play(bag: BagReader, writer: BagWriter, is_alive: Callable[[], bool]) -> dict[str, str]:
    """
    Play the whole bag once and return the node's last diagnostics.

    :param is_alive: tells whether the node still runs.
    :raises BagError: if the node does not subscribe, or ends.
    """

    def record(topic: str, data: bytes) -> None:
        writer.write(topic, RESULTS[topic][0], time_ns(), data, latched=topic in LATCHED)

    with Player(bag.topics(), record, is_alive) as player:
        player.wait_for_node()
        player.play(bag)
        return player.status


class Player:
    """
    Two cameras and a listener in one node.

    :param topics: message type of each topic to publish; those that are no input are left out.
    :param on_result: called with the topic and the serialized message of every result.
    :param is_alive: tells whether the node under test still runs.
    """

    def __init__(
        self,
        topics: Mapping[str, str],
        on_result: Callable[[str, bytes], None],
        is_alive: Callable[[], bool],
    ) -> None:
        rclpy.init(args=[])  # the command line is not ROS's
        self.node = rclpy.create_node('demo_player')
        self.status: dict[str, str] = {}
        self._is_alive = is_alive
        self._publishers = {
            topic: self.node.create_publisher(INPUT_KINDS[kind], topic, 10)
            for topic, kind in topics.items()
            if kind in INPUT_KINDS
        }
        for topic, (_, cls) in RESULTS.items():
            self.node.create_subscription(
                cls,
                topic,
                lambda data, topic=topic: on_result(topic, data),
                qos.latched() if topic in LATCHED else QoSProfile(depth=10),
                raw=True,
            )
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._show, 10)
        self._begun: float | None = None

    def __enter__(self) -> 'Player':
        return self

    def __exit__(self, *_: object) -> None:
        self.node.destroy_node()
        rclpy.try_shutdown()

    def wait_for_node(self) -> None:
        """Return once the node listens to every image of the bag."""
        self.spin_until(
            lambda: all(p.get_subscription_count() for p in self._publishers.values()), START_S
        )
        if not all(p.get_subscription_count() for p in self._publishers.values()):
            raise BagError(f'the node did not subscribe within {START_S:g} s')

    def publish(self, topic: str, data: bytes) -> None:
        """Publish a serialized message."""
        self._publishers[topic].publish(data)

    def play(self, bag: BagReader) -> None:
        """Publish every message when it is due, then wait for what is still on its way."""
        print(''.join(f'{title:>10}' for title in ('time s', *COLUMNS)) + '   dropped')
        self._begun = monotonic()
        first_ns = None
        for topic, time, data in bag.serialized(*self._publishers):
            first_ns = time if first_ns is None else first_ns
            due = self._begun + (time - first_ns) / 1e9
            self.spin_until(lambda: False, due - monotonic())
            self.publish(topic, data)
        self.spin_until(lambda: False, SETTLE_S)

    def spin_until(self, done: Callable[[], bool], seconds: float) -> None:
        """Receive until a condition holds, at most for some seconds."""
        deadline = monotonic() + seconds
        while not done() and (left := deadline - monotonic()) > 0:
            if not self._is_alive():
                raise BagError('the node ended')
            rclpy.spin_once(self.node, timeout_sec=min(left, 0.05))

    def _show(self, message: Any) -> None:
        self.status = {v.key: v.value for status in message.status for v in status.values}
        if self._begun is None:
            return
        cells = [f'{monotonic() - self._begun:.1f}']
        cells += [self.status.get(value, '-') for value in COLUMNS.values()]
        dropped = ', '.join(f'{n} {c}' for c, n in drops(self.status).items()) or 'none'
        print(''.join(f'{cell:>10}' for cell in cells) + f'   {dropped}', flush=True)


def drops(status: dict[str, str]) -> dict[str, int]:
    """Return what the node dropped, by cause."""
    return {
        key.removeprefix('dropped.'): int(value)
        for key, value in status.items()
        if key.startswith('dropped.')
    }
