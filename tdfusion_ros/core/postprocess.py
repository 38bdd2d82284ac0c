"""Raw boxes to detections: threshold, class-wise non-maximum suppression, clip to the image."""

import numpy as np

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.errors import ConfigError

CANDIDATES = 1000  # per class, before suppression; bounds its quadratic cost


def wanted_classes(class_filter: tuple[str, ...], classes: tuple[str, ...]) -> np.ndarray:
    """
    Return which classes to report, (C,) bool.

    :raises ConfigError: if the filter names a class that the model does not know.
    """
    unknown = sorted(set(class_filter) - set(classes))
    if unknown:
        raise ConfigError(
            f'class_filter names {", ".join(unknown)}; the model knows {", ".join(classes)}'
        )
    return np.array([not class_filter or name in class_filter for name in classes])


def detections(
    boxes_xyxy: np.ndarray,
    scores: np.ndarray,
    size_hw: tuple[int, int],
    config: FusionConfig,
    wanted: np.ndarray,
) -> Detections:
    """
    Return what the detector found, best first.

    :param boxes_xyxy: (A, 4) float32 [px].
    :param scores: (A, C) float32 in [0, 1].
    :param size_hw: height and width of the published image; boxes are clipped to it [px].
    :param wanted: (C,) bool, the classes to report.
    """
    kept = [_of_class(boxes_xyxy, scores[:, c], int(c), config) for c in np.flatnonzero(wanted)]
    boxes, values, ids = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    limit = np.array([size_hw[1], size_hw[0]] * 2, np.float32)
    boxes = np.clip(boxes, 0, limit)
    inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    boxes, values, ids = boxes[inside], values[inside], ids[inside]
    best = np.argsort(-values, kind='stable')[: config.max_detections]
    return Detections(boxes[best], values[best], ids[best])


def _of_class(
    boxes: np.ndarray, scores: np.ndarray, class_id: int, config: FusionConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    above = np.flatnonzero(scores >= config.score_threshold)
    order = above[np.argsort(-scores[above], kind='stable')[:CANDIDATES]]
    keep = order[_suppress(boxes[order], config.nms_threshold)]
    return boxes[keep], scores[keep], np.full(len(keep), class_id, np.int64)


def _suppress(boxes: np.ndarray, iou_threshold: float) -> np.ndarray:
    """Return the places of the boxes that stay; the boxes come best first."""
    area = np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1)
    alive = np.ones(len(boxes), bool)
    for i in range(len(boxes)):
        if not alive[i]:
            continue
        rest = i + 1 + np.flatnonzero(alive[i + 1 :])
        corner_lo = np.maximum(boxes[i, :2], boxes[rest, :2])
        corner_hi = np.minimum(boxes[i, 2:], boxes[rest, 2:])
        common = np.prod(np.clip(corner_hi - corner_lo, 0, None), axis=1)
        union = area[i] + area[rest] - common
        alive[rest[common > iou_threshold * union]] = False
    return np.flatnonzero(alive)
