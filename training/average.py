r"""
Average the weights of detectors that were trained from the same pretrained weights.

    python -m training.average runs/a runs/b --shares 0.4 0.4 -o runs/detector

The rest of the shares goes to the weights that the first run started from. Runs on different data
that go back to the same pretrained weights, with a low learning rate, are together better than
each of them (Wortsman et al., Model soups, ICML 2022). The result is a run to export; it reads
what the first one reads.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from tdfusion_ros.atomic import NewOutput
from tdfusion_ros.core.errors import FusionError
from training import shell
from training.bundle.history import MEAN_OF
from training.checkpoint import read_description
from training.checkpoint import save_run
from training.method.task_networks import make_detector
from training.method.task_networks import read_detector


@torch.no_grad()
def average(runs: Sequence[str], shares: Sequence[float], folder: Path) -> None:
    """
    Write the run with the average of the weights of detectors.

    :param shares: of each run; the rest to 1 goes to the weights that the first run started from.
    :raises FusionError: if the runs have other classes, inputs or pretrained weights.
    """
    description = read_description(runs[0])
    networks = [read_detector(run) for run in runs]
    starts = [str(read_description(run).get('pretrained', '')) for run in runs]
    origins = [start.split(';')[0] for start in starts]  # a run may go on from another
    first, classes = networks[0]
    for run, (network, names), origin in zip(runs, networks, origins, strict=True):
        if not origin:
            raise FusionError(f'{run} did not start from pretrained weights: name one that did')
        if (network.config, names, origin) != (first.config, classes, origins[0]):
            raise FusionError(
                f'{run} and {runs[0]} must have the same classes and pretrained weights'
            )
    given = description['config']['pretrained']
    result = make_detector(classes, given, first.config.inputs)
    rest = 1 - sum(shares)
    weights = result.state_dict()
    for name, value in weights.items():
        value.mul_(rest)
        for share, (network, _) in zip(shares, networks, strict=True):
            value.add_(network.state_dict()[name], alpha=share)
    parts = [f'runs/{Path(run).name} ({share:g})' for run, share in zip(runs, shares, strict=True)]
    mean = f'the weights are the mean of {", ".join(parts)} and these ({rest:g})'
    others = [str(Path(run).resolve()) for run in runs[1:]]
    description |= {'pretrained': f'{starts[0]}; {mean}', MEAN_OF: others}
    save_run(folder, result, description)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments and write the averaged run."""
    parser = shell.parser('training.average', __doc__)
    parser.add_argument('runs', nargs='+', metavar='RUN', help='folder of a run')
    parser.add_argument('--shares', nargs='+', type=float, required=True, metavar='S')
    meaning = 'run to write'
    parser.add_argument('-o', '--output', type=Path, required=True, metavar='RUN', help=meaning)
    options = parser.parse_args(arguments)
    if len(options.shares) != len(options.runs):
        parser.error('--shares takes a number for each run')
    if not (min(options.shares) >= 0 and sum(options.shares) <= 1 + 1e-9):  # nan is neither
        parser.error('--shares takes numbers of 0 or more whose sum is at most 1')
    with NewOutput(options.output) as folder:
        average(options.runs, options.shares, folder)
    print(
        f'{options.output} is the mean; next: python -m training.export {options.output} -o BUNDLE'
    )


if __name__ == '__main__':
    shell.run('average', main)
