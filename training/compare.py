"""
Train the detector afresh on every input, with every seed, and print who wins.

    python -m training.compare data=DATA --fused ours=runs/learned fixed=runs/fusion --seeds 0 1 2

Rows are the simple inputs (ir, rgb, average, maximum, early: both channels) and the fusion runs
that are named. Every row has the same schedule (config/train/detector.yaml, then KEY=VALUE) and
the same seeds; a run that is finished already is only measured, so the table can be grown and
interrupted. What is known of each row is written to OUTPUT/table.json.
"""

from argparse import ArgumentParser
from argparse import Namespace
from argparse import RawDescriptionHelpFormatter
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import replace
import json
from pathlib import Path
import sys
from typing import Any

import numpy as np

from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FusionError
from training.checkpoint import DESCRIPTION
from training.checkpoint import read_description
from training.config import facts
from training.config import recorded_settings
from training.config import TrainConfig
from training.config_reader import config_from_mapping
from training.config_reader import load_config
from training.data.batches import cache_samples
from training.data.datasets import open_dataset
from training.data.datasets import Sample
from training.measure.bootstrap import bootstrap_ap50
from training.measure.bootstrap import bootstrap_difference
from training.measure.metrics import average_precision
from training.measure.predictors import open_labeled
from training.measure.predictors import run_predictor
from training.measure.tables import indices_by_stratum
from training.measure.tables import markdown_table
from training.measure.tables import rounded
from training.method.tasks import read_detector
from training.train import train

SCHEDULE = Path(__file__).parents[1] / 'config' / 'train' / 'detector.yaml'
SIMPLE = ('ir', 'rgb', 'average', 'maximum', 'early')
FIGURES = ('AP50', 'AP75', 'AP50-95')
RESAMPLES = 1000

Found = list[Detections]
Precision = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Test:
    """What is measured on."""

    samples: Sequence[Sample]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """What was found with one input, and how right it is; one entry for each seed."""

    found: list[Found]
    precision: list[Precision]
    """Of each class and all, then of all by stratum."""


def trained(config: TrainConfig) -> str:
    """Return the folder of a detector trained as ``config`` says; train it if it is not there."""
    if not (Path(config.run) / DESCRIPTION).is_file():
        print(f'training {config.run}')
        data = open_dataset(config.data, config.split)
        train(config, cache_samples(data[: config.limit] if config.limit else data))
        return config.run
    # Through the defaults, so that a setting that is new since then is the default of now.
    told = recorded_settings(read_description(config.run)['config'])
    same_fusion = told.get('fusion', '') == asdict(config)['fusion']
    if facts(config_from_mapping(told)) != facts(config) or not same_fusion:
        raise ConfigError(f'{config.run} was trained with other settings; choose another -o')
    return config.run


def measure(found: Found, test: Test) -> Precision:
    """Return average precision of each class and of all, then of all by stratum."""
    result = average_precision(test.samples, found, classes=test.classes)
    for suffix, chosen in indices_by_stratum([sample.strata for sample in test.samples]).items():
        if suffix:
            part = [test.samples[i] for i in chosen], [found[i] for i in chosen]
            result[f'all{suffix}'] = average_precision(*part, classes=test.classes)['all']
    return result


def rows_of(options: Namespace) -> dict[str, TrainConfig]:
    """Return what each row of the table is trained as, but for its seed and folder."""

    def row(source: str, fusion: str = '') -> TrainConfig:
        last = [f'source={source}', f'fusion={fusion}']
        return load_config([str(SCHEDULE), f'run={options.output}', *options.settings, *last])

    rows = {name: row(name) for name in options.simple}
    for pair in options.fused:
        name, _, run = pair.partition('=')
        rows[name] = row('fused', run)
    return rows


