"""``tdfusion bench``: how long every stage takes on this machine."""

import argparse
from pathlib import Path
from typing import Any

from tdfusion_ros.core.config import BACKENDS
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.tools.options import add_config
from tdfusion_ros.tools.options import add_topics
from tdfusion_ros.tools.options import check_output
from tdfusion_ros.tools.options import config_of
from tdfusion_ros.tools.options import sizes_hw


def add(commands: Any) -> None:
    """Say what the command takes."""
    bench = commands.add_parser(
        'bench',
        help='time every stage on this machine',
        description="Time the robot's path without DDS, from two messages in memory to the "
        'messages that are published: stages, frames a second, memory.',
    )
    bench.add_argument(
        'input',
        nargs='*',
        type=Path,
        metavar='INPUT',
        help='BAG, or RGB_FOLDER IR_FOLDER; default: the demo bag',
    )
    bench.add_argument('--frames', type=int, default=200, help='timed frames (default 200)')
    bench.add_argument(
        '--size',
        action='append',
        default=[],
        metavar='WIDTHxHEIGHT',
        help='resize both images; may be given again, then the sizes take turns',
    )
    bench.add_argument(
        '--raw', action='store_true', help='send compressed images as raw ones, as drivers do'
    )
    bench.add_argument(
        '--detections-only', action='store_true', help='as where nobody sees the fused image'
    )
    bench.add_argument('--backend', choices=BACKENDS, help='short for -p backend=…')
    bench.add_argument(
        '-o', '--output', type=Path, metavar='FILE', help='write the report as JSON'
    )
    add_topics(bench)
    add_config(bench)
    bench.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure, print, and write the report."""
    from tdfusion_ros.tools.bench import benchmark as bench
    from tdfusion_ros.tools.bench.pairs import Source

    if options.frames < 1:
        raise ConfigError(f'--frames must be at least 1, got {options.frames}')
    if options.backend:
        options.param.append(f'backend={options.backend}')
    check_output(options.output)
    source = Source(
        tuple(options.input) or (bench.demo_bag(),),
        (options.rgb_topic, options.ir_topic),
        raw=options.raw,
    )
    report = bench.bench(
        source,
        config_of(options),
        options.frames,
        sizes_hw(options.size),
        fused=not options.detections_only,
    )
    print(bench.text(report))
    bench.write_report(report, options.output)
    return 0
