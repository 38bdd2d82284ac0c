"""Publish results. Every output carries the header of its pair's reference frame."""

from collections.abc import Callable
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
from rclpy.lifecycle import Node
from sensor_msgs.msg import CameraInfo
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from std_msgs.msg import Float64
from vision_msgs.msg import Detection2DArray
from vision_msgs.msg import LabelInfo

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.contract import Contract
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.data import FusionResult
from tdfusion_ros.core.data import RegisteredPair
from tdfusion_ros.core.overlay import draw_edges
from tdfusion_ros.core.overlay import draw_result
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.formats import foxglove
from tdfusion_ros.formats import messages
from tdfusion_ros.formats.camera_info import describes
from tdfusion_ros.node import qos

IMAGES = ('fused/image_raw', 'overlay/image_raw', 'ir_registered/image_raw', 'ir_registered/edges')
FUSED, OVERLAY, IR, EDGES = IMAGES
COMPRESSED = {topic: f'{topic}/compressed' for topic in (FUSED, OVERLAY)}
ANNOTATIONS = 'fused/annotations'
TEMPERATURES = 'detections/temperature'
MASKS, MASK_LABELS = 'segmentation/image_raw', 'segmentation/label_info'
# From the stamp of the result, and from the arrival of the later image, to the publication;
# stamp of ir minus stamp of rgb.
TIMES = ('latency_ms', 'processing_ms', 'skew_ms')


class Outputs:
    """Publish results; all of them are only computed for subscribers."""

    def __init__(self, node: Node, config: FusionConfig, contract: Contract) -> None:
        self._node, self._contract = node, contract
        self._labels = {'label_info': contract.classes}
        if contract.mask_classes:
            self._labels[MASK_LABELS] = contract.mask_classes
        self._types = messages.ros_types()
        kinds = {
            **dict.fromkeys(IMAGES, Image),
            **dict.fromkeys(COMPRESSED.values(), CompressedImage),
            'fused/camera_info': CameraInfo,
            'detections': Detection2DArray,
            TEMPERATURES: Detection2DArray,
            **dict.fromkeys(self._labels, LabelInfo),
            **({MASKS: Image} if contract.mask_classes else {}),
            **{f'~/debug/{name}': Float64 for name in TIMES},
        }
        with suppress(ImportError):  # foxglove_msgs is optional
            kinds[ANNOTATIONS] = self._types.get(foxglove.KIND)
        self._publishers = {
            topic: node.create_publisher(
                kind,
                topic,
                qos.latched() if kind is LabelInfo else qos.named(config.output_qos),
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
        header = messages.header(self._types, Frame(np.zeros((1, 1), np.uint8), now_ns))
        for topic, names in self._labels.items():
            lowest = 0.0 if topic == MASK_LABELS else score_threshold
            labels = messages.label_info(self._types, header, names, lowest)
            self._publishers[topic].publish(labels)

    def wants_any(self) -> bool:
        """Return whether a result has a subscriber; else nothing needs to be computed."""
        return any(map(self._has_subscriber, self._publishers.keys() - self._labels.keys()))

    def wants_fused(self) -> bool:
        """Return whether a subscriber needs the fused image; else the network may omit it."""
        return any(self._has_subscriber(topic) for pair in COMPRESSED.items() for topic in pair)

    def wants_temperatures(self, kelvin_per_count: float) -> bool:
        """Return whether a subscriber sees temperatures; labels have them only in kelvin."""
        labeled = (OVERLAY, COMPRESSED[OVERLAY], ANNOTATIONS) if kelvin_per_count else ()
        return any(map(self._has_subscriber, (TEMPERATURES, *labeled)))

    def wants_masks(self) -> bool:
        """Return whether a subscriber needs the masks, or the overlay, which shows them."""
        return any(map(self._has_subscriber, (MASKS, OVERLAY, COMPRESSED[OVERLAY])))

    def destroy(self) -> None:
        """Destroy all publishers."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)

    def publish(
        self, result: FusionResult, pair: FramePair, infos: Mapping[str, CameraInfo]
    ) -> None:
        """
        Publish the result of a pair, which gives the header and the overlay's warning.

        :param infos: latest camera info by stream; one of another image size is not published.
        """
        at_ns, score_threshold = self._announced
        if not at_ns:  # simulated time had not started
            self.announce(score_threshold)
        header = messages.header(self._types, pair.reference)
        found, classes = result.detections, self._contract.classes
        boxes = messages.detection_array(self._types, header, found, classes)
        self._publishers['detections'].publish(boxes)
        if found.temperatures is not None and self._has_subscriber(TEMPERATURES):
            measured = messages.temperature_array(self._types, boxes, found.temperatures)
            self._publishers[TEMPERATURES].publish(measured)
        if self._has_subscriber(ANNOTATIONS):
            self._publishers[ANNOTATIONS].publish(
                foxglove.image_annotations(self._types, header, pair, found, classes)
            )
        info = infos.get('ir' if pair.reference is pair.ir else 'rgb')
        if info is not None and describes(info, pair.reference.size_hw):
            self._publishers['fused/camera_info'].publish(messages.camera_info(header, info))
        self._publish_images(header, result, pair.warning)

    def _publish_images(self, header: Any, result: FusionResult, warning: str) -> None:
        def publish(topic: str, make_pixels: Callable[[], np.ndarray]) -> None:
            makers = {topic: messages.image, COMPRESSED.get(topic, ''): messages.compressed_image}
            wanted = [name for name in makers if self._has_subscriber(name)]
            if wanted:
                pixels = make_pixels()
            for name in wanted:
                self._publishers[name].publish(makers[name](self._types, header, pixels))

        fused, registered, masks = result.fused, result.pair, result.segmentation
        if masks is not None:
            publish(MASKS, lambda: masks)
        if fused is not None:
            publish(FUSED, lambda: fused)
            publish(OVERLAY, lambda: draw_result(result, self._contract, warning))
        # Rounds, in one pass.
        publish(IR, lambda: cv2.convertScaleAbs(registered.ir, alpha=255))
        publish(EDGES, lambda: _edges(registered))

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

    def _has_subscriber(self, topic: str) -> bool:
        publisher = self._publishers.get(topic)
        return publisher is not None and publisher.get_subscription_count() > 0


def _edges(pair: RegisteredPair) -> np.ndarray:
    gray = cv2.cvtColor(pair.rgb, cv2.COLOR_RGB2GRAY)
    return draw_edges(gray, pair.ir, pair.valid)
