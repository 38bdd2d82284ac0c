r"""
Measure runs or bundles: print a table, and write it as JSON with -o.

DATA is a data set in a layout of training/data/layouts.py. Where day and night or several sources
are known, each has its own rows. Detection (AP), segmentation (IoU and accuracy; all: mIoU and
mean accuracy), or fusion (its loss with w = 1/2) on a split:

    python -m training.evaluate --detector runs/detector_fused --data DATA --bootstrap 1000
    python -m training.evaluate --bundle models/msrs_rt --data DATA --split test
    python -m training.evaluate --segmenter runs/segmenter --data DATA --split test
    python -m training.evaluate --fusion runs/fusion --data DATA

A table of several detectors on several data sets, each in the classes that all know. A detector
of COCO (an ONNX file: YOLOX or NanoDet) reads each of the inputs, also the fused image of each
fusion run and bundle; a run or a bundle reads its own. "late": detections in rgb and in ir,
merged by non-maximum suppression.

    python -m training.evaluate --detector yolox_nano.onnx --detector nanodet_m.onnx \
        --bundle models/msrs_rt --fusion runs/direct --data DATA OTHER:all --bootstrap 1000

The eight figures of fusion quality, on a split or on two folders of pairs, of any number of runs
and bundles, with average and maximum for comparison:

    python -m training.evaluate --quality --bundle models/msrs_rt --data DATA --split test
    python -m training.evaluate --fusion runs/fusion --images DATA/vi DATA/ir --pictures out
"""

from argparse import ArgumentParser
from argparse import Namespace
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tdfusion_ros.atomic import add_output
from tdfusion_ros.atomic import check_file
from tdfusion_ros.atomic import NewOutput
from tdfusion_ros.atomic import write_json
from tdfusion_ros.formats.image_files import write_image
from training import shell
from training.data.datasets import Sample
from training.data.mixture import Data
from training.data.mixture import open_data
from training.measure import predictors
from training.measure import tables
from training.measure.cross_set import detect
from training.measure.cross_set import differences
from training.measure.cross_set import measured_classes
from training.measure.cross_set import open_competitors
from training.measure.predictors import Change
from training.measure.predictors import LATE
from training.measure.predictors import SIMPLE

INPUTS = (*SIMPLE, LATE)
PICTURES = 8
"""Largest number of pairs that --pictures writes, spread over the data set."""


