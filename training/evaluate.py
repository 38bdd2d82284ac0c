"""
Measure runs or bundles: print a table, and write it as JSON with -o.

DATA is a data set in a layout of training/data/layouts.py. Where day and night or several sources
are known, each has its own rows. Detection (AP), segmentation (IoU and accuracy; all: mIoU and
mean accuracy), or fusion (its training loss) on a split:

    python -m training.evaluate --detector runs/detector_fused --data DATA --bootstrap 1000
    python -m training.evaluate --bundle models/msrs_rt --data DATA --split test
    python -m training.evaluate --segmenter runs/segmenter --data DATA --split test
    python -m training.evaluate --fusion runs/fusion --data DATA

The eight figures of fusion quality, on a split or on two folders of pairs, of any number of runs
and bundles, with average and maximum for comparison:

    python -m training.evaluate --quality --bundle models/msrs_rt --data DATA --split test
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

from tdfusion_ros.core.errors import FusionError
from training.data.datasets import mask_classes
from training.data.datasets import open_dataset
from training.data.datasets import Sample
from training.measure import fusers
from training.measure import predictors
from training.measure import tables
from training.method.task_networks import read_detector

PICTURES = 8
"""Largest number of pairs that --pictures writes, spread over the data set."""


def write_pictures(
    folder: str, methods: Mapping[str, fusers.Fuser], samples: Sequence[Sample]
) -> None:
    """Write some pairs as ``NAME.png``: rgb, ir, then the output of each fuser."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for index in range(0, len(samples), -(-len(samples) // PICTURES)):
        sample = samples[index]
        picture = fusers.side_by_side(sample, [fuse(sample) for fuse in methods.values()])
        path = Path(folder) / f'{sample.name}.png'
        if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
            raise FusionError(f'{path} cannot be written')


def measure_quality(options: Namespace) -> tuple[str, tables.Table]:
    """Return a title and the fusion quality of runs and bundles."""
    if options.images:
        title, samples = ' '.join(options.images), fusers.open_folders(*options.images)
    else:
        title = f'{options.data}, {options.split}'
        samples = open_dataset(options.data, options.split)
    methods = {run: fusers.run_fuser(run) for run in options.fusion}
    methods |= {model: fusers.bundle_fuser(model) for model in options.bundle}
    if options.pictures:
        write_pictures(options.pictures, methods, samples)
    table = tables.quality_table({**fusers.BASELINES, **methods}, samples)
    return f'{title}, {len(samples)} pairs; {tables.HOW}', table


def measure_task(options: Namespace) -> tuple[str, tables.Table]:
    """Return a title and the figures of one run or bundle on a split of a data set."""
    data, split = options.data, options.split
    [name] = options.fusion + options.segmenter + options.bundle + options.detector
    if options.fusion:
        samples = open_dataset(data, split)
        table = tables.loss_table(name, samples)
    elif options.segmenter:
        classes = mask_classes(data, split)
        samples = open_dataset(data, split)
        segment = predictors.run_segmenter(name, classes)
        table = tables.segmentation_table(segment, samples, classes)
    else:
        if options.bundle:
            classes = predictors.bundle_classes(name)
            detect = predictors.bundle_predictor(
                name, options.without, stretched=options.stretched
            )
        else:
            classes, detect = read_detector(name)[1], predictors.run_predictor(name)
        samples = predictors.open_labeled(data, split, name, classes)
        table = tables.detection_table(detect, samples, classes, options.bootstrap)
    changed = f', {options.without} black' if options.without else ''
    changed += ', ir stretched' if options.stretched else ''
    return f'{name} on {split}{changed}, {len(samples)} pairs', table


def parse(arguments: Sequence[str] | None) -> Namespace:
    """Return the options; contradicting ones end the program with a message."""
    parser = ArgumentParser(
        prog='python -m training.evaluate',
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    for name, text in (
        ('--detector', 'run folder of a detector'),
        ('--segmenter', 'run folder of a segmenter'),
        ('--bundle', 'an exported model bundle; repeatable for fusion quality'),
        ('--fusion', 'run folder of a fusion network; repeatable for fusion quality'),
    ):
        add(name, action='append', default=[], metavar='FOLDER', help=text)
    add('--data', help='folder of the data set')
    add('--split', default='val', help='name of the split; default: val')
    add('--bootstrap', type=int, default=0, metavar='N', help='AP50: 95 %% interval, N resamples')
    add('--without', choices=('rgb', 'ir'), default='', help='with a bundle: one image is black')
    add('--stretched', action='store_true', help='with a bundle: ir scaled as 16-bit counts')
    add('--quality', action='store_true', help='fusion quality on the split')
    add('--images', nargs=2, metavar=('RGB', 'IR'), help='fusion quality on two folders of pairs')
    add('--pictures', metavar='FOLDER', help='with quality: write some fused pairs there')
    add('-o', '--output', help='JSON file to write')
    options = parser.parse_args(arguments)
    options.quality = options.quality or bool(options.images)
    tasks = options.detector + options.segmenter
    given = len(tasks + options.bundle + options.fusion)
    if options.quality and (tasks or options.bootstrap):
        parser.error('fusion quality takes --fusion and --bundle, and no --bootstrap')
    if not options.quality and (given != 1 or options.pictures):
        parser.error(
            'give one of --detector, --segmenter, --bundle, --fusion; '
            'or --quality or --images and any number of the last two'
        )
    if (options.without or options.stretched) and (options.quality or not options.bundle):
        parser.error('--without and --stretched need one --bundle and no fusion quality')
    if options.bootstrap < 0 or (options.bootstrap and options.fusion + options.segmenter):
        parser.error('--bootstrap takes a positive number and needs a --detector or --bundle')
    if not (options.data or options.images):
        parser.error('--data DATA is missing: the folder of the data set')
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments, measure, print."""
    options = parse(arguments)
    title, table = measure_quality(options) if options.quality else measure_task(options)
    print(title)
    print(tables.format_table(table))
    if options.output:
        text = json.dumps(tables.rounded(table), indent=2) + '\n'
        Path(options.output).write_text(text, encoding='utf-8')


if __name__ == '__main__':
    try:
        main()
    except (FusionError, OSError) as error:
        sys.exit(f'evaluate: {error}')
