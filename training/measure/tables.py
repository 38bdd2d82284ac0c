"""Tables of figures, whole and by stratum: detection, segmentation, loss and quality of fusion."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import replace
import math

import numpy as np
import torch
from tqdm import tqdm

from tdfusion_ros.core.data import Detections
from tdfusion_ros.nets.blocks import luma
from training.checkpoint import load_run
from training.data.augmentation import collate
from training.data.augmentation import pad
from training.data.datasets import Sample
from training.markdown import figure
from training.markdown import table
from training.measure.bootstrap import bootstrap_ap50
from training.measure.fusers import Fuser
from training.measure.fusers import luma_levels
from training.measure.metrics import average_precision
from training.measure.metrics import class_scores
from training.measure.metrics import count_pixels
from training.measure.metrics import mean_of_known
from training.measure.metrics import segmentation_scores
from training.measure.predictors import Predictor
from training.measure.quality import fusion_quality
from training.method.losses import fusion_loss

Table = dict[str, dict[str, float]]
STRATA = ('light', 'source')
HOW = (
    'luma and ir as 8-bit levels, not stretched; VIF, SSIM: mean over the two sources; '
    'VIF sum, SSIM sum: as many papers print them'
)
NO_RGB, NO_IR = np.zeros((0, 0, 3), np.uint8), np.zeros((0, 0), np.uint8)


def strata(told: Sequence[Mapping[str, str]]) -> dict[str, list[int]]:
    """
    Return the indices of all samples, then those of each light and of each source.

    :param told: what is known of each sample; what is true of all of them makes no part.
    :returns: indices by what is to be added to the name of a row.
    """
    parts = {'': list(range(len(told)))}
    for kind in STRATA:
        for value in sorted({one[kind] for one in told if one.get(kind)}):
            chosen = [i for i, one in enumerate(told) if one.get(kind) == value]
            if len(chosen) < len(told):
                parts[f', {value}'] = chosen
    return parts


def detection_table(
    predict: Predictor, samples: Sequence[Sample], classes: Sequence[str], resamples: int = 0
) -> Table:
    """
    Return number of boxes and average precision of each class and of their mean, ``all``.

    :param resamples: with more than 0, the 95 % interval of AP50 from so many.
    """
    found, labels = [], []
    for sample in tqdm(samples, unit='pair', disable=None):
        found.append(predict(sample))
        labels.append(replace(sample, rgb=NO_RGB, ir=NO_IR, mask=None))  # or memory fills up
    rows: Table = {}
    for suffix, chosen in strata([sample.strata for sample in labels]).items():
        part = [labels[i] for i in chosen], [found[i] for i in chosen]
        of_part = _precision(*part, classes, resamples)
        rows |= {f'{name}{suffix}': row for name, row in of_part.items()}
    return rows


def _precision(
    samples: Sequence[Sample], found: Sequence[Detections], classes: Sequence[str], resamples: int
) -> Table:
    rows = average_precision(samples, found, classes=classes)
    if resamples:
        intervals = bootstrap_ap50(samples, found, classes=classes, resamples=resamples)
        rows = {name: row | intervals[name] for name, row in rows.items()}
    ids = np.concatenate([sample.class_ids for sample in samples])
    boxes = {name: int((ids == i).sum()) for i, name in enumerate(classes)} | {'all': len(ids)}
    return {name: {'boxes': boxes[name], **row} for name, row in rows.items()}


def segmentation_table(
    predict: Callable[[Sample], np.ndarray], samples: Sequence[Sample], classes: Sequence[str]
) -> Table:
    """
    Return IoU and accuracy of each class and their means, ``all``.

    :param classes: names of the mask values.
    """
    counts, told = [], []
    for sample in tqdm(samples, unit='pair', disable=None):
        if sample.mask is not None:
            counts.append(count_pixels(sample.mask, predict(sample), len(classes)))
            told.append(sample.strata)
    rows: Table = {}
    for suffix, chosen in strata(told).items():
        confusion = np.sum([counts[i] for i in chosen], 0)
        columns, means = class_scores(confusion), segmentation_scores(confusion)
        for i, name in enumerate(classes):
            rows[f'{name}{suffix}'] = {key: float(values[i]) for key, values in columns.items()}
        rows[f'all{suffix}'] = {'IoU': means['mIoU'], 'Acc': means['mAcc']}
    return rows


@torch.inference_mode()
def loss_table(run: str, samples: Sequence[Sample]) -> Table:
    """
    Return the mean fusion loss (weight 1/2) of a run and, to compare, of doing nothing clever.

    What is compared: the network, the mean of the two sources, and each source alone.
    """
    network = load_run(run)
    rows: dict[str, list[list[float]]] = {}
    for sample in samples:
        batch = collate([pad(sample, 2)])
        y, ir = luma(batch.rgb), batch.ir
        images = {'network': network(y, ir), 'mean': (y + ir) / 2, 'ir': ir, 'rgb': y}
        for name, image in images.items():
            losses = fusion_loss(image, y, ir, torch.tensor(0.5))
            rows.setdefault(name, []).append([value.item() for value in losses.values()])
    columns = ('loss', 'intensity', 'gradient')
    return {
        name: dict(zip(columns, np.mean(values, 0).tolist(), strict=True))
        for name, values in rows.items()
    }


def quality_table(fusers: Mapping[str, Fuser], samples: Sequence[Sample]) -> Table:
    """Return the mean quality of each way to fuse."""
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in fusers}
    told = []
    for sample in tqdm(samples, unit='pair', disable=None):
        told.append(sample.strata)
        sources = luma_levels(sample.rgb), sample.ir
        for name, fuse in fusers.items():
            figures[name].append(fusion_quality(fuse(sample), sources))
    return {
        f'{name}{suffix}': _mean([figures[name][i] for i in chosen])
        for suffix, chosen in strata(told).items()
        for name in fusers
    }


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: mean_of_known(np.array([row[key] for row in rows])) for key in rows[0]}


def rounded(rows: Table) -> dict[str, dict[str, float | None]]:
    """Return the table with four digits after the point, for JSON, which knows no NaN."""
    return {
        name: {key: None if math.isnan(v) else round(v, 4) for key, v in row.items()}
        for name, row in rows.items()
    }


def format_table(rows: Table) -> str:
    """Return the table in Markdown: four digits after the point, a dash for what is not known."""
    columns = list(next(iter(rows.values())))
    cells = [[name, *(figure(row[c], 4) for c in columns)] for name, row in rows.items()]
    return table(['', *columns], cells)
