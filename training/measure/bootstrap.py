"""Confidence intervals of average precision by resampling the images."""

from collections.abc import Sequence
import re

import numpy as np

from tdfusion_ros.core.data import Detections
from training.data.datasets import CLASSES
from training.data.datasets import Sample
from training.measure.metrics import match
from training.measure.metrics import mean_of_known
from training.measure.metrics import ranking
from training.measure.metrics import Table


def bootstrap_ap50(
    samples: Sequence[Sample],
    found: Sequence[Detections],
    *,
    classes: Sequence[str] = CLASSES,
    resamples: int = 1000,
    gap: int | None = None,
) -> Table:
    """
    Return the 95 % interval of AP50 per class and of their mean, ``all``; NaN without boxes.

    Percentiles over sets of as many images, drawn with replacement. Frames of one drive are not
    independent: without ``gap`` the true interval is wider. Another seed of the training is not
    covered.

    :param gap: draw whole sequences, as ``sequences`` finds them, instead of single images.
    """
    draws = _draws(samples, resamples, gap)
    columns = resampled_ap50(samples, found, classes, draws)
    keys = ('AP50 low', 'AP50 high')
    return {name: dict(zip(keys, _interval(v), strict=True)) for name, v in columns.items()}


def bootstrap_difference(
    samples: Sequence[Sample],
    found_a: Sequence[Detections],
    found_b: Sequence[Detections],
    *,
    classes: Sequence[str] = CLASSES,
    resamples: int = 1000,
    gap: int | None = None,
) -> Table:
    """
    Return AP50(a) - AP50(b) with its 95 % interval, per class and for their mean, ``all``.

    Both are measured on the same resampled images, so images that are hard for both do not widen
    the interval, as they widen the two single intervals.

    :returns: ``difference`` on the samples themselves, ``low``, ``high``, and ``a better``: the
        share of resamples in which it is above 0. NaN for a class that does not occur.
    """
    draws = _draws(samples, resamples, gap)
    draws = np.vstack((np.ones((1, len(samples)), draws.dtype), draws))
    ap_a, ap_b = (resampled_ap50(samples, found, classes, draws) for found in (found_a, found_b))
    table = {}
    for name in ap_a:
        difference, *values = ap_a[name] - ap_b[name]
        low, high = _interval(np.array(values))
        better = mean_of_known(np.where(np.isnan(values), np.nan, np.array(values) > 0))
        row = {'difference': float(difference), 'low': low, 'high': high}
        table[name] = row | {'a better': better}
    return table


def resampled_ap50(
    samples: Sequence[Sample],
    found: Sequence[Detections],
    classes: Sequence[str],
    draws: np.ndarray,
) -> dict[str, np.ndarray]:
    """Return AP50 of each draw, (R,), per class and for their mean; draws (R, images)."""
    evaluation = match(samples, found, classes)
    columns = {}
    for class_id, name in enumerate(classes):
        ranked = ranking(evaluation, class_id)
        columns[name] = np.array([weighted_ap50(*ranked, draw) for draw in draws])
    columns['all'] = np.array([mean_of_known(row) for row in np.stack([*columns.values()], 1)])
    return columns


def sequences(names: Sequence[str], gap: int) -> np.ndarray:
    """
    Return the number of the sequence of each image, (N,) int64.

    A sequence lasts while the number in the name grows by at most ``gap`` and the rest is the
    same.
    """
    numbers = [re.findall(r'\d+', name) for name in names]
    last = [int(found[-1]) if found else -1 for found in numbers]
    rest = [re.sub(r'\d+(?=\D*$)', '', name) for name in names]
    starts = [
        not 0 < last[i] - last[i - 1] <= gap or rest[i] != rest[i - 1]
        for i in range(1, len(names))
    ]
    return np.cumsum([False, *starts])


def _draws(samples: Sequence[Sample], resamples: int, gap: int | None) -> np.ndarray:
    """Return how often each image counts in each resample, (resamples, len(samples))."""
    rng = np.random.default_rng(0)  # the same images for all that is compared
    if gap is None:
        return rng.multinomial(len(samples), [1 / len(samples)] * len(samples), size=resamples)
    group = sequences([sample.name for sample in samples], gap)
    count = int(group[-1]) + 1
    return rng.multinomial(count, [1 / count] * count, size=resamples)[:, group]


def weighted_ap50(
    image: np.ndarray, hit: np.ndarray, truths: np.ndarray, draw: np.ndarray
) -> float:
    """Return AP50 by COCO's rule of a set that contains image i ``draw[i]`` times."""
    positives = int((truths * draw).sum())
    if not positives:
        return float('nan')
    weight = draw[image]
    right, shown = np.cumsum(weight * hit), np.cumsum(weight)
    precision = np.maximum.accumulate((right / np.maximum(shown, 1))[::-1])[::-1]
    recall = np.linspace(0, 1, 101)
    reached = np.searchsorted(right / positives, recall, side='left')
    return float(np.append(precision, 0.0)[reached].mean())


def _interval(values: np.ndarray) -> list[float]:
    known = values[~np.isnan(values)]
    return np.percentile(known, (2.5, 97.5)).tolist() if known.size else [float('nan')] * 2
