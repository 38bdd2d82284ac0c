"""Scores of tasks: average precision by pycocotools, segmentation by a confusion matrix."""

from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import redirect_stdout
import io
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.postprocess import detections
from training.data.boxes import IGNORED
from training.data.datasets import CLASSES
from training.data.datasets import Sample
from training.data.pair_files import IGNORE

Table = dict[str, dict[str, float]]
"""Figures by row, then by column."""

# COCO integrates the whole precision-recall curve, so boxes of low score count, too.
EVERYTHING = FusionConfig(score_threshold=0.001, nms_threshold=0.6, max_detections=100)

EVERYWHERE = np.array([-1e5, -1e5, 1e5, 1e5])  # a box that contains all others


def select(boxes_xyxy: np.ndarray, scores: np.ndarray, size_hw: tuple[int, int]) -> Detections:
    """Return raw boxes after the robot's own post-processing, almost unfiltered."""
    wanted = np.ones(scores.shape[1], dtype=bool)
    return detections(boxes_xyxy, scores, size_hw, EVERYTHING, wanted)


def _annotations(image: int, item: Sample | Detections, classes: int) -> list[dict[str, Any]]:
    """Return boxes, and as crowds the regions in which a class counts neither way."""
    scores = item.scores if isinstance(item, Detections) else np.ones(len(item.class_ids))
    rows = []
    for box, class_id, score in zip(item.boxes_xyxy, item.class_ids, scores, strict=True):
        of = range(classes) if class_id == IGNORED else [int(class_id)]
        rows += [(box, i, float(score), int(class_id == IGNORED)) for i in of]
    if isinstance(item, Sample) and item.labeled is not None:
        rows += [(EVERYWHERE, int(i), 1.0, 1) for i in np.flatnonzero(~item.labeled)]
    keys = ('image_id', 'category_id', 'bbox', 'area', 'score', 'iscrowd')
    found = []
    for box, class_id, score, is_crowd in rows:
        sides = box[2:] - box[:2]
        place = [float(v) for v in (*box[:2], *sides)], float(sides.prod())
        found.append(dict(zip(keys, (image, class_id, *place, score, is_crowd), strict=True)))
    return found


def _coco(items: Sequence[Sample | Detections], classes: Sequence[str]) -> COCO:
    """Return the boxes of images as pycocotools reads them."""
    count = len(classes)
    boxes = [box for i, item in enumerate(items) for box in _annotations(i, item, count)]
    used = {box['category_id'] for box in boxes}
    if used - set(range(len(classes))):  # pycocotools would ignore them silently
        raise ValueError(f'expected classes 0 to {len(classes) - 1}, got {sorted(used)}')
    coco = COCO()
    coco.dataset = {
        'images': [{'id': image} for image in range(len(items))],
        # pycocotools uses annotation id 0 for "no match": ids start at 1.
        'annotations': [{'id': i, **box} for i, box in enumerate(boxes, start=1)],
        'categories': [{'id': i, 'name': name} for i, name in enumerate(classes)],
    }
    coco.createIndex()
    return coco


def match(
    samples: Sequence[Sample], found: Sequence[Detections], classes: Sequence[str] = CLASSES
) -> COCOeval:
    """Return pycocotools' evaluation with every detection matched; ValueError for other ids."""
    with redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_coco(samples, classes), _coco(found, classes), 'bbox')
        evaluation.evaluate()
    return evaluation


