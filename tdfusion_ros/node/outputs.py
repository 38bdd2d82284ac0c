"""Publish results. Every output carries the header of its pair's reference frame."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from rclpy.lifecycle import Node
from std_msgs.msg import Float64

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.contract import Contract
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.data import FusionResult
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.formats import messages
from tdfusion_ros.formats import result_topics as topics
from tdfusion_ros.node import qos

LABELS, MASKS = (topics.LABELS, topics.MASK_LABELS), (topics.MASKS, topics.MASK_LABELS)
# From the stamp of the result, and from the arrival of the later image, to the publication;
# stamp of ir minus stamp of rgb.
TIMES = ('latency_ms', 'processing_ms', 'skew_ms')


class Outputs:
    """Publish results; all of them are only computed for subscribers."""

    def __init__(self, node: Node, config: FusionConfig, contract: Contract) -> None:
        self._node, self._contract, self._types = node, contract, messages.ros_types()
        names = topics.TYPES | {f'~/debug/{name}': 'std_msgs/msg/Float64' for name in TIMES}
        unused = {topics.ANNOTATIONS, *(() if contract.mask_classes else MASKS)}
        kinds = {topic: self._types.get(names[topic]) for topic in names.keys() - unused}
        with suppress(ImportError):  # foxglove_msgs is optional
            kinds[topics.ANNOTATIONS] = self._types.get(names[topics.ANNOTATIONS])
        self._publishers = {
            topic: node.create_publisher(
                kind,
                topic,
                qos.latched() if topic in LABELS else qos.named(config.output_qos),
                qos_overriding_options=qos.overrides(
                    node, node.resolve_topic_name(topic), 'publisher'
                ),
            )
            for topic, kind in kinds.items()
        }
        self.announce(config.score_threshold)

    def announce(self, score_threshold: float) -> None:
        """Publish the names of the classes and the lowest score that is reported."""
        now_ns = self._node.get_clock().now().nanoseconds
        self._announced = now_ns, score_threshold
        head = messages.header(self._types, Frame(np.zeros((1, 1), np.uint8), now_ns))
        labels = topics.label_messages(self._types, head, self._contract, score_threshold)
        for topic, message in labels.items():
            self._publishers[topic].publish(message)

    def wants_any(self) -> bool:
        """Return whether a result has a subscriber; else nothing needs to be computed."""
        return self._has_subscriber(*(self._publishers.keys() - {*LABELS}))

    def wants_fused(self) -> bool:
        """Return whether a subscriber needs the fused image; else the network may omit it."""
        return self._has_subscriber(*topics.COMPRESSED, *topics.COMPRESSED.values())

    def wants_temperatures(self, kelvin_per_count: float) -> bool:
        """Return whether a subscriber sees temperatures; labels have them only in kelvin."""
        drawn = topics.OVERLAY, topics.COMPRESSED[topics.OVERLAY], topics.ANNOTATIONS
        return self._has_subscriber(topics.TEMPERATURES, *(drawn if kelvin_per_count else ()))

    def wants_masks(self) -> bool:
        """Return whether a subscriber needs the masks, or the overlay, which shows them."""
        overlay = topics.OVERLAY, topics.COMPRESSED[topics.OVERLAY]
        return self._has_subscriber(topics.MASKS, *overlay)

    def destroy(self) -> None:
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)

    def publish(self, result: FusionResult, pair: FramePair, infos: Mapping[str, Any]) -> None:
        """
        Publish the result of a pair, which gives the header and the overlay's warning.

        :param infos: latest CameraInfo by stream; one of another image size is not published.
        """
        at_ns, score_threshold = self._announced
        if not at_ns:  # simulated time had not started
            self.announce(score_threshold)
        info = infos.get('ir' if pair.reference is pair.ir else 'rgb')
        made = topics.result_messages(self._types, self._contract, pair, result, info)
        for topic, make in made.items():
            if self._has_subscriber(topic):
                self._publishers[topic].publish(make())

    def publish_times(self, pair: FramePair, processing_s: float) -> None:
        """Publish on ``~/debug/…`` the durations; ``processing_s``: from the later image on."""
        now_ns = self._node.get_clock().now().nanoseconds
        values_ms = {
            'latency_ms': (now_ns - pair.reference.stamp_ns) / 1e6,
            'processing_ms': processing_s * 1e3,
        }
        if pair.skew_ns is not None:
            values_ms['skew_ms'] = pair.skew_ns / 1e6
        for name, value_ms in values_ms.items():
            if self._has_subscriber(f'~/debug/{name}'):
                self._publishers[f'~/debug/{name}'].publish(Float64(data=value_ms))

    def _has_subscriber(self, *names: str) -> bool:
        found = (self._publishers[name] for name in names if name in self._publishers)
        return any(publisher.get_subscription_count() > 0 for publisher in found)
