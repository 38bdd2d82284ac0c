"""The publishing side of the node. Every output carries the header that its match names."""

from collections.abc import Callable
from collections.abc import Iterable
import socket
from typing import Any

import cv2
from diagnostic_msgs.msg import DiagnosticArray
from diagnostic_msgs.msg import DiagnosticStatus
from diagnostic_msgs.msg import KeyValue
import numpy as np
from rclpy.lifecycle import Node
from sensor_msgs.msg import CameraInfo
from sensor_msgs.msg import Image
from std_msgs.msg import Float64
from vision_msgs.msg import Detection2DArray
from vision_msgs.msg import LabelInfo

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.data import FusionResult
from tdfusion_ros.core.overlay import draw
from tdfusion_ros.core.overlay import draw_edges
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.formats import foxglove as annotations
from tdfusion_ros.formats import messages
from tdfusion_ros.node import qos
from tdfusion_ros.node.counters import Status

# From the stamp of the result, and from the arrival of the later image, to the publication;
# stamp of ir minus stamp of rgb.
TIMES = ('latency_ms', 'processing_ms', 'skew_ms')


class Outputs:
    """Publish results; what nobody subscribes to is not made, but for the detections."""

    def __init__(self, node: Node, config: FusionConfig, classes: tuple[str, ...]) -> None:
        self._node = node
        self._classes = classes
        self._types = messages.ros_types()
        profile = qos.named(config.output_qos, qos.OUTPUT_DEPTH)

        def publisher(kind: Any, topic: str, profile: Any = profile) -> Any:
            return node.create_publisher(kind, topic, profile)

        self._fused = publisher(Image, 'fused/image_raw')
        self._info = publisher(CameraInfo, 'fused/camera_info')
        self._detections = publisher(Detection2DArray, 'detections')
        kind = _installed(self._types, annotations.KIND)
        self._annotations = publisher(kind, 'fused/annotations') if kind else None
        self._overlay = publisher(Image, 'overlay/image_raw')
        self._ir = publisher(Image, 'ir_registered/image_raw')
        self._edges = publisher(Image, 'ir_registered/edges')
        self._labels = publisher(LabelInfo, 'label_info', qos.latched())
        self._times = {name: publisher(Float64, f'~/debug/{name}') for name in TIMES}
        self.announce(config.score_threshold)

    def announce(self, score_threshold: float) -> None:
        """Say which classes there are, and from which score on they are reported."""
        now = self._node.get_clock().now().nanoseconds
        head = messages.header(self._types, Frame(np.zeros((1, 1), np.uint8), now))
        self._labels.publish(
            messages.label_info(self._types, head, self._classes, score_threshold)
        )

    def wants_fused(self) -> bool:
        """Return whether anybody sees the fused image: else the network may leave it out."""
        return any(
            publisher.get_subscription_count() for publisher in (self._fused, self._overlay)
        )

    def destroy(self) -> None:
        """Take all publishers back."""
        for publisher in (
            self._fused,
            self._info,
            self._detections,
            *([self._annotations] if self._annotations else []),
            self._overlay,
            self._ir,
            self._edges,
            self._labels,
            *self._times.values(),
        ):
            self._node.destroy_publisher(publisher)

    def publish(
        self, result: FusionResult, match: FramePair, info_of: Callable[[str], CameraInfo | None]
    ) -> None:
        """
        Publish one result.

        :param match: what it was made of; it names the header, and the warning for the overlay.
        :param info_of: returns the latest info of a camera; one of another size is left out.
        """
        head = messages.header(self._types, match.reference)
        self._detections.publish(
            messages.detection_array(self._types, head, result.detections, self._classes)
        )
        if self._annotations and self._annotations.get_subscription_count():
            self._annotations.publish(
                annotations.image_annotations(
                    self._types, head, match, result.detections, self._classes
                )
            )
        if result.fused is not None:
            self._publish_fused(head, result, result.fused, match.warning)
        info = info_of('ir' if match.reference is match.ir else 'rgb')
        if info is not None and (info.height, info.width) == match.reference.size_hw:
            self._info.publish(messages.camera_info(head, info))
        if self._ir.get_subscription_count():
            gray = cv2.convertScaleAbs(result.pair.ir, alpha=255)  # rounds, in one pass
            self._ir.publish(messages.image(self._types, head, gray))
        if self._edges.get_subscription_count():
            gray = cv2.cvtColor(result.pair.rgb, cv2.COLOR_RGB2GRAY)
            drawn = draw_edges(gray, result.pair.ir, result.pair.valid)
            self._edges.publish(messages.image(self._types, head, drawn))

    def _publish_fused(
        self, head: Any, result: FusionResult, fused: np.ndarray, warning: str
    ) -> None:
        if self._fused.get_subscription_count():
            self._fused.publish(messages.image(self._types, head, fused))
        if self._overlay.get_subscription_count():
            drawn = draw(fused, result.detections, self._classes, warning)
            self._overlay.publish(messages.image(self._types, head, drawn))

    def publish_times(self, match: FramePair, processing_s: float) -> None:
        """
        Publish what one result took, on ``~/debug/…``, where somebody listens.

        :param processing_s: from the arrival of the later image to the publication [s].
        """
        now_ns = self._node.get_clock().now().nanoseconds
        values_ms = {
            'latency_ms': (now_ns - match.reference.stamp_ns) / 1e6,  # of the robot's clock
            'processing_ms': processing_s * 1e3,
        }
        if match.skew_ns is not None:
            values_ms['skew_ms'] = match.skew_ns / 1e6
        for name, value_ms in values_ms.items():
            if self._times[name].get_subscription_count():
                self._times[name].publish(Float64(data=value_ms))


def _installed(types: messages.MessageTypes, name: str) -> Any:
    """Return a message class, or None where its package is not installed."""
    try:
        return types.get(name)
    except ImportError:
        return None


def diagnostic_array(node: Node, statuses: Iterable[Status]) -> DiagnosticArray:
    """Return the message that says these, named as diagnostic_updater does: ``node: subject``."""
    out = DiagnosticArray()
    out.header.stamp = node.get_clock().now().to_msg()
    out.status = [
        DiagnosticStatus(
            level=bytes([status.level]),
            name=f'{node.get_fully_qualified_name()}: {status.name}',
            message=status.message,
            hardware_id=socket.gethostname(),
            values=[KeyValue(key=k, value=v) for k, v in status.values.items()],
        )
        for status in statuses
    ]
    return out