def ranking(evaluation: COCOeval, class_id: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return image and hit of each detection that counts, best first, and true boxes by image."""
    count, areas = len(evaluation.params.imgIds), len(evaluation.params.areaRng)
    # A flat list by class, then area range (the first is "all areas"), then image.
    start = class_id * areas * count
    images = [entry or {} for entry in evaluation.evalImgs[start : start + count]]
    shown = [~np.asarray(entry['dtIgnore'])[0].astype(bool) if entry else [] for entry in images]
    scores = [
        np.asarray(entry.get('dtScores', []), dtype=np.float64)[known]
        for entry, known in zip(images, shown, strict=True)
    ]
    matched = [
        np.asarray(entry['dtMatches'])[0][known] > 0 if entry else []
        for entry, known in zip(images, shown, strict=True)
    ]
    order = np.argsort(-np.concatenate(scores), kind='stable')
    image = np.repeat(np.arange(count), [len(s) for s in scores])[order]
    hit = np.concatenate(matched).astype(bool)[order]
    truths = [int((~np.asarray(entry.get('gtIgnore', []), bool)).sum()) for entry in images]
    return image, hit, np.array(truths)


def average_precision(
    samples: Sequence[Sample], found: Sequence[Detections], *, classes: Sequence[str] = CLASSES
) -> Table:
    """Return AP50, AP75 and AP50-95 per class and their mean, ``all``; NaN without boxes."""
    evaluation = match(samples, found, classes)
    with redirect_stdout(io.StringIO()):
        evaluation.accumulate()
    # (threshold, recall, class, area range, detection limit); -1 without ground truth.
    precision = evaluation.eval['precision'][:, :, :, 0, -1]
    precision = np.where(precision < 0, np.nan, precision)
    columns = {'AP50': precision[0], 'AP75': precision[5], 'AP50-95': precision}
    table = {
        name: {key: mean_of_known(values[..., i]) for key, values in columns.items()}
        for i, name in enumerate(classes)
    }
    return {**table, 'all': mean_row(list(table.values()))}


def precision_and_recall(
    samples: Sequence[Sample], found: Sequence[Detections], *, classes: Sequence[str] = CLASSES
) -> Table:
    """
    Return precision and recall (IoU 0.5) per class and their mean of what the robot reports.

    :param found: almost all detections; the robot's own score threshold and suppression follow.
    """
    wanted, robot = np.ones(len(classes), dtype=bool), FusionConfig()
    reported = []
    for one in found:
        scores = np.where(
            one.class_ids[:, None] == np.arange(len(classes)), one.scores[:, None], 0
        )
        size_hw = (int(EVERYWHERE[3]), int(EVERYWHERE[2]))  # the boxes are clipped already
        reported.append(detections(one.boxes_xyxy, scores, size_hw, robot, wanted))
    evaluation = match(samples, reported, classes)
    table = {}
    for i, name in enumerate(classes):
        _, hit, truths = ranking(evaluation, i)
        right, claimed, present = int(hit.sum()), len(hit), int(truths.sum())
        table[name] = {
            'precision': right / claimed if claimed else float('nan'),
            'recall': right / present if present else float('nan'),
        }
    return {**table, 'all': mean_row(list(table.values()))}


def count_pixels(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """
    Return the confusion matrix of one image; the sum over images is that of a data set.

    :param truth: class of each pixel; 255 is unlabeled; ``predicted`` the same, without 255.
    :returns: (classes, classes) int64, row: truth, column: predicted.
    :raises ValueError: if the images differ in size, or a class is unknown.
    """
    known = truth != IGNORE
    pairs = np.stack((truth[known], predicted[known])).astype(np.int64)
    if pairs.size and (pairs.min() < 0 or pairs.max() >= classes):
        raise ValueError(f'expected classes 0 to {classes - 1}, got {pairs.min()}..{pairs.max()}')
    cells = np.bincount(pairs[0] * classes + pairs[1], minlength=classes**2)
    return cells.reshape(classes, classes)


def class_scores(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """
    Return intersection over union, IoU, and accuracy, Acc, of each class, 0 to 1, (C,) each.

    :param confusion: (C, C) numbers of pixels of the whole test set, background included.
    :returns: NaN: IoU of a class that neither occurs nor is predicted, Acc of one that does not
        occur; ``mean_of_known`` of IoU is mIoU.
    """
    right = np.diag(confusion).astype(np.float64)
    true, predicted = confusion.sum(1), confusion.sum(0)
    with np.errstate(invalid='ignore'):
        return {'IoU': right / (true + predicted - right), 'Acc': right / true}


def mean_row(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each column, of the values that are not NaN."""
    return {key: mean_of_known(np.array([row[key] for row in rows])) for key in rows[0]}


def mean_of_known(values: np.ndarray) -> float:
    """Return the mean of the values that are not NaN; NaN if all are."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float('nan')
