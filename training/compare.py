"""
Train the detector afresh on every input, with every seed, and print who wins.

    python -m training.compare --fused ours=runs/learned fixed=runs/fusion --seeds 0 1 2

Rows are the simple inputs (ir, rgb, average, maximum, early: both channels) and the fusion runs
that are named. Every row has the same schedule (config/train/detector.yaml) and the same seeds; a
run that is finished already is only measured, so the table can be grown and interrupted.
"""

from argparse import ArgumentParser
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import replace
import json
from pathlib import Path
import sys

import numpy as np

from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FusionError
from training.bootstrap import bootstrap_ap50
from training.checkpoint import DESCRIPTION
from training.checkpoint import read_description
from training.config import load_config
from training.config import TrainConfig
from training.datasets import load_samples
from training.datasets import Sample
from training.metrics import average_precision
from training.predictors import run_predictor
from training.train import train

SIMPLE = ('ir', 'rgb', 'average', 'maximum', 'early')
FIGURES = ('AP50', 'AP75', 'AP50-95')
RESAMPLES = 1000


def trained(config: TrainConfig, samples: Sequence[Sample]) -> str:
    """Return the folder of a detector trained as ``config`` says; train it if it is not there."""
    if not (Path(config.run) / DESCRIPTION).is_file():
        print(f'training {config.run}')
        train(config, samples)
    elif read_description(config.run)['config'] != json.loads(json.dumps(asdict(config))):
        raise ConfigError(f'{config.run} was trained with other settings; choose another -o')
    return config.run


def measure(run: str, samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """Return AP per class, and for all with its bootstrap interval over images."""
    predict = run_predictor(run)
    found = [predict(sample) for sample in samples]
    table = average_precision(samples, found)
    interval = bootstrap_ap50(samples, found, resamples=RESAMPLES)['all']
    return {**table, 'interval': interval}


def row_of(name: str, tables: Sequence[dict[str, dict[str, float]]]) -> str:
    """Return one line of the table: mean and deviation over seeds, interval of the first seed."""
    cells = [name]
    for figure in FIGURES:
        values = [table['all'][figure] for table in tables]
        spread = f' ± {np.std(values, ddof=1):.3f}' if len(values) > 1 else ''
        cells.append(f'{np.mean(values):.3f}{spread}')
    interval = tables[0]['interval']
    cells.append(f'{interval["AP50 low"]:.3f} to {interval["AP50 high"]:.3f}')
    names = [name for name in tables[0] if name not in ('all', 'interval')]
    cells += [f'{np.mean([table[name]["AP50"] for table in tables]):.3f}' for name in names]
    return '| ' + ' | '.join(cells) + ' |'


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments, train what is missing, measure, print."""
    parser = ArgumentParser(
        prog='python -m training.compare',
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument('settings', nargs='*', metavar='KEY=VALUE', help='of the detector')
    parser.add_argument('--fused', nargs='*', default=[], metavar='NAME=RUN', help='fusion runs')
    parser.add_argument('--simple', nargs='*', default=list(SIMPLE), choices=SIMPLE)
    parser.add_argument('--seeds', nargs='+', type=int, default=[0])
    parser.add_argument('--split', default='val', help='split to measure on')
    parser.add_argument('-o', '--output', default='runs/compare', help='folder of the runs')
    options = parser.parse_args(arguments)
    base = load_config(['config/train/detector.yaml', 'fusion=unset', *options.settings])
    rows = {name: replace(base, source=name, fusion='') for name in options.simple}
    for pair in options.fused:
        name, _, run = pair.partition('=')
        rows[name] = replace(base, source='fused', fusion=run)
    learn = load_samples(base.data, base.split, base.limit)
    test = load_samples(base.data, options.split)
    found: dict[str, list] = {}
    for seed in options.seeds:  # all rows of one seed before the next: a table early
        for name, config in rows.items():
            folder = f'{options.output}/{name}_{seed}'
            run = trained(replace(config, seed=seed, run=folder), learn)
            found.setdefault(name, []).append(measure(run, test))
    classes = [name for name in found[next(iter(found))][0] if name not in ('all', 'interval')]
    head = ['input', *FIGURES, 'AP50, 95 % of resampled images', *(f'AP50 {c}' for c in classes)]
    print(f'{len(test)} pairs of {options.split}, seeds {options.seeds}, {base.steps} steps')
    print('| ' + ' | '.join(head) + ' |\n|' + '---|' * len(head))
    print('\n'.join(row_of(name, tables) for name, tables in found.items()))
    text = json.dumps(found, indent=2) + '\n'
    (Path(options.output) / 'table.json').write_text(text, encoding='utf-8')


if __name__ == '__main__':
    try:
        main()
    except FusionError as error:
        sys.exit(str(error))
