"""Tables of figures, of all samples and by stratum: detection, segmentation, loss, quality."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import math

import numpy as np
import torch
from tqdm import tqdm

from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.errors import FusionError
from training.checkpoint import load_fusion
from training.data.augmentation import whole
from training.data.datasets import Sample
from training.measure import metrics
from training.measure.bootstrap import bootstrap_ap50
from training.measure.metrics import Table
from training.measure.predictors import Fuser
from training.measure.predictors import luma_levels
from training.measure.quality import fusion_quality
from training.measure.quality import VIF_MIN_SIDE
from training.method.losses import fusion_loss
from training.method.losses import sources_of

HOW = (
    'luma and ir as 8-bit levels, not stretched; VIF, SSIM: mean over the two sources; '
    'VIF sum, SSIM sum: as many papers print them'
)


def indices_by_stratum(strata: Sequence[Mapping[str, str]]) -> dict[str, list[int]]:
    """
    Return the indices of all samples, then of each light and of each source, by suffix.

    The suffixes are for names of rows: '', ', day', ...; what all share makes no group.
    """
    groups = {'': list(range(len(strata)))}
    for kind in ('light', 'source'):
        for value in sorted({one[kind] for one in strata if one.get(kind)}):
            chosen = [i for i, one in enumerate(strata) if one.get(kind) == value]
            if len(chosen) < len(strata):
                groups[f', {value}'] = chosen
    return groups


def precision_table(
    samples: Sequence[Sample],
    found: Sequence[Detections],
    classes: Sequence[str],
    resamples: int = 0,
    gap: int | None = None,
) -> Table:
    """
    Return number of boxes, average precision, and precision and recall of what the robot reports.

    The rows are the classes and their mean, ``all``, then the same by stratum.

    :param resamples: above 0: add the 95 % interval of AP50 from so many resamples.
    :param gap: resample whole sequences, as ``bootstrap_ap50``.
    """
    table: Table = {}
    for suffix, chosen in indices_by_stratum([sample.strata for sample in samples]).items():
        part = [samples[i] for i in chosen], [found[i] for i in chosen]
        rows = metrics.average_precision(*part, classes=classes)
        reported = metrics.precision_and_recall(*part, classes=classes)
        rows = {name: row | reported[name] for name, row in rows.items()}
        if resamples:
            intervals = bootstrap_ap50(*part, classes=classes, resamples=resamples, gap=gap)
            rows = {name: row | intervals[name] for name, row in rows.items()}
        ids = np.concatenate([sample.class_ids for sample in part[0]])
        boxes = {name: int((ids == i).sum()) for i, name in enumerate(classes)}
        boxes['all'] = len(ids)
        table |= {f'{name}{suffix}': {'boxes': boxes[name], **rows[name]} for name in rows}
    return table


def compared_precision(
    rows: Mapping[tuple[str, ...], Table],
    differences: Mapping[tuple[str, ...], Mapping[str, float]],
    against: str,
) -> str:
    """
    Return the precision of detectors in Markdown: of one by class, of several a row for each.

    :param rows: ``precision_table`` of each, by detector and input.
    :param differences: ``bootstrap_difference`` of AP50, where known, and from which input.
    """
    if len(rows) == 1:
        return format_table(*rows.values())
    first = next(iter(rows.values()))
    parts = [name for name in first if name.startswith('all, ') or ', ' not in name]
    parts.remove('all')
    has_interval = 'AP50 low' in first['all']
    head = ['detector', 'input', 'AP50', *['95 %'] * has_interval, 'AP50-95']
    head += [f'minus {against}', '95 %'] if differences else []
    cells = []
    for key, table in rows.items():
        every, difference = table['all'], differences.get(key)
        line = [key[0], key[-1] if key[1:] else 'own', figure(every['AP50'], 3)]
        line += [_interval(every, 'AP50 low', 'AP50 high')] if has_interval else []
        line += [figure(every['AP50-95'], 3)]
        if difference:
            line += [f'{difference["difference"]:+.3f}', _interval(difference, 'low', 'high')]
        elif differences:
            line += ['', '']
        parted = [(table[part]['AP50'], table[part]['AP50-95']) for part in parts]
        cells.append([*line, *(' / '.join(figure(v, 3) for v in pair) for pair in parted)])
    return markdown_table([*head, *parts], cells)


def _interval(row: Mapping[str, float], low: str, high: str) -> str:
    return f'{figure(row[low], 3)} to {figure(row[high], 3)}'


def segmentation_table(
    predict: Callable[[Sample], np.ndarray], samples: Sequence[Sample], classes: Sequence[str]
) -> Table:
    """Return IoU and accuracy of each class (name of a mask value) and their means, ``all``."""
    counts, strata = [], []
    for sample in tqdm(samples, unit='pair', disable=None):
        if sample.mask is not None:
            counts.append(metrics.count_pixels(sample.mask, predict(sample), len(classes)))
            strata.append(sample.strata)
    rows: Table = {}
    for suffix, chosen in indices_by_stratum(strata).items():
        confusion = np.sum([counts[i] for i in chosen], 0)
        columns = metrics.class_scores(confusion)
        for i, name in enumerate(classes):
            rows[f'{name}{suffix}'] = {key: float(values[i]) for key, values in columns.items()}
        rows[f'all{suffix}'] = {key: metrics.mean_of_known(v) for key, v in columns.items()}
    return rows


@torch.inference_mode()
def loss_table(run: str, samples: Sequence[Sample]) -> Table:
    """Return the mean fusion loss (weight 1/2) of a run, of the mean, and of each source."""
    network = load_fusion(run)
    rows: dict[str, list[dict[str, float]]] = {}
    for sample in samples:
        pair = whole(sample).pair
        y, ir = sources_of(pair)
        images = {'network': network(*pair), 'mean': (y + ir) / 2, 'ir': ir, 'rgb': y}
        for name, image in images.items():
            losses = fusion_loss(image, y, ir, torch.tensor(0.5))
            values = dict(zip(('loss', 'intensity', 'gradient'), losses.values(), strict=True))
            rows.setdefault(name, []).append({key: v.item() for key, v in values.items()})
    return {name: metrics.mean_row(values) for name, values in rows.items()}


def quality_table(fusers: Mapping[str, Fuser], samples: Sequence[Sample]) -> Table:
    """Return the mean fusion quality of each fuser."""
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in fusers}
    strata = []
    for sample in tqdm(samples, unit='pair', disable=None):
        if min(sample.ir.shape) < VIF_MIN_SIDE:
            raise FusionError(f'{sample.name}: fusion quality needs sides of {VIF_MIN_SIDE} px')
        strata.append(sample.strata)
        sources = luma_levels(sample.rgb), sample.ir
        for name, fuse in fusers.items():
            figures[name].append(fusion_quality(fuse(sample), sources))
    return {
        f'{name}{suffix}': metrics.mean_row([figures[name][i] for i in chosen])
        for suffix, chosen in indices_by_stratum(strata).items()
        for name in fusers
    }


def rounded(rows: Table) -> dict[str, dict[str, float | None]]:
    """Return the table for JSON: four decimals, None for NaN."""
    return {
        name: {key: None if math.isnan(v) else round(v, 4) for key, v in row.items()}
        for name, row in rows.items()
    }


def format_table(rows: Table) -> str:
    """Return the table in Markdown: four decimals, a dash for NaN."""
    columns = list(next(iter(rows.values())))
    cells = [[name, *(figure(row[c], 4) for c in columns)] for name, row in rows.items()]
    return markdown_table(['', *columns], cells)


def figure(value: float | None, digits: int) -> str:
    """Return a number with so many decimals; a count as it is; a dash for None and NaN."""
    if value is None or math.isnan(value):
        return '-'
    return str(value) if isinstance(value, int) else f'{value:.{digits}f}'


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [f'| {" | ".join(row)} |' for row in (head, *rows)]
    return '\n'.join([lines[0], '|' + '---|' * len(head), *lines[1:]])
