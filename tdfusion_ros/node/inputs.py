"""The receiving side of the node: subscriptions, decoding, matching. One thread only."""

from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Any

from rclpy.clock import Clock
from rclpy.clock import ClockType
from rclpy.lifecycle import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.core.synchronizer import Synchronizer
from tdfusion_ros.formats.decode import SizeGuard
from tdfusion_ros.formats.messages import to_frame
from tdfusion_ros.node import qos
from tdfusion_ros.node.approximate_policy import ApproximatePolicy
from tdfusion_ros.node.counters import Counters

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

STREAMS = ('rgb', 'ir')
QUIET_S = 10.0  # after a stall that was logged: a loose cable must not fill the disk
SILENCE_S = 0.2  # no frame for this long: pairs that wait for a nearer partner leave
# A bag's clock does not run before it plays, after its end, or while it pauses.
STEADY = Clock(clock_type=ClockType.STEADY_TIME)


def make_synchronizer(config: FusionConfig) -> Synchronizer:
    """Return what the config names; ConfigError where message_filters is not installed."""
    foreign = config.sync.policy == 'approximate'
    return Synchronizer(config, ApproximatePolicy(config.sync) if foreign else None)


class Inputs:
    """
    Receive both cameras and hand on what is to be made into results.

    :param on_match: called with each match and its arrival, the monotonic time at which its last
        message came in [s].
    """

    def __init__(
        self,
        node: Node,
        config: FusionConfig,
        counters: Counters,
        on_match: Callable[[FramePair, float], None],
    ) -> None:
        self._node = node
        self._config = config
        self._counters = counters
        self._on_match = on_match
        self._synchronizer = make_synchronizer(config)
        self._stalled_at: dict[str, float] = {}
        self._told_at: dict[str, float] = {}
        notes = (f'{what}.{stream}' for what in ('stalled', 'refused') for stream in STREAMS)
        for name in ('last.inference', *notes):
            counters.note(name, '')  # of before a pause
        self._guards = {stream: SizeGuard() for stream in STREAMS}
        self._subscriptions: dict[str, Any] = {}
        self._profiles: dict[str, Any] = {}
        self._infos: dict[str, CameraInfo] = {}
        # Of its own, or a throttled warning of one camera would hide the other one's.
        self._loggers = {stream: node.get_logger().get_child(stream) for stream in STREAMS}
        self._last_arrival = monotonic()
        self._info_subscriptions = [
            node.create_subscription(
                CameraInfo,
                f'{stream}/camera_info',
                lambda info, stream=stream: self._infos.__setitem__(stream, info),
                qos_profile_sensor_data,
            )
            for stream in STREAMS
        ]
        rgb, ir = (node.resolve_topic_name(self._topic(stream)) for stream in STREAMS)
        node.get_logger().info(f'receives rgb from {rgb}, ir from {ir}')
        self._timer = node.create_timer(SILENCE_S, self._attend, clock=STEADY)
        self._attend()

    def camera_info(self, stream: str) -> CameraInfo | None:
        """Return the latest camera info of a stream, None before the first."""
        return self._infos.get(stream)

    def camera_infos(self) -> dict[str, CameraInfo]:
        """Return the latest camera info of each stream that has sent one."""
        return dict(self._infos)

    @property
    def dropped(self) -> Counter[str]:
        """Frames and pairs that became no result, by cause."""
        return self._synchronizer.dropped

    def reset(self) -> None:
        """Forget waiting frames, and what is known of both cameras."""
        self._synchronizer.reset()
        self._stalled_at.clear()
        for stream in STREAMS:
            self._counters.note(f'stalled.{stream}', '')

    def destroy(self) -> None:
        """Stop receiving; what was dropped is counted for good."""
        for cause, number in self.dropped.items():
            self._counters.count(f'dropped.{cause}', number)
        self._node.destroy_timer(self._timer)
        for subscription in (*self._info_subscriptions, *self._subscriptions.values()):
            self._node.destroy_subscription(subscription)

    def _attend(self) -> None:
        """Follow the publishers' QoS, and let waiting pairs go when the cameras fall silent."""
        for stream in STREAMS:
            self._subscribe(stream)
        if monotonic() - self._last_arrival > SILENCE_S:
            self._hand_on(self._synchronizer.flush(), self._last_arrival)

    def _is_compressed(self, stream: str) -> bool:
        return getattr(self._config, stream).image_transport == 'compressed'

    def _topic(self, stream: str) -> str:
        return f'{stream}/image_raw' + ('/compressed' if self._is_compressed(stream) else '')

    def _subscribe(self, stream: str) -> None:
        topic = self._topic(stream)
        name = self._node.resolve_topic_name(topic)
        if self._config.input_qos == 'AUTO':
            profile = qos.following(self._node.get_publishers_info_by_topic(name))
            self._counters.note(
                f'publisher.{stream}',
                ''
                if profile or stream in self._profiles
                else f'waiting for a publisher on {name} (tdfusion doctor lists what there is)',
            )
        else:
            profile = qos.named(self._config.input_qos, qos.INPUT_DEPTH)
        if profile is None or self._profiles.get(stream) == profile:
            return
        if stream in self._subscriptions:
            self._node.destroy_subscription(self._subscriptions[stream])
        self._profiles[stream] = profile
        self._subscriptions[stream] = self._node.create_subscription(
            CompressedImage if self._is_compressed(stream) else Image,
            topic,  # not the name: ROS would remap it once more
            lambda message, stream=stream: self._receive(stream, message),
            profile,
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=lambda _, name=name: self._incompatible(name),
                message_lost=lambda event, stream=stream: self._counters.tick(
                    f'dropped.{stream}.transport', event.total_count_change
                ),
            ),
        )

    def _incompatible(self, name: str) -> None:
        if self._config.input_qos == 'AUTO':
            return  # the next look at the publishers follows them
        self._node.get_logger().warn(
            f'a publisher of {name} offers best effort, but input_qos is '
            f"'{self._config.input_qos}': set input_qos to AUTO or SENSOR_DATA to receive it"
        )

    def _receive(self, stream: str, message: Any) -> None:
        self._last_arrival = arrived = monotonic()
        try:
            frame = to_frame(message)
            self._guards[stream].check(frame.size_hw)
        except FrameError as error:
            said = f'{stream} image dropped ({error.cause}): {error}'
            self._counters.count(f'dropped.{stream}.{error.cause}')
            self._counters.note(f'refused.{stream}', said)
            self._loggers[stream].warn(said, throttle_duration_sec=5.0)
            return
        self._counters.note(f'refused.{stream}', '')
        self._counters.tick(stream)
        if now_ns := self._node.get_clock().now().nanoseconds:  # simulated time may not run yet
            self._counters.sample(f'{stream}_stamp_age_ms', (now_ns - frame.stamp_ns) / 1e6)
        matches = self._synchronizer.push(stream, frame)
        self._tell_faults(arrived)
        self._hand_on(matches, arrived)

    def _hand_on(self, matches: list[FramePair], arrived: float) -> None:
        for match in matches:
            if match.skew_ns is not None:
                self._counters.sample('ir_age_ms', max(0, -match.skew_ns) / 1e6)
                if match.mode == 'fused':
                    self._counters.tick('paired')
                    self._counters.sample('skew_ms', match.skew_ns / 1e6)
                    self._counters.sample('abs_skew_ms', abs(match.skew_ns) / 1e6)
            self._counters.tell('mode', match.mode)
            self._on_match(match, arrived)

    def _tell_faults(self, arrived: float) -> None:
        """Log when a camera stalls and is back, not each time; diagnostics always know."""
        faults, pictures = self._synchronizer.faults, self._synchronizer.image_states
        for stream in STREAMS:
            fault = faults.get(stream, '')
            self._counters.tell(f'{stream}.picture', pictures[stream])
            self._counters.note(f'stalled.{stream}', fault)
            if fault and stream not in self._stalled_at:
                self._stalled_at[stream] = arrived
                self._counters.count(f'stalls.{stream}')
                if arrived - self._told_at.get(stream, -QUIET_S) >= QUIET_S:
                    self._told_at[stream] = arrived
                    self._node.get_logger().warn(fault)
            elif not fault and stream in self._stalled_at:
                since = self._stalled_at.pop(stream)
                if self._told_at.get(stream) == since:
                    lasted = f'is back after {arrived - since:.1f} s'
                    self._node.get_logger().info(f'the {stream} camera {lasted}')
