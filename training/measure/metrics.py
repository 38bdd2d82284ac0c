"""Scores of tasks: average precision as COCO defines it, and segmentation."""

from collections.abc import Sequence
from contextlib import redirect_stdout
import io

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.postprocess import detections
from training.data.datasets import CLASSES
from training.data.datasets import Sample
from training.data.pair_files import IGNORE

# COCO integrates the whole precision-recall curve: nearly all boxes count, not only good ones.
EVERYTHING = FusionConfig(score_threshold=0.001, nms_threshold=0.6, max_detections=100)


def select(boxes_xyxy: np.ndarray, scores: np.ndarray, size_hw: tuple[int, int]) -> Detections:
    """Return what the robot's own post-processing makes of raw boxes, almost unfiltered."""
    wanted = np.ones(scores.shape[1], dtype=bool)
    return detections(boxes_xyxy, scores, size_hw, EVERYTHING, wanted)


def _xywh(box: np.ndarray) -> list[float]:
    return [float(v) for v in (*box[:2], *(box[2:] - box[:2]))]


def _ground_truth(samples: Sequence[Sample], classes: Sequence[str]) -> COCO:
    coco = COCO()
    annotations = [
        {
            'image_id': image,
            'category_id': int(class_id),
            'bbox': _xywh(box),
            'area': float((box[2:] - box[:2]).prod()),
            'iscrowd': 0,
        }
        for image, sample in enumerate(samples)
        for box, class_id in zip(sample.boxes_xyxy, sample.class_ids, strict=True)
    ]
    coco.dataset = {
        'info': {},
        'images': [{'id': image} for image in range(len(samples))],
        # COCO takes annotation id 0 for "no match": ids start at 1.
        'annotations': [{'id': i, **a} for i, a in enumerate(annotations, start=1)],
        'categories': [{'id': i, 'name': name} for i, name in enumerate(classes)],
    }
    with redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def match(
    samples: Sequence[Sample], found: Sequence[Detections], classes: Sequence[str] = CLASSES
) -> COCOeval:
    """
    Return pycocotools' evaluation with every detection matched to the truth, image by image.

    :raises ValueError: if a box is of a class that ``classes`` does not name.
    """
    boxes = [
        {
            'image_id': image,
            'category_id': int(class_id),
            'bbox': _xywh(box),
            'score': float(score),
        }
        for image, result in enumerate(found)
        for box, score, class_id in zip(
            result.boxes_xyxy, result.scores, result.class_ids, strict=True
        )
    ]
    truth = _ground_truth(samples, classes)
    used = {box['category_id'] for box in (*boxes, *truth.dataset['annotations'])}
    if used - set(range(len(classes))):  # pycocotools would leave them out without a word
        raise ValueError(f'expected classes 0 to {len(classes) - 1}, got {sorted(used)}')
    with redirect_stdout(io.StringIO()):
        # An empty list is not a result that pycocotools loads; an empty COCO is.
        results = truth.loadRes(boxes) if boxes else COCO()
        if not boxes:
            results.dataset = {**truth.dataset, 'annotations': []}
            results.createIndex()
        evaluation = COCOeval(truth, results, 'bbox')
        evaluation.evaluate()
    return evaluation


def average_precision(
    samples: Sequence[Sample], found: Sequence[Detections], *, classes: Sequence[str] = CLASSES
) -> dict[str, dict[str, float]]:
    """
    Return AP50, AP75 and AP50-95 (0 to 1) per class and for their mean, ``all``.

    A class that does not occur in ``samples`` has no AP: NaN.

    :param classes: names of the class ids, those of the data.
    """
    evaluation = match(samples, found, classes)
    with redirect_stdout(io.StringIO()):
        evaluation.accumulate()
    # (threshold, recall, class, area range, detection limit); -1 where there is no truth.
    precision = evaluation.eval['precision'][:, :, :, 0, -1]
    precision = np.where(precision < 0, np.nan, precision)
    columns = {'AP50': precision[0], 'AP75': precision[5], 'AP50-95': precision}
    table = {
        name: {key: mean_of_known(values[..., i]) for key, values in columns.items()}
        for i, name in enumerate(classes)
    }
    table['all'] = {
        key: mean_of_known(np.array([table[name][key] for name in classes])) for key in columns
    }
    return table


def count_pixels(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """
    Return the confusion matrix of label maps; those of a whole set add up.

    :param truth: class of each pixel; 255 is unlabeled and does not count.
    :param predicted: as ``truth``, without 255.
    :returns: (classes, classes) int64, row: truth, column: predicted.
    :raises ValueError: if a class is out of range.
    """
    known = truth != IGNORE
    pairs = np.stack((truth[known], predicted[known])).astype(np.int64)
    if pairs.size and (pairs.min() < 0 or pairs.max() >= classes):
        raise ValueError(f'expected classes 0 to {classes - 1}, got {pairs.min()}..{pairs.max()}')
    cells = np.bincount(pairs[0] * classes + pairs[1], minlength=classes**2)
    return cells.reshape(classes, classes)


def segmentation_scores(confusion: np.ndarray) -> dict[str, float]:
    """
    Return mean intersection over union and mean accuracy, 0 to 1.

    One matrix over the whole test set, background included; what is NaN is not counted.

    :param confusion: (C, C) numbers of pixels, row: truth, column: predicted.
    """
    return {f'm{name}': mean_of_known(values) for name, values in class_scores(confusion).items()}


def class_scores(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """
    Return intersection over union and accuracy of each class, 0 to 1, (C,) each.

    A class that neither occurs nor is predicted has no IoU, one that does not occur has no
    accuracy: NaN.
    """
    right = np.diag(confusion).astype(np.float64)
    true, predicted = confusion.sum(1), confusion.sum(0)
    with np.errstate(invalid='ignore'):
        return {'IoU': right / (true + predicted - right), 'Acc': right / true}


def mean_of_known(values: np.ndarray) -> float:
    """Return the mean of what is not NaN; NaN if nothing is."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float('nan')
