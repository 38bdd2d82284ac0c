"""``tdfusion bench``: time every stage on this machine, at one or several image sizes."""

import argparse
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tdfusion_ros.atomic import add_output
from tdfusion_ros.atomic import check_file
from tdfusion_ros.atomic import write_json
from tdfusion_ros.core.config import BACKENDS
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.tools.bench.host import describe_environment
from tdfusion_ros.tools.bench.host import environment
from tdfusion_ros.tools.bench.message_pairs import PairSource
from tdfusion_ros.tools.bench.turns import time_in_turns
from tdfusion_ros.tools.bench.turns import Timing
from tdfusion_ros.tools.bench.workloads import RobotPath
from tdfusion_ros.tools.options import add_shared
from tdfusion_ros.tools.options import add_sizes
from tdfusion_ros.tools.options import config_of
from tdfusion_ros.tools.options import sizes_hw

WARM_UP = 10  # frames: caches, allocators and pairing settle
BLOCK = 10  # timed frames of one turn
DEMO_BAG = Path(__file__).resolve().parents[3] / 'demo' / 'm3svd_smoke'
COLUMNS = ('p50', 'p95', 'p99', 'mean')

Report = dict[str, Any]


def add(commands: Any) -> None:
    bench = commands.add_parser(
        'bench',
        help='time every stage of the fusion on this machine',
        description="Time the robot's path without DDS, from two messages in memory to the "
        'messages to be published: time of each stage, frames per second, memory.',
    )
    add = bench.add_argument
    text = 'a bag, or RGB_FOLDER IR_FOLDER; default: the demo bag of a clone'
    add('input', nargs='*', type=Path, metavar='INPUT', help=text)
    add('--frames', type=int, default=200, metavar='N', help='timed frames; default: 200')
    add_sizes(bench, 'resize both images; several sizes are timed in turns')
    add('--raw', action='store_true', help='convert compressed images to raw ones first')
    text = 'skip the fused image, as the node does if nobody subscribes to it'
    add('--detections-only', action='store_true', help=text)
    add('--backend', choices=BACKENDS, help='short for -p backend=...')
    add_output(bench, 'also write the report as JSON')
    add_shared(bench, pairs=False)
    bench.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Time, print, and write the report; return the exit status."""
    if options.frames < 1:
        raise ConfigError(f'--frames must be at least 1, got {options.frames}')
    if options.backend:
        options.param.append(f'backend={options.backend}')
    inputs = [*options.input, options.config]
    check_file(options.output, inputs, overwrite=options.overwrite)
    paths, topics = tuple(options.input), (options.rgb_topic, options.ir_topic)
    source = PairSource(paths or (demo_bag(),), topics, raw=options.raw)
    how = options.frames, sizes_hw(options.size)
    fused = not options.detections_only
    report = run_benchmark(source, config_of(options), *how, fused=fused)
    print(format_report(report))
    write_json(options.output, report)
    return 0


def demo_bag() -> Path:
    """Return the bag to use by default; ConfigError without the source tree, which has it."""
    if not DEMO_BAG.is_dir():
        raise ConfigError('the demo bag is not installed: name a bag, or two folders of images')
    return DEMO_BAG


def run_benchmark(
    source: PairSource,
    config: FusionConfig,
    frames: int,
    sizes_hw: Sequence[tuple[int, int]] = (),
    *,
    fused: bool = True,
) -> Report:
    """
    Time the robot's path.

    :param frames: timed frames at each size.
    :param sizes_hw: sizes to which both images are resized; empty: as they are.
    :param fused: False: without the fused image, as if nobody subscribes to it.
    :raises FusionError: if the input, the model or the engine cannot be used.
    """
    machine = environment()
    builds = {
        str(size_hw): partial(RobotPath, replace(source, size_hw=size_hw), config, fused=fused)
        for size_hw in sizes_hw or (source.size_hw,)
    }
    timings = time_in_turns(builds, frames=frames, block=BLOCK, warm_up=WARM_UP).values()
    runs = []
    for timing in timings:
        run = {**timing.facts, 'stages_ms': timing.percentiles_ms()}
        run['frames_per_second'] = round(1e3 / run['stages_ms']['total']['mean'], 2)
        runs.append(run | timing.usage)
    return {
        'schema': 1,
        'what': 'the robot path without DDS, one pair at a time',
        'environment': machine,
        'input': [str(path) for path in source.paths],
        'warm_up': WARM_UP,
        'frames': frames,
        'runs': runs,
        'growth': fit_growth(list(timings)),
    }


def fit_growth(timings: Sequence[Timing]) -> dict[str, dict[str, float]]:
    """
    Fit lines of time and memory over megapixels; empty below three sizes.

    :returns: for each figure ``fixed``, ``per_mpx`` with its 5th and 95th percentile ``low`` and
        ``high`` over the rounds (memory is measured once), and ``deviation``, the largest
        distance of a size from the line as a share of the largest value.
    """
    if len(timings) < 3:
        return {}
    mpx = np.array([timing.facts['megapixels'] for timing in timings])
    memory = [[t.usage['peak_mib'] - t.facts['before_model_mib']] for t in timings]
    figures = {
        f'{stage} ms': np.stack([timing.turn_medians_ms(stage) for timing in timings])
        for stage in ('network', 'total')
    }
    growth = {}
    for name, rounds in (figures | {'model MiB': np.array(memory)}).items():
        slopes = np.polyfit(mpx, rounds, 1)[0]
        values = np.median(rounds, axis=1)
        per_mpx, fixed = np.polyfit(mpx, values, 1)
        low, high = np.percentile(slopes, (5, 95))
        deviation = np.abs(fixed + per_mpx * mpx - values).max() / values.max()
        line = {'fixed': fixed, 'per_mpx': per_mpx, 'low': low, 'high': high}
        growth[name] = {k: float(v) for k, v in (line | {'deviation': deviation}).items()}
    return growth


def format_report(report: Report) -> str:
    """Return a report as tables for a terminal."""
    first = report['runs'][0]
    lines = [
        f'{first["model"]} ({first["sha256"][:12]}) on {first["backend"]}, {first["engine"]}',
        describe_environment(report['environment']),
        f'{first["pairs"]} pair{"" if first["pairs"] == 1 else "s"} ({first["images"]}) of '
        f'{" + ".join(report["input"])}: '
        f'{report["frames"]} frames after {report["warm_up"]} to warm up, one at a time, '
        f'without DDS; published: {first["published"]}',
    ]
    for run in report['runs']:
        lines += ['', f'{run["size"] + " [ms]":<16}' + ''.join(f'{c:>10}' for c in COLUMNS)]
        for stage, times in run['stages_ms'].items():
            lines.append(f'{stage:<16}' + ''.join(f'{times[c]:>10.3f}' for c in COLUMNS))
        lines.append(
            f'{run["frames_per_second"]:.1f} frames per second; {run["threads"]} threads; peak '
            f'memory {run["peak_mib"]:.0f} MiB, {run["before_model_mib"]:.0f} of it before the '
            'model was loaded'
        )
    return '\n'.join([*lines, *_format_growth(report['runs'], report['growth'])])


def _format_growth(runs: Sequence[Report], growth: Mapping[str, Mapping[str, float]]) -> list[str]:
    if len(runs) < 2:
        return []
    lines = ['', f'{"growth":<12}{"Mpx":>8}{"network ms":>12}{"total ms":>12}{"model MiB":>12}']
    for run in runs:
        network, total = (run['stages_ms'][stage]['p50'] for stage in ('network', 'total'))
        memory = run['peak_mib'] - run['before_model_mib']
        cells = ''.join(f'{value:>12.2f}' for value in (network, total, memory))
        lines.append(f'{run["size"]:<12}{run["megapixels"]:>8.3f}{cells}')
    for name, line in growth.items():
        spread = f' ({line["low"]:.1f} to {line["high"]:.1f})' if 'ms' in name else ''
        lines.append(
            f'{name}: {line["fixed"]:.1f} + {line["per_mpx"]:.1f}{spread} per Mpx; the line '
            f'deviates by at most {line["deviation"]:.1%} of the largest value'
        )
    if growth:
        lines.append('in parentheses: 5th to 95th percentile over the rounds')
    return lines
