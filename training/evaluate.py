"""
Measure runs or bundles: prints a table and, with -o, writes it as JSON.

Detection (AP), segmentation (IoU), or fusion (the loss it was trained with) on a split:

    python -m training.evaluate --detector runs/detector_fused --bootstrap 1000
    python -m training.evaluate --bundle models/msrs_rt
    python -m training.evaluate --segmenter runs/segmenter --data DATA --split test
    python -m training.evaluate --fusion runs/fusion

Fusion on two folders of pairs, any number of runs and bundles beside average and maximum:

    python -m training.evaluate --fusion runs/fusion --images DATA/vi DATA/ir --pictures out
"""

from argparse import ArgumentParser
from argparse import Namespace
from argparse import RawDescriptionHelpFormatter
from collections.abc import Mapping
from collections.abc import Sequence
import json
from pathlib import Path
import sys

import cv2
import numpy as np
import torch
from tqdm import tqdm

from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.nets.blocks import luma
from training.bootstrap import bootstrap_ap50
from training.checkpoint import load_run
from training.datasets import load_samples
from training.datasets import mask_classes
from training.datasets import Sample
from training.fusers import average
from training.fusers import bundle_fuser
from training.fusers import Fuser
from training.fusers import luma_levels
from training.fusers import maximum
from training.fusers import open_folders
from training.fusers import run_fuser
from training.fusers import side_by_side
from training.losses import fusion_loss
from training.metrics import average_precision
from training.metrics import class_scores
from training.metrics import count_pixels
from training.metrics import mean_of_known
from training.metrics import segmentation_scores
from training.predictors import bundle_predictor
from training.predictors import Predictor
from training.predictors import run_predictor
from training.predictors import run_segmenter
from training.quality import fusion_quality
from training.transforms import collate

Table = dict[str, dict[str, float]]
KINDS = ('day', 'night')
HOW = 'luma and ir as 8-bit levels, not stretched; VIF, SSIM: mean over the two sources'
PICTURES = 8
"""At most so many pairs, spread over the set, are shown."""


def evaluate(predict: Predictor, samples: Sequence[Sample], resamples: int = 0) -> Table:
    """
    Return the average precision of ``predict`` on all samples, then by day and night if known.

    :param resamples: with more than 0, the 95 % interval of AP50 from so many.
    """
    found = [predict(sample) for sample in samples]
    table: Table = {}
    for suffix, chosen in _strata([_light(sample) for sample in samples]).items():
        part = [samples[i] for i in chosen], [found[i] for i in chosen]
        table |= {f'{name}{suffix}': row for name, row in _precision(*part, resamples).items()}
    return table


def _light(sample: Sample) -> str:
    return sample.strata.get('light', '')


def _strata(lights: Sequence[str]) -> dict[str, list[int]]:
    """Return the indices of all samples, then, where there are such, those by day and by night."""
    parts = {kind: [i for i, light in enumerate(lights) if light == kind] for kind in KINDS}
    known = {f', {kind}': part for kind, part in parts.items() if part}
    return {'': list(range(len(lights))), **known}


def _precision(samples: Sequence[Sample], found: Sequence[Detections], resamples: int) -> Table:
    table = average_precision(samples, found)
    if resamples:
        intervals = bootstrap_ap50(samples, found, resamples=resamples)
        table = {name: row | intervals[name] for name, row in table.items()}
    return table


def evaluate_segmentation(run: str, samples: Sequence[Sample], classes: tuple[str, ...]) -> Table:
    """
    Return IoU and accuracy of each class and their means, ``all``, then by day and night if known.

    :param classes: names of the mask values.
    """
    predict = run_segmenter(run, classes)
    counts = [
        count_pixels(s.mask, predict(s), len(classes)) for s in samples if s.mask is not None
    ]
    table: Table = {}
    for suffix, chosen in _strata([_light(s) for s in samples if s.mask is not None]).items():
        confusion = np.sum([counts[i] for i in chosen], 0)
        columns, means = class_scores(confusion), segmentation_scores(confusion)
        for i, name in enumerate(classes):
            table[f'{name}{suffix}'] = {key: float(values[i]) for key, values in columns.items()}
        table[f'all{suffix}'] = {'IoU': means['mIoU'], 'Acc': means['mAcc']}
    return table


@torch.inference_mode()
def evaluate_fusion(run: str, samples: Sequence[Sample]) -> Table:
    """
    Return the mean fusion loss (weight 1/2) of a run and, to compare, of doing nothing clever.

    What is compared: the network, the mean of the two sources, and each source alone.
    """
    network = load_run(run)
    rows: dict[str, list[list[float]]] = {}
    for sample in samples:
        batch = collate([sample])
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


