"""Raw boxes to detections: threshold, non-maximum suppression, clip to the image."""

import numpy as np

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.data import Size
from tdfusion_ros.core.errors import ConfigError

CANDIDATES = 1000  # the best of all classes; suppression costs their number times the reported
BLOCK = 128  # candidates that are compared at once: fits the cache


def wanted_classes(class_filter: tuple[str, ...], classes: tuple[str, ...]) -> np.ndarray:
    """Return which classes to report, (C,) bool; ConfigError for one that the model lacks."""
    unknown = sorted(set(class_filter) - set(classes))
    if unknown:
        raise ConfigError(
            f'class_filter has {", ".join(unknown)}; the model has {", ".join(classes)}'
        )
    return np.array([not class_filter or name in class_filter for name in classes])


def detections(
    boxes_xyxy: np.ndarray,
    scores: np.ndarray,
    size_hw: Size,
    config: FusionConfig,
    wanted: np.ndarray,
    *,
    share: float = 1.0,
) -> Detections:
    """
    Return what (A, 4) boxes [px], (A, C) scores and (C,) wanted classes give, best first.

    :param share: of the config's ``score_threshold``, that scores must reach.
    """
    columns = np.flatnonzero(wanted)
    if len(columns) < len(wanted):
        scores = scores[:, columns]
    rows, places, values = _candidates(scores, share * config.score_threshold)
    boxes, ids = boxes_xyxy[rows], columns[places]
    clipped = np.clip(boxes, 0, np.array([size_hw[1], size_hw[0]] * 2, np.float32))
    inside = (clipped[:, 2:] > clipped[:, :2]).all(1)
    best = _suppress(boxes, ids, inside, config)
    return Detections(clipped[best], values[best], ids[best])


def _candidates(scores: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return row, column and value of the best scores, best first; equal ones by class."""
    above = scores >= threshold
    if np.count_nonzero(above) > CANDIDATES:
        highest = np.fmax.reduce(scores, axis=1)  # NaN is no score
        highest = highest[highest >= threshold]
        if len(highest) > CANDIDATES:  # then lower scores are none of the best
            above = scores >= np.partition(highest, -CANDIDATES)[-CANDIDATES]
    rows, columns = np.divmod(np.flatnonzero(above), scores.shape[1])
    values = scores[rows, columns]
    if len(values) > CANDIDATES:
        best = values >= np.partition(values, -CANDIDATES)[-CANDIDATES]
        rows, columns, values = rows[best], columns[best], values[best]
    order = np.lexsort((rows, columns, -values))[:CANDIDATES]
    return rows[order], columns[order], values[order]


def _suppress(
    boxes: np.ndarray, ids: np.ndarray, inside: np.ndarray, config: FusionConfig
) -> np.ndarray:
    """Return the indices of the boxes to report; the boxes are sorted, best first."""
    left, top, right, bottom = np.ascontiguousarray(boxes.T)
    area = np.clip(right - left, 0, None) * np.clip(bottom - top, 0, None)
    same, across = np.float32(config.nms_threshold), np.float32(config.nms_threshold_across)

    def repeats(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return which boxes overlap more than allowed, (F, S) bool."""
        a = first[:, None]
        width = np.minimum(right[a], right[second]) - np.maximum(left[a], left[second])
        height = np.minimum(bottom[a], bottom[second]) - np.maximum(top[a], top[second])
        common = np.clip(width, 0, None) * np.clip(height, 0, None)
        limit = np.where(ids[a] == ids[second], same, across)
        return common > limit * (area[a] + area[second] - common)

    kept = np.empty(0, np.intp)
    for start in range(0, len(boxes), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(boxes)))
        block = block[~repeats(kept, block).any(0)]
        earlier = np.triu(repeats(block, block), 1)
        alive: np.ndarray = np.ones(len(block), bool)
        # After n turns the first n are right: a box is removed by a better one that remains.
        for _ in block:
            before, alive = alive, ~earlier[alive].any(0)
            if np.array_equal(before, alive):
                break
        kept = np.concatenate((kept, block[alive]))
        if inside[kept].sum() >= config.max_detections:
            break
    return kept[inside[kept]][: config.max_detections]
