"""
Train a detector from scratch on every input with every seed, and compare them in a table.

    python -m training.compare data=DATA --fused ours=runs/learned fixed=runs/fusion --seeds 0 1 2
    python -m training.compare data=DATA --seeds 0 1 2 --parallel 8      # on a GPU: 8 at a time

Rows are the simple inputs (ir, rgb, average, maximum, early: both channels) and the fusion runs
of --fused. All rows use the same settings (config/train/detector.yaml, then KEY=VALUE) and the
same seeds. Finished runs are only measured, so the table can be interrupted and extended. All
runs are checked before the first step. Figures of each seed are written to OUTPUT/table.json.
"""

from argparse import Namespace
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time
from typing import Any

import numpy as np
import torch

from tdfusion_ros.atomic import write_json
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FusionError
from training import shell
from training.checkpoint import is_run
from training.checkpoint import make_folder
from training.checkpoint import read_description
from training.config import recorded_settings
from training.config import result_settings
from training.config import TrainConfig
from training.config_reader import config_from_mapping
from training.config_reader import load_config
from training.data.datasets import Sample
from training.data.mixture import Data
from training.data.mixture import open_data
from training.measure import predictors
from training.measure import tables
from training.measure.bootstrap import bootstrap_ap50
from training.measure.bootstrap import bootstrap_difference
from training.method.task_networks import read_detector
from training.train import open_run
from training.train import train

SCHEDULE = Path(__file__).parents[1] / 'config' / 'train' / 'detector.yaml'
SIMPLE = ('ir', 'rgb', 'average', 'maximum', 'early')
FIGURES = ('AP50', 'AP75', 'AP50-95')
RESAMPLES = 1000
OUTPUT = 'output.txt'
"""What a run prints that is trained in parallel to others, in its folder."""


@dataclass(frozen=True)
class Row:
    """The runs of one input and what they detect; one entry per seed."""

    runs: list[TrainConfig]
    found: list[list[Detections]] = field(default_factory=list)
    precision: list[tables.Table] = field(default_factory=list)
    """Of each class and all, then of all by stratum."""


def make_rows(options: Namespace) -> dict[str, Row]:
    """Return the rows of the table with the settings of their runs."""
    inputs = {name: (name, '') for name in options.simple}
    for pair in options.fused:
        name, _, run = pair.partition('=')
        if not run:
            raise ConfigError(f'--fused {pair}: expected NAME=RUN')
        if name in inputs:
            raise ConfigError(f'--fused {pair}: there is another row {name}; choose another name')
        inputs[name] = ('fused', run)
    if not inputs:
        raise ConfigError('nothing to compare: name inputs with --simple, runs with --fused')
    rows = {}
    for name, (source, fusion) in inputs.items():
        last = [f'source={source}', f'fusion={fusion}']
        config = load_config([str(SCHEDULE), f'run={options.output}', *options.settings, *last])
        rows[name] = Row(
            [replace(config, seed=s, run=f'{options.output}/{name}_{s}') for s in options.seeds]
        )
    return rows


def is_finished(config: TrainConfig) -> bool:
    """Return whether a run is finished; ConfigError if it was trained with other settings."""
    if not is_run(config.run):
        return False
    recorded = recorded_settings(read_description(config.run)['config'])
    same_fusion = recorded.get('fusion', '') == asdict(config)['fusion']
    # Compared with all defaults: settings that are newer than the run have their default.
    same = result_settings(config_from_mapping(recorded)) == result_settings(config)
    if not same or not same_fusion:
        raise ConfigError(f'{config.run} was trained with other settings; choose another -o')
    return True


def check_runs(rows: Mapping[str, Row], split: str) -> Data:
    """Check all data and runs before the first step, and return the data to measure on."""
    config = next(iter(rows.values())).runs[0]
    classes = open_data(config.data, config.split).classes
    data = predictors.open_labeled(config.data, split, 'the detector', classes)
    for config in (config for row in rows.values() for config in row.runs):
        if is_finished(config):
            predictors.run_predictor(config.run)
            predictors.open_labeled(config.data, split, config.run, read_detector(config.run)[1])
        else:
            make_folder(config.run)
            open_run(config, torch.device('cpu'))
    return data


def train_and_measure(
    rows: Mapping[str, Row], samples: Sequence[Sample], classes: Sequence[str]
) -> None:
    """Fill the rows, all of one seed before the next."""
    for runs in zip(*(row.runs for row in rows.values()), strict=True):
        for row, config in zip(rows.values(), runs, strict=True):
            if not is_finished(config):
                print(f'training {config.run}')
                train(config, open_data(config.data, config.split)[: config.limit or None])
            predict = predictors.run_predictor(config.run)
            found = [predict(sample) for sample in samples]
            table = tables.precision_table(samples, found, classes)
            kept = [*classes, *(name for name in table if name.startswith('all'))]
            row.found.append(found)
            row.precision.append({name: table[name] for name in kept})


