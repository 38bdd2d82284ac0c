"""Receive both cameras: subscriptions, decoding and pairing, in one thread."""

from collections import Counter
from collections.abc import Callable
from copy import copy
from functools import partial
from time import monotonic
from typing import Any

from rclpy.lifecycle import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.stamps import check_stamp
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.core.synchronizer import Synchronizer
from tdfusion_ros.formats import messages
from tdfusion_ros.formats.bag_topics import info_topic
from tdfusion_ros.formats.bag_topics import mixed
from tdfusion_ros.formats.bag_topics import transport_topic
from tdfusion_ros.formats.bag_topics import wrong_type
from tdfusion_ros.formats.decode import SizeGuard
from tdfusion_ros.node import qos
from tdfusion_ros.node.approximate_policy import ApproximatePolicy
from tdfusion_ros.node.counters import Counters
from tdfusion_ros.node.diagnostics import STREAMS
from tdfusion_ros.node.diagnostics_publisher import STEADY

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

STALL_LOG_PERIOD_S = 10.0  # a loose cable must not fill the disk
LEASE_S = 25.0  # DDS forgets a publisher that was killed after 20 s
SILENCE_S = 0.2  # without any frame for this long, pairs stop waiting for a nearer partner


def make_synchronizer(config: FusionConfig) -> Synchronizer:
    """Return the configured synchronizer; ConfigError where message_filters is not installed."""
    is_approximate = config.sync.policy == 'approximate'
    return Synchronizer(config, ApproximatePolicy(config.sync) if is_approximate else None)


