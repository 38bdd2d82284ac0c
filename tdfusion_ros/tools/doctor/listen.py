"""Listen to every image topic for a while; the only module of the doctor that talks to ROS."""

from collections.abc import Callable
from time import monotonic
from typing import Any

from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.formats.messages import stamp_ns
from tdfusion_ros.formats.messages import to_frame
from tdfusion_ros.tools.doctor.sighting import Sighting

DISCOVERY_S = 3.0  # after which whoever is there has mostly been found
PATIENCE_S = 12.0  # for the two topics that are wanted, on a busy machine
KINDS = ('Image', 'CompressedImage')
MOST = 16  # topics that are listened to; a robot may have dozens


class _Ear:
    """What came on one topic."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.stamps_ns: list[int] = []
        self.clock_ns: list[int] = []
        self.last: Any = None
        self.info: tuple[tuple[int, int], float] | None = None

    def hear(self, message: Any) -> None:
        self.clock_ns.append(self._clock())
        self.stamps_ns.append(stamp_ns(message.header))
        self.last = message

    def learn(self, info: Any) -> None:
        self.info = (info.height, info.width), float(info.k[0])


def listen(
    names: dict[str, str], namespace: str, seconds: float
) -> tuple[dict[str, str], list[Sighting], str]:
    """
    Listen to all image topics.

    :param names: topic of each stream as the node would name it, as ``rgb/image_raw``.
    :param seconds: to listen after everybody was found [s].
    :raises ConfigError: if a name is none.
    :returns: the full topic of each stream, what was seen by topic, and the middleware's name.
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
        raise ConfigError(f'--namespace is no name of ROS: {error}') from None
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def spin(seconds: float) -> None:
        end = monotonic() + seconds
        while (left := end - monotonic()) > 0:
            executor.spin_once(timeout_sec=left)

    try:
        wanted = {stream: _resolved(node, name) for stream, name in names.items()}
        spin(DISCOVERY_S)
        deadline = monotonic() + PATIENCE_S - DISCOVERY_S
        while monotonic() < deadline and not all(map(node.count_publishers, wanted.values())):
            spin(0.2)
        ears = _subscribe(node, tuple(wanted.values()))
        spin(seconds)
        seen = [_sighting(node, topic, kind, ear) for (topic, kind), ear in ears.items()]
        return wanted, seen, rclpy.get_rmw_implementation_identifier()
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown(context=context)


def _resolved(node: Any, name: str) -> str:
    try:
        return node.resolve_topic_name(name)
    except RuntimeError as error:  # RCLError is one
        raise ConfigError(f"topic '{name}' is no name of ROS: {error}") from None


def _subscribe(node: Any, wanted: tuple[str, ...]) -> dict[tuple[str, str], _Ear]:
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs import msg

    there = [
        (topic, kind)
        for topic, types in node.get_topic_names_and_types()
        for kind in KINDS
        if f'sensor_msgs/msg/{kind}' in types and node.count_publishers(topic)
    ]
    there.sort(key=lambda pair: (pair[0] not in wanted, pair))
    ears = {}
    for topic, kind in there[:MOST]:
        ear = ears[topic, kind] = _Ear(lambda: node.get_clock().now().nanoseconds)
        # Best effort receives from everybody; what the node would do is judged, not tried.
        node.create_subscription(getattr(msg, kind), topic, ear.hear, qos_profile_sensor_data)
        folder = topic.removesuffix('/compressed').rpartition('/')[0]
        info = f'{folder}/camera_info'
        node.create_subscription(msg.CameraInfo, info, ear.learn, qos_profile_sensor_data)
    return ears


def _sighting(node: Any, topic: str, kind: str, ear: _Ear) -> Sighting:
    from rclpy.qos import ReliabilityPolicy

    publishers = node.get_publishers_info_by_topic(topic)
    best_effort = any(
        p.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT for p in publishers
    )
    size_hw, fault, encoding = None, '', ''
    if ear.last is not None:
        encoding = ear.last.format if kind == 'CompressedImage' else ear.last.encoding
        try:
            size_hw = to_frame(ear.last).size_hw
        except FrameError as error:
            fault = str(error)
    return Sighting(
        topic,
        kind,
        tuple(sorted({f'{p.node_namespace.rstrip("/")}/{p.node_name}' for p in publishers})),
        best_effort,
        tuple(ear.stamps_ns),
        tuple(ear.clock_ns),
        encoding,
        size_hw,
        fault,
        ear.info,
    )
