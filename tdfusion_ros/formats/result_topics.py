"""The topics of a result and their messages: the same from the live node and in bags."""

from collections.abc import Callable
from functools import cache
from functools import partial
from typing import Any

import cv2
import numpy as np

from tdfusion_ros.core.contract import Contract
from tdfusion_ros.core.data import FusionResult
from tdfusion_ros.core.overlay import draw_edges
from tdfusion_ros.core.overlay import draw_result
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.formats import foxglove
from tdfusion_ros.formats import messages
from tdfusion_ros.formats.bag_topics import IMAGE_TYPES
from tdfusion_ros.formats.bag_topics import INFO_TYPE
from tdfusion_ros.formats.camera_info import describes

FUSED, OVERLAY, MASKS = 'fused/image_raw', 'overlay/image_raw', 'segmentation/image_raw'
IR, EDGES = 'ir_registered/image_raw', 'ir_registered/edges'
COMPRESSED = {topic: f'{topic}/compressed' for topic in (FUSED, OVERLAY)}
INFO, ANNOTATIONS = 'fused/camera_info', 'fused/annotations'
DETECTIONS, TEMPERATURES = 'detections', 'detections/temperature'
LABELS, MASK_LABELS = 'label_info', 'segmentation/label_info'
ARRAY = 'vision_msgs/msg/Detection2DArray'
TYPES = {
    **{DETECTIONS: ARRAY, TEMPERATURES: ARRAY, ANNOTATIONS: foxglove.KIND, INFO: INFO_TYPE},
    **dict.fromkeys((FUSED, OVERLAY, MASKS, IR, EDGES), IMAGE_TYPES[0]),
    **dict.fromkeys(COMPRESSED.values(), IMAGE_TYPES[1]),
    **dict.fromkeys((LABELS, MASK_LABELS), 'vision_msgs/msg/LabelInfo'),
}
"""The message type of each topic."""


def label_messages(
    types: messages.MessageTypes, head: Any, contract: Contract, threshold: float
) -> dict[str, Any]:
    """Return by topic the names of the classes, and of the masks if the model has some."""
    names = {LABELS: (contract.classes, threshold), MASK_LABELS: (contract.mask_classes, 0.0)}
    return {t: messages.label_info(types, head, *each) for t, each in names.items() if each[0]}


def result_messages(
    types: messages.MessageTypes,
    contract: Contract,
    pair: FramePair,
    result: FusionResult,
    info: Any,
) -> dict[str, Callable[[], Any]]:
    """
    Return by topic what makes the message of a result, without the topics that it has nothing for.

    :param info: the CameraInfo of the camera that gives the header, if any; one of another image
        size is left out.
    """
    head, classes = messages.header(types, pair.reference), contract.classes
    found, registered = result.detections, result.pair
    gray = partial(cv2.cvtColor, code=cv2.COLOR_RGB2GRAY)
    boxes = cache(partial(messages.detection_array, types, head, found, classes))
    made: dict[str, Callable[[], Any]] = {DETECTIONS: boxes}
    made[ANNOTATIONS] = lambda: foxglove.image_annotations(types, head, pair, found, classes)
    if (measured := found.temperatures) is not None:
        made[TEMPERATURES] = lambda: messages.temperature_array(types, boxes(), measured)
    if info is not None and describes(info, pair.reference.size_hw):
        made[INFO] = lambda: messages.camera_info(head, info)
    pictures: dict[str, Callable[[], np.ndarray]] = {}
    if (masks := result.segmentation) is not None:
        pictures[MASKS] = lambda: masks
    if (fused := result.fused) is not None:
        pictures[FUSED] = lambda: fused
        pictures[OVERLAY] = cache(lambda: draw_result(result, contract, pair.warning))
    pictures[IR] = lambda: cv2.convertScaleAbs(registered.ir, alpha=255)  # rounds, in one pass
    pictures[EDGES] = lambda: draw_edges(gray(registered.rgb), registered.ir, registered.coverage)

    def message(make: Callable, pixels: Callable[[], np.ndarray]) -> Callable[[], Any]:
        return lambda: make(types, head, pixels())

    for topic, pixels in pictures.items():
        made[topic] = message(messages.image, pixels)
        if topic in COMPRESSED:
            made[COMPRESSED[topic]] = message(messages.compressed_image, pixels)
    return made