def train_side_by_side(configs: Sequence[TrainConfig], count: int) -> None:
    """
    Train several runs at a time; they end with this process.

    :raises FusionError: when the others have ended, naming each run that failed and why.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    waiting, failed = list(configs), []
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < count:
                config = waiting.pop(0)
                running[config.run] = _start(config)
                print(f'training {config.run}, see {OUTPUT} there', flush=True)
            time.sleep(0.1)
            for run in [run for run, process in running.items() if process.poll() is not None]:
                status = running.pop(run).returncode
                print(f'{run} is finished' if not status else f'{run} failed', flush=True)
                failed += [f'{run} ({_last_line(run)})'] if status else []
    finally:
        for process in running.values():
            process.terminate()  # not SIGINT, which a shell lets jobs in the background ignore
        for process in running.values():
            process.wait()
    if failed:
        raise FusionError(
            f'{len(failed)} of {len(configs)} runs failed; the same command repeats only these: '
            f'{", ".join(failed)}'
        )


def _start(config: TrainConfig) -> 'subprocess.Popen[bytes]':
    values = asdict(config).items()
    settings = [f'{k}={v if isinstance(v, str) else json.dumps(v)}' for k, v in values]
    Path(config.run).mkdir(parents=True, exist_ok=True)
    with (Path(config.run) / OUTPUT).open('wb') as output:
        return subprocess.Popen(
            [sys.executable, '-m', 'training.train', *settings],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(map(os.path.abspath, sys.path))},
            start_new_session=True,  # Ctrl-C reaches only us, and we end it
        )


def _last_line(run: str) -> str:
    lines = (Path(run) / OUTPUT).read_text(encoding='utf-8', errors='replace').splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), 'no output')


def format_row(
    name: str, row: Row, intervals: Mapping[str, Mapping[str, float]], reference: str
) -> list[str]:
    """Return the cells of a row: mean and deviation over seeds, intervals of the first seed."""

    def figure(key: str, column: str) -> str:
        values = [precision[key][column] for precision in row.precision]
        if np.isnan(values).any():
            return '-'
        deviation = f' ± {np.std(values, ddof=1):.3f}' if len(values) > 1 else ''
        return f'{np.mean(values):.3f}{deviation}'

    own, difference = intervals.values()
    return [
        name,
        *(figure('all', column) for column in FIGURES),
        f'{own["AP50 low"]:.3f} to {own["AP50 high"]:.3f}',
        '' if name == reference else f'{difference["low"]:+.3f} to {difference["high"]:+.3f}',
        *(figure(key, 'AP50') for key in row.precision[0] if key != 'all'),
    ]


def parse(arguments: Sequence[str] | None) -> Namespace:
    """Return the options."""
    parser = shell.parser('training.compare', __doc__)
    add = parser.add_argument
    add('settings', nargs='*', metavar='KEY=VALUE', help='settings of the detector; first')
    add('--fused', nargs='*', default=[], metavar='NAME=RUN', help='fusion runs')
    add('--simple', nargs='*', default=list(SIMPLE), choices=SIMPLE, help='default: all')
    add('--seeds', nargs='+', type=int, default=[0], help='default: 0')
    add('--split', default='val', help='split to measure on; default: val')
    add('--against', help='row that the others are compared with; default: the first')
    add('--parallel', type=int, default=1, help='runs at a time, in processes; default: 1')
    add('-o', '--output', default='runs/compare', help='folder of the runs; default: runs/compare')
    options = parser.parse_args(arguments)
    if len(set(options.seeds)) < len(options.seeds):
        parser.error('--seeds takes different numbers')
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Check all runs, train those that are missing, measure, print."""
    options = parse(arguments)
    rows = make_rows(options)
    reference = options.against or next(iter(rows))
    if reference not in rows:
        raise ConfigError(f'--against {reference}: the rows are {", ".join(rows)}')
    data = check_runs(rows, options.split)
    make_folder(options.output)
    if options.parallel > 1:
        runs = [config for row in rows.values() for config in row.runs]
        missing = [config for config in runs if not is_finished(config)]
        train_side_by_side(missing, options.parallel)
    samples = list(data)
    train_and_measure(rows, samples, data.classes)
    how: dict[str, Any] = {'classes': data.classes, 'resamples': RESAMPLES}
    base = rows[reference].found[0]
    intervals = {}
    for name, row in rows.items():
        own = bootstrap_ap50(samples, row.found[0], **how)['all']
        difference = bootstrap_difference(samples, row.found[0], base, **how)['all']
        intervals[name] = {'own': own, f'against {reference}': difference}
    others = [f'AP50 {key}' for key in rows[reference].precision[0] if key != 'all']
    head = ['input', *FIGURES, 'AP50, 95 %', f'minus {reference}, 95 %', *others]
    body = [format_row(name, row, intervals[name], reference) for name, row in rows.items()]
    steps = rows[reference].runs[0].steps
    print(f'{len(samples)} pairs of {options.split}, seeds {options.seeds}, {steps} steps')
    print(tables.markdown_table(head, body))
    content = {
        name: {'seeds': [tables.rounded(p) for p in row.precision], 'first seed': intervals[name]}
        for name, row in rows.items()
    }
    write_json(Path(options.output) / 'table.json', content)


if __name__ == '__main__':
    shell.run('compare', main)