def write_pictures(
    folder: Path, methods: Mapping[str, predictors.Fuser], samples: Sequence[Sample]
) -> None:
    """Write some pairs as ``NAME.png``: rgb, ir, then each fused luma in the colors of rgb."""
    for index in range(0, len(samples), -(-len(samples) // PICTURES)):
        sample = samples[index]
        luma = predictors.luma_levels(sample.rgb).astype(np.int16)
        changes = (fuse(sample) - luma for fuse in methods.values())
        fused = (np.clip(sample.rgb + c[..., None], 0, 255).astype(np.uint8) for c in changes)
        picture = np.hstack([sample.rgb, np.dstack([sample.ir] * 3), *fused])
        write_image(folder / f'{sample.name}.png', picture)


def open_sets(options: Namespace) -> list[Data]:
    """Return the data sets of --data: DATA, or DATA:SPLIT with a split of its own."""
    own = options.split
    parts = [n.rpartition(':') if ':' in n else (n, '', own) for n in options.data]
    needed = 'boxes' if options.detection else ''
    found = [open_data(root, split, needed) for root, _, split in parts]
    for data in found if options.detection else ():
        for remark in data.check():
            print(f'note: {remark}')
    return found


def measure_quality(options: Namespace) -> tuple[str, tables.Table]:
    """Return a title and the fusion quality of runs and bundles."""
    samples: Sequence[Sample]
    if options.images:
        title, samples = ' '.join(options.images), predictors.open_folders(*options.images)
    else:
        title, [samples] = f'{options.data[0]}, {options.split}', open_sets(options)
    methods = {run: predictors.run_fuser(run) for run in options.fusion}
    methods |= {model: predictors.bundle_fuser(model) for model in options.bundle}
    if options.pictures:
        with NewOutput(options.pictures) as folder:
            write_pictures(folder, methods, samples)
    table = tables.quality_table({**predictors.BASELINES, **methods}, samples)
    return f'{title}, {len(samples)} pairs; {tables.HOW}', table


def measure_network(options: Namespace) -> tuple[str, tables.Table]:
    """Return a title and the figures of one segmenter or fusion network on a data set."""
    [samples] = open_sets(options)
    [name] = options.fusion + options.segmenter
    if options.fusion:
        table = tables.loss_table(name, samples)
    else:
        classes = open_data(options.data[0], options.split, 'masks').mask_classes
        segment = predictors.run_segmenter(name, classes)
        table = tables.segmentation_table(segment, samples, classes)
    return f'{name} on {options.split}, {len(samples)} pairs', table


def measure_detection(options: Namespace) -> Mapping[str, Any]:
    """Print a table for each data set; return the figures by data set and detector."""
    change = Change(options.without, options.stretched)
    inputs = [*options.inputs, *options.fusion, *options.bundle]
    competitors = open_competitors(options.detector, options.bundle, inputs, change)
    sets = open_sets(options)
    classes_of = [measured_classes(competitors, data) for data in sets]  # all errors come first
    result = {}
    for name, data, (classes, words) in zip(options.data, sets, classes_of, strict=True):
        labels, found = detect(competitors, data, classes)
        how = {'resamples': options.bootstrap, 'gap': options.sequences}
        rows = {
            key: tables.precision_table(labels, one, classes, **how) for key, one in found.items()
        }
        against = options.against
        compared = differences(labels, found, against, classes=classes, **how) if against else {}
        print('; '.join(filter(None, (f'{name}, {len(labels)} pairs', str(change), words))))
        print(tables.compared_precision(rows, compared, against))
        result[name] = {' on '.join(key): tables.rounded(row) for key, row in rows.items()}
    figures = [row for part in result.values() for row in part.values()]
    return result if figures[1:] else figures[0]


def make_parser() -> ArgumentParser:
    """Return the parser of the options."""
    parser = shell.parser('training.evaluate', __doc__)
    add = parser.add_argument
    for name, text in (
        ('--detector', 'run folder of a detector, or an ONNX file; repeatable'),
        ('--segmenter', 'run folder of a segmenter'),
        ('--bundle', 'an exported model bundle; repeatable'),
        ('--fusion', 'run folder of a fusion network; repeatable'),
    ):
        add(name, action='append', default=[], metavar='PATH', help=text)
    add('--data', nargs='+', default=[], help='folders of data sets; or FOLDER:SPLIT')
    add('--split', default='val', help='name of the split; default: val')
    add('--inputs', nargs='*', default=INPUTS, choices=INPUTS, help='of ONNX files')
    add('--bootstrap', type=int, default=0, metavar='N', help='AP50: 95 %% interval, N resamples')
    add('--sequences', type=int, metavar='GAP', help='resample sequences: numbers grow by <= GAP')
    add('--against', default='', metavar='INPUT', help='differences from this input of ONNX files')
    add('--without', choices=('rgb', 'ir'), default='', help='detection with one image black')
    add('--stretched', action='store_true', help='detection with ir scaled as 16-bit counts')
    add('--quality', action='store_true', help='fusion quality on the split')
    add('--images', nargs=2, metavar=('RGB', 'IR'), help='fusion quality on two folders of pairs')
    text = 'with quality: new folder for some fused pairs'
    add('--pictures', type=Path, metavar='FOLDER', help=text)
    add_output(parser, 'write the figures as JSON')
    return parser


def parse(arguments: Sequence[str] | None) -> Namespace:
    """Return the options; contradicting ones end the program with a message."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    options.quality = options.quality or bool(options.images)
    options.detection = bool(options.detector or (options.bundle and not options.quality))
    tasks = options.detector + options.segmenter
    if options.quality and tasks:
        parser.error('fusion quality takes --fusion and --bundle')
    one = len(options.segmenter + options.fusion) == 1
    known = options.quality or options.detection or one
    if not known or (options.detection and options.segmenter):
        parser.error(
            'give --detector and --bundle, or one --segmenter, or one --fusion; '
            'or --quality or --images and any number of --fusion and --bundle'
        )
    files = [name for name in options.detector if Path(name).is_file()]
    if options.detection and options.fusion and not files:
        parser.error('--fusion beside detectors needs a --detector that is an ONNX file')
    if len({Path(name).stem for name in files}) < len(files):
        parser.error('--detector takes ONNX files of different names: rename one of them')
    if files and not (options.inputs or options.fusion or options.bundle):
        parser.error('ONNX files have nothing to read: name --inputs, --fusion or --bundle')
    if options.pictures and not options.quality:
        parser.error('--pictures needs --quality or --images')
    if (options.without or options.stretched) and not options.detection:
        parser.error('--without and --stretched need a --detector or --bundle')
    if options.bootstrap < 0 or (options.bootstrap and not options.detection):
        parser.error('--bootstrap takes a positive number and needs a --detector or --bundle')
    if (options.against or options.sequences is not None) and not options.bootstrap:
        parser.error('--against and --sequences need --bootstrap')
    compared = *options.inputs, *options.fusion, *options.bundle
    if options.against and options.against not in compared:
        parser.error(f'--against {options.against}: name one of the inputs')
    if not (options.data or options.images):
        parser.error('--data DATA is missing: the folder of the data set')
    if len(options.data) > 1 and not options.detection:
        parser.error('--data takes one data set, except for detectors')
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments, measure, print."""
    options = parse(arguments)
    check_file(options.output, overwrite=options.overwrite)
    content: Mapping[str, Any]
    if options.detection:
        content = measure_detection(options)
    else:
        title, table = measure_quality(options) if options.quality else measure_network(options)
        print(title)
        print(tables.format_table(table))
        content = tables.rounded(table)
    write_json(options.output, content)


if __name__ == '__main__':
    shell.run('evaluate', main)