class Inputs:
    """Subscribe to both cameras and pair their frames; ``on_pair`` gets pair and arrival [s]."""

    def __init__(
        self,
        node: Node,
        config: FusionConfig,
        counters: Counters,
        on_pair: Callable[[FramePair, float], None],
    ) -> None:
        self._node = node
        self._config = config
        self._counters = counters
        self._on_pair = on_pair
        self._synchronizer = make_synchronizer(config)
        self._counted: Counter[str] = Counter()
        self._stalled_at: dict[str, float] = {}
        self._stall_logged_at: dict[str, float] = {}
        for name in ('last.inference', 'stalled.rgb', 'stalled.ir', 'refused.rgb', 'refused.ir'):
            counters.set_problem(name, '')  # left over from before a pause
        self._size_guards = {stream: SizeGuard() for stream in STREAMS}
        self._profiles: dict[str, QoSProfile] = {}
        self._subscriptions: dict[str, Any] = {}
        self._infos: dict[str, CameraInfo] = {}
        # One logger per camera: throttling the warnings of one must not hide the other's.
        self._loggers = {stream: node.get_logger().get_child(stream) for stream in STREAMS}
        self._last_arrival = monotonic()
        self._one_publisher_at = dict.fromkeys(STREAMS, self._last_arrival)
        for stream in STREAMS:
            self._subscriptions[f'{stream}_info'] = node.create_subscription(
                CameraInfo,
                self._remapped(stream, f'{stream}/camera_info', info_topic),
                partial(self._infos.__setitem__, stream),
                qos_profile_sensor_data,
            )
        self.topics = {s: node.resolve_topic_name(self._topic(s)) for s in STREAMS}
        sources = ', '.join(f'{stream} images from {t}' for stream, t in self.topics.items())
        node.get_logger().info(f'receiving {sources}')
        self._timer = node.create_timer(SILENCE_S, self._check_periodically, clock=STEADY)
        self._check_periodically()

    def camera_infos(self) -> dict[str, CameraInfo]:
        """Return the latest camera info of each stream that has sent one."""
        return dict(self._infos)

    def reset(self) -> None:
        """Discard waiting frames and everything learned about both cameras."""
        self._synchronizer.reset()
        self._stalled_at.clear()
        for stream in STREAMS:
            self._counters.set_problem(f'stalled.{stream}', '')

    def destroy(self) -> None:
        """Unsubscribe."""
        self.count_losses()
        self._node.destroy_timer(self._timer)
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)

    def count_losses(self) -> None:
        """Add to the counters what was possible, lost and dropped since the last call."""
        counts = self._synchronizer.counts
        found = Counter({f'lost.{cause}': number for cause, number in counts.lost.items()})
        found.update({f'dropped.{c}': n for c, n in self._synchronizer.dropped.items()})
        found['possible'] = counts.possible
        for name in {*found, *self._counted}:
            self._counters.tick(name, found[name] - self._counted[name])
        self._counted = found

    def _check_periodically(self) -> None:
        """Follow the publishers' QoS, and release waiting pairs when the cameras are silent."""
        for stream in STREAMS:
            self._subscribe(stream)
        if monotonic() - self._last_arrival > SILENCE_S:
            self._forward(self._synchronizer.flush(), self._last_arrival)
        self.count_losses()

    def _transport(self, stream: str) -> str:
        return getattr(self._config, stream).image_transport

    def _topic(self, stream: str) -> str:
        sent = partial(transport_topic, transport=self._transport(stream))
        return self._remapped(stream, sent(f'{stream}/image_raw'), sent)

    def _remapped(self, stream: str, name: str, beside: Callable[[str], str]) -> str:
        """
        Return a topic of a camera: next to its raw images if only these are remapped.

        :param beside: returns the topic that belongs to one of raw images.
        """
        is_remapped = {
            topic: self._node.resolve_topic_name(topic)
            != self._node.resolve_topic_name(topic, only_expand=True)
            for topic in (name, f'{stream}/image_raw')
        }
        if is_remapped[name] or not is_remapped[f'{stream}/image_raw']:
            return name
        return beside(self._node.resolve_topic_name(f'{stream}/image_raw'))

    def _profile(self, stream: str, name: str) -> QoSProfile | None:
        """Return the profile to subscribe with; None while AUTO knows no publisher."""
        publishers = self._node.get_publishers_info_by_topic(name)
        types = {publisher.topic_type for publisher in publishers}
        problem = ''
        if wrong := wrong_type(stream, name, types, self._transport(stream)):
            problem = ': '.join(wrong)
        elif not publishers and stream not in self._profiles:
            problem = f'waiting for a publisher on {name} (tdfusion doctor lists all image topics)'
        if len(publishers) <= 1:
            self._one_publisher_at[stream] = monotonic()
        elif not wrong and monotonic() - self._one_publisher_at[stream] > LEASE_S:
            nodes = [f'{p.node_namespace.rstrip("/")}/{p.node_name}' for p in publishers]
            problem = ': '.join(mixed(name, len(publishers), nodes))
        self._counters.set_problem(f'publisher.{stream}', problem)
        if self._config.input_qos != 'AUTO':
            return qos.named(self._config.input_qos)
        return None if wrong else qos.matching(publishers)

    def _subscribe(self, stream: str) -> None:
        topic = self._topic(stream)
        name = self._node.resolve_topic_name(topic)
        profile = self._profile(stream, name)
        if profile is None or self._profiles.get(stream) == profile:
            return
        if stream in self._subscriptions:
            self._node.destroy_subscription(self._subscriptions[stream])
        self._profiles[stream] = profile
        self._subscriptions[stream] = self._node.create_subscription(
            Image if self._transport(stream) == 'raw' else CompressedImage,
            topic,  # not the resolved name: ROS would remap it a second time
            partial(self._receive, stream),
            copy(profile),
            qos_overriding_options=qos.overrides(self._node, name, 'subscription'),
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=lambda _: self._warn_incompatible(name),
                message_lost=partial(self._count_lost, stream),
            ),
        )

    def _count_lost(self, stream: str, event: Any) -> None:
        self._counters.tick(f'dropped.{stream}.transport', event.total_count_change)

    def _warn_incompatible(self, name: str) -> None:
        if self._config.input_qos != 'AUTO':  # AUTO follows the publishers at its next check
            self._node.get_logger().warn(
                f'a publisher of {name} offers best effort, but input_qos is '
                f"'{self._config.input_qos}': set input_qos to AUTO or SENSOR_DATA to receive it"
            )

    def _receive(self, stream: str, message: Any) -> None:
        self._last_arrival = arrived = monotonic()
        try:
            frame = messages.to_frame(message)
            self._size_guards[stream].check(frame.size_hw)
            check_stamp(frame.stamp_ns)
        except FrameError as error:
            problem = f'{stream} image dropped ({error.cause}): {error}'
            self._counters.count(f'dropped.{stream}.{error.cause}')
            if (stamp_ns := messages.stamp_ns(message.header)) > 0:
                self._synchronizer.counts.see(stream, stamp_ns, f'{stream}.{error.cause}')
            self._counters.set_problem(f'refused.{stream}', problem)
            self._loggers[stream].warn(problem, throttle_duration_sec=5.0)
            return
        self._counters.set_problem(f'refused.{stream}', '')
        self._counters.tick(stream)
        if now_ns := self._node.get_clock().now().nanoseconds:  # 0: simulated time not started
            self._counters.sample(f'{stream}_stamp_age_ms', (now_ns - frame.stamp_ns) / 1e6)
        pairs = self._synchronizer.push(stream, frame)
        self._report_stalls(arrived)
        self._forward(pairs, arrived)

    def _forward(self, pairs: list[FramePair], arrived: float) -> None:
        for pair in pairs:
            if pair.skew_ns is not None:
                self._counters.sample('ir_age_ms', max(0, -pair.skew_ns) / 1e6)
                if pair.mode == 'fused':
                    self._counters.tick('paired')
                    self._counters.sample('skew_ms', pair.skew_ns / 1e6)
                    self._counters.sample('abs_skew_ms', abs(pair.skew_ns) / 1e6)
            self._counters.set_text('mode', pair.mode)
            self._on_pair(pair, arrived)

    def _report_stalls(self, arrived: float) -> None:
        """Report stalls in the diagnostics, and log their begin and end at a limited rate."""
        faults, states = self._synchronizer.faults, self._synchronizer.image_states
        for stream in STREAMS:
            fault = faults.get(stream, '')
            self._counters.set_text(f'{stream}.picture', states[stream])
            self._counters.set_problem(f'stalled.{stream}', fault)
            if fault and stream not in self._stalled_at:
                self._stalled_at[stream] = arrived
                self._counters.count(f'stalls.{stream}')
                last = self._stall_logged_at.get(stream, float('-inf'))
                if arrived - last >= STALL_LOG_PERIOD_S:
                    self._stall_logged_at[stream] = arrived
                    self._node.get_logger().warn(fault)
            elif not fault and stream in self._stalled_at:
                since = self._stalled_at.pop(stream)
                if self._stall_logged_at.get(stream) == since:
                    self._node.get_logger().info(
                        f'the {stream} camera is back after {arrived - since:.1f} s'
                    )
