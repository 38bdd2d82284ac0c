"""The other side of the node's topics and services: two cameras and a subscriber."""

from collections import defaultdict
from collections.abc import Callable
from time import monotonic
from time import time_ns
from types import SimpleNamespace
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from std_msgs.msg import Float64
from std_srvs.srv import SetBool
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection2DArray
from vision_msgs.msg import LabelInfo

from rig import pictures
from rig.services import connected_service

TIMEOUT_S = 60.0  # for a busy machine; nothing waits that long unless it fails
REPLY_S = 0.2  # for frames that may not give a result
PERIOD_NS = 100_000_000
STALE = 3  # of diagnostic_msgs/DiagnosticStatus
OUTPUTS = {
    'detections': Detection2DArray,
    'detections/temperature': Detection2DArray,
    'fused/image_raw': Image,
    'fused/camera_info': CameraInfo,
    'fused/image_raw/compressed': CompressedImage,
    'overlay/image_raw': Image,
    'overlay/image_raw/compressed': CompressedImage,
    'ir_registered/image_raw': Image,
    'ir_registered/edges': Image,
}


class Client:
    """Two cameras and a subscriber in one node."""

    process: Any  # the NodeProcess that it was started with

    def __init__(self, namespace: str = '') -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self.node = rclpy.create_node('client', namespace=namespace, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._publishers: dict[str, Any] = {}
        self._services: dict[str, Any] = {}
        self._stamp_ns = 1_700_000_000_000_000_000
        self.received: dict[str, list[Any]] = defaultdict(list)
        self.statuses: dict[str, Any] = {}
        self._latest: Any = None
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._store, 10)

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def listen(self, *topics: str) -> None:
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        for topic in topics:
            self.node.create_subscription(
                LabelInfo if topic.endswith('label_info') else OUTPUTS.get(topic, Image),
                topic,
                lambda message, topic=topic: self.received[topic].append(message),
                latched if topic.endswith('label_info') else 50,
            )
            self.received[topic] = []

    def offer(self, *streams: str, transport: str = 'raw', reliable: bool = True) -> None:
        """Begin to publish these streams, ``rgb``, ``ir`` and their ``…_info``."""
        profile = QoSProfile(
            depth=10,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        )
        for stream in streams:
            kind, topic = Image, f'{stream}/image_raw'
            if stream.endswith('_info'):
                kind, topic = CameraInfo, stream.replace('_', '/camera_')
            elif transport != 'raw':
                kind, topic = CompressedImage, f'{topic}/{transport}'
            self._publishers[stream] = self.node.create_publisher(kind, topic, profile)

    def withdraw(self, *streams: str) -> None:
        """Stop to publish these streams."""
        for stream in streams:
            self.node.destroy_publisher(self._publishers.pop(stream))

    def readers(self, stream: str) -> int:
        return self._publishers[stream].get_subscription_count()

    def next_stamp_ns(self, skip: int = 1) -> int:
        """Return the time of the next pair [ns]."""
        self._stamp_ns += skip * PERIOD_NS
        return self._stamp_ns

    def send(self, stream: str, message: Any) -> None:
        self._publishers[stream].publish(message)

    def send_pair(self, rgb: Any, ir: Any, streams: tuple[str, ...] = ('rgb', 'ir')) -> None:
        """Publish a pair, or only one of its images."""
        for stream, message in (('rgb', rgb), ('ir', ir)):
            if stream in streams:
                self.send(stream, message)

    def drive(
        self,
        until: Callable[[], Any],
        make_pair: Callable[[int], tuple[Any, Any]] = pictures.pair,
        streams: tuple[str, ...] = ('rgb', 'ir'),
    ) -> list[int]:
        """
        Send pairs until a condition holds; return their stamps [ns].

        Each one is sent after the detections of the previous one, or after a moment without them.
        """
        stamps_ns: list[int] = []
        deadline = monotonic() + TIMEOUT_S
        while not until():
            assert monotonic() < deadline, f'no success with {len(stamps_ns)} pairs'
            stamps_ns.append(self.next_stamp_ns())
            rgb, ir = make_pair(stamps_ns[-1])
            self.send_pair(rgb, ir, streams)
            sent_ns = pictures.stamp_ns(rgb if 'rgb' in streams else ir)
            self.spin(REPLY_S, lambda sent_ns=sent_ns: self._has_detections_since(sent_ns))
        return stamps_ns

    def _has_detections_since(self, stamp_ns: int) -> bool:
        found = self.received['detections']
        return bool(found) and pictures.stamp_ns(found[-1]) >= stamp_ns

    def drive_frames(self, number: int, *args: Any, **options: Any) -> list[int]:
        """Send a number of pairs as :meth:`drive` does."""
        left = iter(range(number))
        return self.drive(lambda: next(left, None) is None, *args, **options)

    def connect(self) -> None:
        """Wait until somebody reads what is offered."""
        for stream in self._publishers:
            self.wait_until(lambda stream=stream: self.readers(stream) > 0, f'readers of {stream}')

    def fuse(self, rgb: Any, ir: Any, *topics: str) -> dict[str, Any]:
        """Send a pair and return what comes of it, by topic."""
        self.send_pair(rgb, ir)
        return self.results(rgb.header.stamp, *topics)

    def results(self, stamp: Any, *topics: str, timeout: float = TIMEOUT_S) -> dict[str, Any]:
        """Wait for the outputs of one stamp on these topics, or on all that are listened to."""
        wanted = topics or tuple(topic for topic in self.received if topic in OUTPUTS)
        self.wait_until(
            lambda: all(self._of(topic, stamp) for topic in wanted),
            f'outputs of {stamp} on {", ".join(wanted)}',
            timeout,
        )
        return {topic: self._of(topic, stamp)[0] for topic in wanted}

    def pair_with_infos(
        self, size_hw: tuple[int, int] = pictures.SMALL_HW
    ) -> Callable[[int], tuple[Any, Any]]:
        """Return a function that makes a pair and sends the camera infos ahead of it."""

        def make_pair(stamp_ns: int) -> tuple[Any, Any]:
            for stream, size in (('rgb', size_hw), ('ir', (9, 9))):
                info = pictures.camera_info(pictures.header(stamp_ns, stream), size)
                self.send(f'{stream}_info', info)
            return pictures.pair(stamp_ns)

        return make_pair

    def warm_up(self, make_pair: Callable[[int], tuple[Any, Any]] = pictures.pair) -> None:
        """Send pairs until every topic answers: then nothing is lost to discovery any more."""
        self.connect()
        deadline = monotonic() + TIMEOUT_S
        while True:
            rgb, ir = make_pair(self.next_stamp_ns())
            self.send_pair(rgb, ir)
            try:
                self.results(rgb.header.stamp, timeout=1.0)
                break
            except AssertionError:
                if monotonic() > deadline:
                    raise
        self.forget()

    def forget(self) -> None:
        for messages in self.received.values():
            messages.clear()

    def wait_until(
        self, condition: Callable[[], Any], what: str, timeout: float = TIMEOUT_S
    ) -> Any:
        """Spin until the condition holds and return its value; fail after the timeout."""
        value = self.spin(timeout, condition)
        assert value, f'waited {timeout:g} s in vain for {what}'
        return value

    def spin(self, seconds: float, until: Callable[[], Any]) -> Any:
        """Spin until the condition holds or the time is over; return its last value."""
        deadline = monotonic() + seconds
        while not (value := until()) and monotonic() < deadline:
            self._executor.spin_once(timeout_sec=0.02)
        return value

    def latest(self, since_ns: int = 0) -> Any:
        """
        Return the node's diagnostics made after a time [ns] as one status.

        It has the worst level, the messages of that level and all values; ``statuses`` has each
        status by its name.
        """
        return self.wait_until(
            lambda: (found := self._latest) and found.at_ns > since_ns and found, 'diagnostics'
        )

    def status(self) -> Any:
        """Return diagnostics that include everything received so far."""
        # The node counts shortly before it stamps and shortly after it publishes, so that the
        # first message from now on may lack the latest result.
        return self.latest(self.latest(time_ns()).at_ns)

    def wait_for_count(self, name: str, least: int) -> None:
        """Wait until a counter in the diagnostics has reached a number."""
        self.wait_until(
            lambda: int(self.latest().values.get(name, 0)) >= least, f'{name} >= {least}'
        )

    def total(self, name: str) -> int:
        return int(self.status().values.get(name, 0))

    def call(self, kind: Any, name: str, request: Any) -> Any:
        future = self.request(kind, name, request)
        self.wait_until(future.done, f'the response of {name}')
        return future.result()

    def request(self, kind: Any, name: str, request: Any) -> Any:
        """Call a service of the node and return the future of its response."""
        if name not in self._services:
            self._services[name] = connected_service(self, kind, name)
        return self._services[name].call_async(request)

    def enable(self, on: bool) -> SetBool.Response:
        """Pause the node, or let it fuse again."""
        return self.call(SetBool, 'enable', SetBool.Request(data=on))

    def trigger(self, name: str) -> Trigger.Response:
        return self.call(Trigger, name, Trigger.Request())

    def numbers(self, topic: str) -> list[float]:
        """Subscribe to a topic of numbers and return the list that receives them."""
        received: list[float] = []
        self.node.create_subscription(Float64, topic, lambda m: received.append(m.data), 50)
        return received

    def _of(self, topic: str, stamp: Any) -> list[Any]:
        newest = reversed(self.received[topic])
        return [m for m in newest if m.header.stamp == stamp]

    def _store(self, message: Any) -> None:
        mine = f'{self.node.get_namespace().rstrip("/")}/tdfusion: '
        if not message.status[0].name.startswith(mine):
            return
        at_ns = Time.from_msg(message.header.stamp).nanoseconds
        self.statuses = {
            status.name.removeprefix(mine): SimpleNamespace(
                at_ns=at_ns,
                level=status.level[0],
                message=status.message,
                hardware_id=status.hardware_id,
                values={pair.key: pair.value for pair in status.values},
            )
            for status in message.status
        }
        every = self.statuses.values()
        level = max((s.level for s in every if s.level != STALE), default=STALE)
        self._latest = SimpleNamespace(
            at_ns=at_ns,
            level=level,
            message='; '.join(s.message for s in every if s.level == level),
            values={key: value for s in every for key, value in s.values.items()},
        )
