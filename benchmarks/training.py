"""
Time what the host does in a training step, which limits training on a GPU.

    python -m benchmarks.training config/train/detector_coco.yaml data=DATA source=early \
        pretrained=yolox_nano.onnx

Takes the arguments of training.train. With the smallest crops the time of a step is that of Python
and of launching kernels. Times are processor times of one thread: other work hardly counts.
"""

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import replace
import statistics
import sys
from tempfile import TemporaryDirectory
from time import thread_time_ns

import torch

from training import shell
from training.config_reader import load_config
from training.data.batches import make_batch
from training.data.mixture import open_data
from training.loop.state import update_averages
from training.train import open_run
from training.train import prepare

PAIRS = 24
SMALL_HW = (64, 64)
RUNS = 20


def processor_ms(do: Callable[[int], object]) -> float:
    """Return the median time of ``do(i)`` [ms]; the first runs are not counted."""
    times = []
    for i in range(RUNS + 3):
        begun = thread_time_ns()
        do(i)
        times.append(1e-6 * (thread_time_ns() - begun))
    return statistics.median(times[3:])


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    parser = shell.parser('benchmarks.training', __doc__)
    parser.add_argument('settings', nargs='+', help='as of training.train')
    settings = parser.parse_args(arguments).settings
    with TemporaryDirectory() as folder:
        config = load_config([*settings, f'run={folder}', 'threads=1', 'workers=0'])
        device = prepare(config)
        samples = list(open_data(config.data, config.split)[:PAIRS])
        small = replace(config, crop_hw=SMALL_HW, batch=2)
        state, _ = open_run(small, device)
        batches = [make_batch(samples, small, step, device) for step in range(4)]

        def step(i: int) -> None:
            count = state.training.previous_batches
            previous = [batches[(i - n) % 4] for n in range(count, 0, -1)]
            state.training.step(i, batches[i % 4], previous)

        print(f'torch {torch.__version__}; {config.task}, [ms] of one thread')
        height, width = config.crop_hw
        for name, do in {
            f'step, 2 crops of {SMALL_HW[1]}x{SMALL_HW[0]}': step,
            'running averages': lambda i: update_averages(state, i),
            f'batch, {config.batch} crops of {width}x{height}': lambda i: make_batch(
                samples, config, i
            ),
            f'batch, {config.batch} crops of 32x32': lambda i: make_batch(
                samples, replace(config, crop_hw=(32, 32), scale_range=(1.0, 1.0)), i
            ),
        }.items():
            print(f'| {name} | {processor_ms(do):.1f} |')


if __name__ == '__main__':
    shell.run('benchmarks.training', lambda: main(sys.argv[1:]))
