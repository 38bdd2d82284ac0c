"""``tdfusion build``: engines ahead of time."""

import argparse
import sys
from typing import Any

from tdfusion_ros.tools.options import add_config
from tdfusion_ros.tools.options import config_of
from tdfusion_ros.tools.options import sizes_hw


def add(commands: Any) -> None:
    """Say what the command takes."""
    build = commands.add_parser(
        'build',
        help='build the engine ahead of time',
        description='Build what the backend of the config needs for cameras of these sizes, keep '
        'it in ~/.cache/tdfusion_ros, and exit. Only trt needs building; it takes minutes.',
    )
    build.add_argument(
        '--size',
        action='append',
        default=[],
        metavar='WIDTHxHEIGHT',
        help='of the rgb images, as 640x480 (the default); may be given again',
    )
    add_config(build)
    build.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Build the engines and say which they are."""
    from tdfusion_ros.build import build_engines

    wanted_hw = sizes_hw(options.size or ['640x480'])
    backend = build_engines(
        config_of(options), wanted_hw, lambda text: print(text, file=sys.stderr)
    )
    sizes = ', '.join(f'{width}x{height}' for height, width in wanted_hw)
    print(f'{backend.name} ({backend.engine}) is ready for {sizes}')
    return 0
