"""``tdfusion bench``: time every stage on this machine."""

import argparse
from pathlib import Path
from typing import Any

from tdfusion_ros.atomic import check_file
from tdfusion_ros.atomic import write_json
from tdfusion_ros.core.config import BACKENDS
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.tools.options import add_shared
from tdfusion_ros.tools.options import add_sizes
from tdfusion_ros.tools.options import config_of
from tdfusion_ros.tools.options import sizes_hw


def add(commands: Any) -> None:
    """Add the command."""
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
    add('-o', '--output', type=Path, metavar='FILE', help='also write the report as JSON')
    add_shared(bench, pairs=False)
    bench.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Time, print, and write the report; return the exit status."""
    from tdfusion_ros.tools.bench import benchmark
    from tdfusion_ros.tools.bench.message_pairs import PairSource

    if options.frames < 1:
        raise ConfigError(f'--frames must be at least 1, got {options.frames}')
    if options.backend:
        options.param.append(f'backend={options.backend}')
    check_file(options.output, overwrite=options.overwrite)
    paths, topics = tuple(options.input), (options.rgb_topic, options.ir_topic)
    source = PairSource(paths or (benchmark.demo_bag(),), topics, raw=options.raw)
    how = options.frames, sizes_hw(options.size)
    fused = not options.detections_only
    report = benchmark.run_benchmark(source, config_of(options), *how, fused=fused)
    print(benchmark.format_report(report))
    write_json(options.output, report)
    return 0
