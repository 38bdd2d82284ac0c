"""
Measure runs or bundles: prints a table and, with -o, writes it as JSON.

DATA is a data set in a layout of training/data/layouts.py. Where day and night or several sources
are known, each has rows of its own. Detection (AP), segmentation (IoU and accuracy; all: mIoU and
mean accuracy), or fusion (the loss it was trained with) on a split:

    python -m training.evaluate --detector runs/detector_fused --bootstrap 1000
    python -m training.evaluate --bundle models/msrs_rt --data DATA --split test
    python -m training.evaluate --segmenter runs/segmenter --data DATA --split test
    python -m training.evaluate --fusion runs/fusion

The eight figures of fusion quality, on a split or on two folders of pairs, of any number of runs
and bundles beside average and maximum:

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
from training.measure.fusers import average
from training.measure.fusers import bundle_fuser
from training.measure.fusers import Fuser
from training.measure.fusers import maximum
from training.measure.fusers import open_folders
from training.measure.fusers import run_fuser
from training.measure.fusers import side_by_side
from training.measure.predictors import bundle_classes
from training.measure.predictors import bundle_predictor
from training.measure.predictors import open_labeled
from training.measure.predictors import run_predictor
from training.measure.predictors import run_segmenter
from training.measure.tables import detection_table
from training.measure.tables import format_table
from training.measure.tables import HOW
from training.measure.tables import loss_table
from training.measure.tables import quality_table
from training.measure.tables import rounded
from training.measure.tables import segmentation_table
from training.measure.tables import Table
from training.method.tasks import read_detector

PICTURES = 8
"""At most so many pairs, spread over the set, are shown."""


def write_pictures(folder: str, fusers: Mapping[str, Fuser], samples: Sequence[Sample]) -> None:
    """Write some pairs as ``NAME.png``: rgb, infrared, then what each fuser makes of them."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for index in range(0, len(samples), -(-len(samples) // PICTURES)):
        sample = samples[index]
        picture = side_by_side(sample, [fuse(sample) for fuse in fusers.values()])
        path = Path(folder) / f'{sample.name}.png'
        if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
            raise FusionError(f'{path} cannot be written')


def measure_quality(options: Namespace) -> tuple[str, Table]:
    """Return how good fused images are, what was measured in a line, and the figures."""
    if options.images:
        what, samples = ' '.join(options.images), open_folders(*options.images)
    else:
        what = f'{options.data}, {options.split}'
        samples = open_dataset(options.data, options.split)
    trained = {run: run_fuser(run) for run in options.fusion}
    trained |= {model: bundle_fuser(model) for model in options.bundle}
    if options.pictures:
        write_pictures(options.pictures, trained, samples)
    table = quality_table({'average': average, 'maximum': maximum, **trained}, samples)
    return f'{what}, {len(samples)} pairs; {HOW}', table


def measure_task(options: Namespace) -> tuple[str, Table]:
    """Return what was measured on a split of a data set, in a line, and the figures."""
    data, split = options.data, options.split
    [what] = options.fusion + options.segmenter + options.bundle + options.detector
    if options.fusion:
        samples = open_dataset(data, split)
        table = loss_table(what, samples)
    elif options.segmenter:
        classes = mask_classes(data, split)
        samples = open_dataset(data, split)
        table = segmentation_table(run_segmenter(what, classes), samples, classes)
    else:
        classes = bundle_classes(what) if options.bundle else read_detector(what)[1]
        samples = open_labeled(data, split, what, classes)
        predict = (
            bundle_predictor(what, options.without, stretched=options.stretched)
            if options.bundle
            else run_predictor(what)
        )
        table = detection_table(predict, samples, classes, options.bootstrap)
    changed = f', {options.without} black' if options.without else ''
    changed += ', ir stretched' if options.stretched else ''
    return f'{what} on {split}{changed}, {len(samples)} pairs', table


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
        ('--bundle', 'an exported model bundle; for fusion quality more than one'),
        ('--fusion', 'run folder of a fusion network; for fusion quality more than one'),
    ):
        add(name, action='append', default=[], metavar='FOLDER', help=what)
    add('--data', default='../shared/data/msrs_det', help='folder of the data set')
    add('--split', default='val', help='name of the split')
    add('--bootstrap', type=int, default=0, metavar='N', help='AP50: 95 %% interval, N resamples')
    add('--without', choices=('rgb', 'ir'), default='', help='a bundle: one image is black')
    add('--stretched', action='store_true', help='a bundle: ir as that of a 16-bit camera')
    add('--quality', action='store_true', help='fusion quality on the split')
    add('--images', nargs=2, metavar=('RGB', 'IR'), help='fusion quality on two folders of pairs')
    add('--pictures', metavar='FOLDER', help='with quality: where to write some pairs, fused')
    add('-o', '--output', help='JSON file to write')
    options = parser.parse_args(arguments)
    options.quality = options.quality or bool(options.images)
    tasks = options.detector + options.segmenter
    given = len(tasks + options.bundle + options.fusion)
    if options.quality and (tasks or options.bootstrap):
        parser.error('fusion quality is that of --fusion and --bundle, without --bootstrap')
    if not options.quality and (given != 1 or options.pictures):
        parser.error(
            'give one of --detector, --segmenter, --bundle, --fusion; '
            'or --quality or --images and any of the last two'
        )
    if (options.without or options.stretched) and (options.quality or not options.bundle):
        parser.error('--without and --stretched need one --bundle and no fusion quality')
    if options.bootstrap < 0 or (options.bootstrap and options.fusion + options.segmenter):
        parser.error('--bootstrap takes a positive number and needs a --detector or --bundle')
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments, measure, print."""
    options = parse(arguments)
    title, table = measure_quality(options) if options.quality else measure_task(options)
    print(title)
    print(format_table(table))
    if options.output:
        text = json.dumps(rounded(table), indent=2) + '\n'
        Path(options.output).write_text(text, encoding='utf-8')


if __name__ == '__main__':
    try:
        main()
    except FusionError as error:
        sys.exit(str(error))
