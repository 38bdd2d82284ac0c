"""Play a bag to the node in real time and receive what it publishes, in one thread."""

from collections.abc import Callable
from collections.abc import Mapping
from functools import partial
from time import monotonic
from typing import Any

import rclpy
from rclpy.qos import QoSProfile

from tdfusion_ros.core.errors import BagError
from tdfusion_ros.formats.bag_topics import IMAGE_TYPES
from tdfusion_ros.formats.bag_topics import INFO_TYPE
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.messages import ros_types
from tdfusion_ros.node import qos

STATUS_TYPE = 'diagnostic_msgs/msg/DiagnosticArray'
OUTPUTS = {
    '/fused/image_raw': IMAGE_TYPES[0],
    '/fused/camera_info': INFO_TYPE,
    '/detections': 'vision_msgs/msg/Detection2DArray',
    '/label_info': 'vision_msgs/msg/LabelInfo',
    '/diagnostics': STATUS_TYPE,
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


class Player:
    """
    Two cameras and a listener in one node.

    :param topics: message type of each topic to publish; of images and camera info only.
    :param on_result: called with the topic and the serialized message of every result.
    :param is_alive: returns whether the node under test is running.
    """

    def __init__(
        self,
        topics: Mapping[str, str],
        on_result: Callable[[str, bytes], None],
        is_alive: Callable[[], bool],
    ) -> None:
        rclpy.init(args=[])  # the command line has no ROS arguments
        self._node = rclpy.create_node('demo_player')
        self.status: dict[str, str] = {}  # values of the latest diagnostics
        self._is_alive = is_alive
        types = ros_types()
        self._publishers = {
            topic: self._node.create_publisher(types.get(kind), topic, 10)
            for topic, kind in topics.items()
            if kind in (*IMAGE_TYPES, INFO_TYPE)
        }
        for topic, kind in OUTPUTS.items():
            profile = qos.latched() if topic in LATCHED else QoSProfile(depth=10)
            take = partial(on_result, topic)
            self._node.create_subscription(types.get(kind), topic, take, profile, raw=True)
        self._node.create_subscription(types.get(STATUS_TYPE), '/diagnostics', self._show, 10)
        self._begun: float | None = None

    def __enter__(self) -> 'Player':
        return self

    def __exit__(self, *_: object) -> None:
        self._node.destroy_node()
        rclpy.try_shutdown()

    def wait_for_node(self) -> None:
        """Return once the node subscribes to every image topic; BagError if it does not."""

        def subscribed() -> bool:
            return all(p.get_subscription_count() for p in self._publishers.values())

        self.spin(START_S, subscribed)
        if not subscribed():
            raise BagError(f'the node did not subscribe within {START_S:g} s')

    def publish(self, topic: str, data: bytes) -> None:
        """Publish a serialized message."""
        self._publishers[topic].publish(data)

    def play(self, bag: BagReader) -> None:
        """Publish every message when it is due, then wait for the last results."""
        print(''.join(f'{title:>10}' for title in ('time s', *COLUMNS)) + '   dropped')
        self._begun = monotonic()
        first_ns = None
        for topic, time_ns, data in bag.serialized(*self._publishers):
            first_ns = time_ns if first_ns is None else first_ns
            self.spin(self._begun + (time_ns - first_ns) / 1e9 - monotonic())
            self.publish(topic, data)
        self.spin(SETTLE_S)

    def spin(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Receive for some time, or until a condition is true; BagError if the node ends."""
        deadline = monotonic() + seconds
        while not until() and (left := deadline - monotonic()) > 0:
            if not self._is_alive():
                raise BagError('the node ended')
            rclpy.spin_once(self._node, timeout_sec=min(left, 0.05))

    def _show(self, message: Any) -> None:
        self.status = {v.key: v.value for status in message.status for v in status.values}
        if self._begun is None:
            return
        cells = [f'{monotonic() - self._begun:.1f}']
        cells += [self.status.get(value, '-') for value in COLUMNS.values()]
        row = ''.join(f'{cell:>10}' for cell in cells)
        print(f'{row}   {drops_text(drops(self.status))}', flush=True)


def drops(status: Mapping[str, str]) -> dict[str, int]:
    """Return how many images or pairs the node dropped, by cause."""
    return {
        key.removeprefix('dropped.'): int(value)
        for key, value in status.items()
        if key.startswith('dropped.')
    }


def drops_text(counts: Mapping[str, int]) -> str:
    """Return ``2 busy, 1 no_partner``, or ``none``."""
    return ', '.join(f'{number} {cause}' for cause, number in counts.items()) or 'none'
