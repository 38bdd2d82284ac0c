"""Raw boxes to detections: threshold, non-maximum suppression by class, clip to the image."""

import numpy as np

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.data import Size
from tdfusion_ros.core.errors import ConfigError

CANDIDATES = 1000  # per class, before suppression, whose cost is quadratic


def wanted_classes(class_filter: tuple[str, ...], classes: tuple[str, ...]) -> np.ndarray:
    """
    Return which classes to report, (C,) bool.

    :raises ConfigError: if the filter names a class that the model does not have.
    """
    unknown = sorted(set(class_filter) - set(classes))
    if unknown:
        raise ConfigError(
            f'class_filter has {", ".join(unknown)}; the classes of the model are '
            f'{", ".join(classes)}'
        )
    return np.array([not class_filter or name in class_filter for name in classes])


def detections(
    boxes_xyxy: np.ndarray,
    scores: np.ndarray,
    size_hw: Size,
    config: FusionConfig,
    wanted: np.ndarray,
) -> Detections:
    """
    Return the detected objects, best first.

    :param boxes_xyxy: (A, 4) float32 [px].
    :param scores: (A, C) float32 in [0, 1].
    :param size_hw: size of the published image; boxes are clipped to it.
    :param wanted: (C,) bool, the classes to report.
    """
    found = []
    for class_id in np.flatnonzero(wanted):
        of_class = scores[:, class_id]
        above = np.flatnonzero(of_class >= config.score_threshold)
        order = above[np.argsort(-of_class[above], kind='stable')[:CANDIDATES]]
        kept = order[_suppress(boxes_xyxy[order], config.nms_threshold)]
        found.append((boxes_xyxy[kept], of_class[kept], np.full(len(kept), class_id, np.int64)))
    boxes, values, ids = (np.concatenate(parts) for parts in zip(*found, strict=True))
    boxes = np.clip(boxes, 0, np.array([size_hw[1], size_hw[0]] * 2, np.float32))
    inside = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
    best = inside[np.argsort(-values[inside], kind='stable')[: config.max_detections]]
    return Detections(boxes[best], values[best], ids[best])


def _suppress(boxes: np.ndarray, iou_threshold: float) -> np.ndarray:
    """Return the indices of the boxes to keep; the boxes are sorted, best first."""
    area = np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1)
    kept = np.ones(len(boxes), bool)
    for i in range(len(boxes)):
        if not kept[i]:
            continue
        rest = i + 1 + np.flatnonzero(kept[i + 1 :])
        low = np.maximum(boxes[i, :2], boxes[rest, :2])
        high = np.minimum(boxes[i, 2:], boxes[rest, 2:])
        common = np.prod(np.clip(high - low, 0, None), axis=1)
        kept[rest[common > iou_threshold * (area[i] + area[rest] - common)]] = False
    return np.flatnonzero(kept)
