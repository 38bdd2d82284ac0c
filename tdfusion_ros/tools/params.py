"""``tdfusion params``: every parameter, its default and its meaning."""

import argparse
from typing import Any

from tdfusion_ros.tools.parameter_reference import parameter_table
from tdfusion_ros.tools.parameter_reference import parameter_yaml


def add(commands: Any) -> None:
    """Say what the command takes."""
    params = commands.add_parser(
        'params',
        help='print every parameter with its default and meaning',
        description='Print a parameter file to copy and change.',
    )
    params.add_argument('--markdown', action='store_true', help='as a table instead')
    params.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print them."""
    print(parameter_table() if options.markdown else parameter_yaml(), end='')
    return 0