def evaluate_quality(fusers: Mapping[str, Fuser], samples: Sequence[Sample]) -> Table:
    """Return the mean quality of each way to fuse: all pairs, then by day and night if known."""
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in fusers}
    lights = []
    for sample in tqdm(samples, unit='pair', disable=None):
        lights.append(_light(sample))
        sources = luma_levels(sample.rgb), sample.ir
        for name, fuse in fusers.items():
            figures[name].append(fusion_quality(fuse(sample), sources))
    return {
        f'{name}{suffix}': _mean([figures[name][i] for i in chosen])
        for suffix, chosen in _strata(lights).items()
        for name in fusers
    }


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: mean_of_known(np.array([row[key] for row in rows])) for key in rows[0]}


def write_pictures(folder: str, fusers: Mapping[str, Fuser], samples: Sequence[Sample]) -> None:
    """Write some pairs as ``NAME.png``: rgb, infrared, then what each fuser makes of them."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for index in range(0, len(samples), -(-len(samples) // PICTURES)):
        sample = samples[index]
        picture = side_by_side(sample, [fuse(sample) for fuse in fusers.values()])
        path = Path(folder) / f'{sample.name}.png'
        if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
            raise FusionError(f'{path} cannot be written')


def format_table(table: Table) -> str:
    """Return the table in Markdown, four digits after the point."""
    columns = list(next(iter(table.values())))
    lines = ['| | ' + ' | '.join(columns) + ' |', '|---|' + '---|' * len(columns)]
    for name, row in table.items():
        lines.append(f'| {name} | ' + ' | '.join(f'{row[c]:.4f}' for c in columns) + ' |')
    return '\n'.join(lines)


def measure_images(options: Namespace) -> tuple[str, Table]:
    """Return what was measured on two folders of pairs, in a line, and the figures."""
    samples = open_folders(*options.images)
    trained = {run: run_fuser(run) for run in options.fusion}
    trained |= {model: bundle_fuser(model) for model in options.bundle}
    if options.pictures:
        write_pictures(options.pictures, trained, samples)
    table = evaluate_quality({'average': average, 'maximum': maximum, **trained}, samples)
    return f'{" ".join(options.images)}, {len(samples)} pairs; {HOW}', table


def measure_split(options: Namespace) -> tuple[str, Table]:
    """Return what was measured on a split of a data set, in a line, and the figures."""
    samples = load_samples(options.data, options.split)
    if options.fusion:
        what, table = options.fusion[0], evaluate_fusion(options.fusion[0], samples)
    elif options.segmenter:
        what = options.segmenter[0]
        classes = mask_classes(options.data, options.split)
        table = evaluate_segmentation(what, samples, classes)
    elif options.bundle:
        what = options.bundle[0]
        table = evaluate(bundle_predictor(what), samples, options.bootstrap)
    else:
        what = options.detector[0]
        table = evaluate(run_predictor(what), samples, options.bootstrap)
    return f'{what} on {options.split}, {len(samples)} pairs', table


def parse(arguments: Sequence[str] | None) -> Namespace:
    """Return the options; combinations that mean nothing end the program with a sentence."""
    parser = ArgumentParser(
        prog='python -m training.evaluate',
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    for name, what in (
        ('--detector', 'run folder of a detector'),
        ('--segmenter', 'run folder of a segmenter'),
        ('--bundle', 'folder of an exported model bundle; more than one with --images'),
        ('--fusion', 'run folder of a fusion network; more than one with --images'),
    ):
        add(name, action='append', default=[], metavar='FOLDER', help=what)
    add('--data', default='../shared/data/msrs_det', help='folder of the data set')
    add('--split', default='val', help='name of the split file')
    add('--bootstrap', type=int, default=0, metavar='N', help='AP50: 95 %% interval, N resamples')
    add('--images', nargs=2, metavar=('RGB', 'IR'), help='two folders of pairs: fusion quality')
    add('--pictures', metavar='FOLDER', help='with --images: where to write some pairs, fused')
    add('-o', '--output', help='JSON file to write')
    options = parser.parse_args(arguments)
    tasks = options.detector + options.segmenter
    given = len(tasks + options.bundle + options.fusion)
    if options.images and (tasks or options.bootstrap):
        parser.error('--images is for --fusion and --bundle, without --bootstrap')
    if not options.images and (given != 1 or options.pictures):
        parser.error(
            'give one of --detector, --segmenter, --bundle, --fusion; '
            'or --images and any of the last two'
        )
    if options.bootstrap < 0 or (options.bootstrap and options.fusion + options.segmenter):
        parser.error('--bootstrap takes a positive number and needs a --detector or --bundle')
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments, measure, print."""
    options = parse(arguments)
    title, table = measure_images(options) if options.images else measure_split(options)
    print(title)
    print(format_table(table))
    if options.output:
        rounded = {
            name: {key: round(value, 4) for key, value in row.items()}
            for name, row in table.items()
        }
        text = json.dumps(rounded, indent=2) + '\n'
        Path(options.output).write_text(text, encoding='utf-8')


if __name__ == '__main__':
    try:
        main()
    except FusionError as error:
        sys.exit(str(error))