def fill(rows: Mapping[str, TrainConfig], options: Namespace, test: Test) -> dict[str, Row]:
    """Train what is missing and measure: all rows of one seed before the next, a table early."""
    result = {name: Row([], []) for name in rows}
    for seed in options.seeds:
        for name, config in rows.items():
            run = trained(replace(config, seed=seed, run=f'{options.output}/{name}_{seed}'))
            open_labeled(config.data, options.split, run, read_detector(run)[1])
            predict = run_predictor(run)
            found = [predict(sample) for sample in test.samples]
            result[name].found.append(found)
            result[name].precision.append(measure(found, test))
    return result


def intervals(name: str, rows: Mapping[str, Row], against: str, test: Test) -> dict[str, Any]:
    """Return the interval of AP50, and that of its difference to another row; first seed."""
    found, other = rows[name].found[0], rows[against].found[0]
    how: dict[str, Any] = {'classes': test.classes, 'resamples': RESAMPLES}
    own = bootstrap_ap50(test.samples, found, **how)
    difference = bootstrap_difference(test.samples, found, other, **how)
    return {'own': own['all'], f'against {against}': difference['all']}


def cells(name: str, row: Row, spread: Mapping[str, Any], against: str) -> list[str]:
    """Return one line of the table: mean and deviation over seeds, intervals of the first seed."""

    def figure(key: str, kind: str) -> str:
        values = [precision[key][kind] for precision in row.precision]
        deviation = f' ± {np.std(values, ddof=1):.3f}' if len(values) > 1 else ''
        return f'{np.mean(values):.3f}{deviation}'

    own, difference = spread['own'], spread[f'against {against}']
    told = f'{difference["low"]:+.3f} to {difference["high"]:+.3f}'
    return [
        name,
        *(figure('all', kind) for kind in FIGURES),
        f'{own["AP50 low"]:.3f} to {own["AP50 high"]:.3f}',
        '' if name == against else told,
        *(figure(key, 'AP50') for key in row.precision[0] if key != 'all'),
    ]


def parse(arguments: Sequence[str] | None) -> Namespace:
    """Return the options."""
    parser = ArgumentParser(
        prog='python -m training.compare',
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument('settings', nargs='*', metavar='KEY=VALUE', help='of the detector; first')
    parser.add_argument('--fused', nargs='*', default=[], metavar='NAME=RUN', help='fusion runs')
    parser.add_argument('--simple', nargs='*', default=list(SIMPLE), choices=SIMPLE)
    parser.add_argument('--seeds', nargs='+', type=int, default=[0])
    parser.add_argument('--split', default='val', help='split to measure on')
    parser.add_argument('--against', help='row to which the others are compared; default: first')
    parser.add_argument('-o', '--output', default='runs/compare', help='folder of the runs')
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments, train what is missing, measure, print."""
    options = parse(arguments)
    configs = rows_of(options)
    first = next(iter(configs.values()), None)
    if first is None:
        raise ConfigError('nothing to compare: name inputs with --simple, runs with --fused')
    against = options.against or next(iter(configs))
    if against not in configs:
        raise ConfigError(f'--against {against}: the rows are {", ".join(configs)}')
    data = open_dataset(first.data, options.split)
    test = Test(list(data), data.classes)
    rows = fill(configs, options, test)
    spread = {name: intervals(name, rows, against, test) for name in rows}
    strata_and_classes = [key for key in rows[against].precision[0] if key != 'all']
    head = ['input', *FIGURES, 'AP50, 95 %', f'minus {against}, 95 %']
    print(f'{len(data)} pairs of {options.split}, seeds {options.seeds}, {first.steps} steps')
    body = [cells(name, row, spread[name], against) for name, row in rows.items()]
    print(markdown_table([*head, *(f'AP50 {key}' for key in strata_and_classes)], body))
    told = {
        name: {'seeds': [rounded(p) for p in row.precision], 'first seed': spread[name]}
        for name, row in rows.items()
    }
    text = json.dumps(told, indent=2) + '\n'
    (Path(options.output) / 'table.json').write_text(text, encoding='utf-8')


if __name__ == '__main__':
    try:
        main()
    except FusionError as error:
        sys.exit(str(error))
