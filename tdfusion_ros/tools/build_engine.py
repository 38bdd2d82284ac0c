"""``tdfusion build``: build inference engines ahead of time."""

import argparse
from dataclasses import replace
import sys
from typing import Any

from tdfusion_ros.backends.bundle import read_bundle
from tdfusion_ros.backends.engine_cache import check_cache
from tdfusion_ros.backends.trt import compile_for
from tdfusion_ros.build import build_pipeline
from tdfusion_ros.build import find_bundle
from tdfusion_ros.tools.options import add_config
from tdfusion_ros.tools.options import add_sizes
from tdfusion_ros.tools.options import config_of
from tdfusion_ros.tools.options import sizes_hw


def add(commands: Any) -> None:
    build = commands.add_parser(
        'build',
        help='build the inference engine ahead of time (trt only)',
        description='Build the engine of the configured backend for cameras of these sizes and '
        'keep it in ~/.cache/tdfusion_ros. Only backend trt needs it; it takes minutes.',
    )
    text = (
        'compile for the GPU of another machine, without a GPU here: sm86 (RTX 30), sm89 '
        '(RTX 40), sm120 (RTX 50) or sm121; needs the extra rtx on both machines'
    )
    build.add_argument('--target', metavar='SM', help=text)
    add_sizes(build, 'size of the rgb images; default: 640x480')
    add_config(build)
    build.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Build the engines and report them; return the exit status."""
    config = config_of(options, 'model', 'backend', 'cpu_threads')
    sizes = sizes_hw(options.size or ['640x480'])
    if options.target or config.backend in ('auto', 'trt'):
        check_cache()

    def report(text: str) -> None:
        print(text, file=sys.stderr)

    if options.target:
        bundle = read_bundle(find_bundle(config.model))
        places = compile_for(options.target, bundle, sizes, report)
        print(f'copy to ~/.cache/tdfusion_ros of the machine with {options.target}:')
        print(*places, sep='\n')
        return 0
    config = replace(config, calibration='', class_filter=())  # of the node that reads the file
    backend = build_pipeline(config, report, sizes).backend
    ready = ', '.join(f'{width}x{height}' for height, width in sizes)
    print(f'{backend.name} ({backend.engine}) is ready for {ready}')
    return 0
