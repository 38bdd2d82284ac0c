"""Receive every image topic for some seconds; only this module of the doctor uses ROS."""

from dataclasses import dataclass
from dataclasses import field
from time import monotonic
from typing import Any

import numpy as np

from tdfusion_ros.core.calibration import Size
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.stamps import is_lossy
from tdfusion_ros.formats.bag_topics import IMAGE_TYPES
from tdfusion_ros.formats.bag_topics import info_topic
from tdfusion_ros.formats.messages import stamp_ns
from tdfusion_ros.formats.messages import to_frame

MIN_DISCOVERY_S = 3.0  # finds most publishers
MAX_DISCOVERY_S = 12.0  # for the two wanted topics, on a busy machine
MAX_TOPICS = 16  # a robot may have dozens


@dataclass
class ReceivedTopic:
    """
    What was received on an image topic.

    :param type_name: of its messages, as ``sensor_msgs/msg/Image``; only images are received.
    :param publishers: names of the nodes that publish it; ``endpoints``: their publishers on it.
    :param best_effort: one offers no more.
    :param lost: how many messages DDS lost.
    :param arrivals_ns: this machine's ROS time at each arrival [ns].
    :param kinds: encoding, size and frame of all messages, as ``mono16 640x512 in ir_optical``.
    :param encoding: of the last message; its ``pixels``, if it could be decoded, else ``fault``.
    :param info: the last camera_info beside it.
    """

    name: str
    type_name: str
    publishers: tuple[str, ...] = ()
    endpoints: int = 1
    best_effort: bool = False
    lost: int = 0
    stamps_ns: list[int] = field(default_factory=list)
    arrivals_ns: list[int] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)
    encoding: str = ''
    pixels: np.ndarray | None = None
    fault: str = ''
    info: Any = None
    last: Any = None

    @property
    def size_hw(self) -> Size | None:
        """The size of the last image, if it could be decoded."""
        return None if self.pixels is None else (self.pixels.shape[0], self.pixels.shape[1])

    @property
    def rate_hz(self) -> float:
        """Messages per second, by arrival; 0 for fewer than two [Hz]."""
        if len(self.arrivals_ns) < 2:
            return 0.0
        duration_ns = max(self.arrivals_ns[-1] - self.arrivals_ns[0], 1)
        return (len(self.arrivals_ns) - 1) * 1e9 / duration_ns

    @property
    def loses(self) -> bool:
        """Whether DDS loses so many messages that it is worth a warning."""
        return is_lossy(self.lost, self.lost + len(self.stamps_ns))

    def __str__(self) -> str:
        kind = self.type_name.rpartition('/')[2]
        what = f'{kind}, {"best effort" if self.best_effort else "reliable"}'
        if self.stamps_ns:
            size = f' {self.size_hw[1]}x{self.size_hw[0]}' if self.size_hw else ''
            what += f', {self.rate_hz:.1f} Hz, {self.encoding}{size}'
        else:
            what += ', no messages'
        return f'{what}, from {", ".join(self.publishers)}'


def listen(
    names: dict[str, str], namespace: str, seconds: float
) -> tuple[dict[str, str], list[ReceivedTopic], str]:
    """
    Receive all image topics.

    :param names: topic of each stream as the node would name it, as ``rgb/image_raw``.
    :param seconds: to receive, after discovery [s].
    :raises ConfigError: if a name is not a valid ROS name.
    :returns: the full topic of each stream, what was received, and the middleware's name.
    """
    import rclpy
    from rclpy.exceptions import NameValidationException
    from rclpy.executors import SingleThreadedExecutor

    context = rclpy.Context()
    rclpy.init(args=[], context=context)
    try:
        node = rclpy.create_node('tdfusion_doctor', namespace=namespace, context=context)
    except NameValidationException as error:
        rclpy.try_shutdown(context=context)
        raise ConfigError(f'--namespace is not a valid ROS name: {error}') from None
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def spin(duration_s: float) -> None:
        end = monotonic() + duration_s
        while (left := end - monotonic()) > 0:
            executor.spin_once(timeout_sec=left)

    try:
        wanted = {stream: _resolved(node, name) for stream, name in names.items()}
        deadline = monotonic() + MAX_DISCOVERY_S
        spin(MIN_DISCOVERY_S)
        while monotonic() < deadline and not all(map(node.count_publishers, wanted.values())):
            spin(0.2)
        topics = _published(node, wanted)
        for topic in topics:
            if topic.type_name in IMAGE_TYPES:
                _subscribe(node, topic)
        spin(seconds)
        for topic in topics:
            _complete(node, topic)
        return wanted, topics, rclpy.get_rmw_implementation_identifier()
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown(context=context)


def _resolved(node: Any, name: str) -> str:
    try:
        return node.resolve_topic_name(name)
    except RuntimeError as error:  # RCLError is a RuntimeError
        raise ConfigError(f"topic '{name}' is not a valid ROS name: {error}") from None


def _published(node: Any, wanted: dict[str, str]) -> list[ReceivedTopic]:
    """Return the wanted topics that have publishers, then image topics."""
    found = [
        (topic not in wanted.values(), topic, kind)
        for topic, types in node.get_topic_names_and_types()
        for kind in types
        if kind in IMAGE_TYPES or topic in wanted.values()
        if node.count_publishers(topic)
    ]
    return [ReceivedTopic(topic, kind) for _, topic, kind in sorted(found)[:MAX_TOPICS]]


def _subscribe(node: Any, topic: ReceivedTopic) -> None:
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs import msg

    try:
        from rclpy.event_handler import SubscriptionEventCallbacks
    except ImportError:  # Humble
        from rclpy.qos_event import SubscriptionEventCallbacks

    def on_image(message: Any) -> None:
        topic.arrivals_ns.append(node.get_clock().now().nanoseconds)
        topic.stamps_ns.append(stamp_ns(message.header))
        topic.last = message
        size = f' {message.width}x{message.height}' if hasattr(message, 'width') else ''
        encoding = message.encoding if size else message.format
        topic.kinds.add(f"{encoding}{size} in '{message.header.frame_id}'")

    def on_info(info: Any) -> None:
        topic.info = info

    def on_lost(event: Any) -> None:
        topic.lost = event.total_count

    # Best effort receives from every publisher; input_qos is checked afterwards.
    qos = qos_profile_sensor_data
    kind = topic.type_name.rpartition('/')[2]
    events = SubscriptionEventCallbacks(message_lost=on_lost)
    node.create_subscription(getattr(msg, kind), topic.name, on_image, qos, event_callbacks=events)
    node.create_subscription(msg.CameraInfo, info_topic(topic.name), on_info, qos)


def _complete(node: Any, topic: ReceivedTopic) -> None:
    """Add the publishers, and what the last message is."""
    from rclpy.qos import ReliabilityPolicy

    infos = node.get_publishers_info_by_topic(topic.name)
    nodes = {f'{info.node_namespace.rstrip("/")}/{info.node_name}' for info in infos}
    topic.publishers, topic.endpoints = tuple(sorted(nodes)), len(infos)
    best_effort = ReliabilityPolicy.BEST_EFFORT
    topic.best_effort = any(info.qos_profile.reliability == best_effort for info in infos)
    if topic.last is not None:
        compressed = hasattr(topic.last, 'format')
        topic.encoding = topic.last.format if compressed else topic.last.encoding
        try:
            topic.pixels = to_frame(topic.last).pixels
        except FrameError as error:
            topic.fault = str(error)
