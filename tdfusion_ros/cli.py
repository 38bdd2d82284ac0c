"""The ``tdfusion`` command: everything that needs no running node."""

import argparse
from collections.abc import Sequence
import sys

from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.tools import build_engine as build
from tdfusion_ros.tools import fuse
from tdfusion_ros.tools import params
from tdfusion_ros.tools.bench import command as bench
from tdfusion_ros.tools.calibrate import command as calibrate
from tdfusion_ros.tools.doctor import command as doctor
from tdfusion_ros.tools.view import command as view

COMMANDS = (fuse, view, calibrate, bench, params, build, doctor)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; return 0, or 1 after printing one error line."""
    options = parser().parse_args(argv)
    try:
        return options.run(options)
    except FusionError as error:
        print(f'tdfusion: {error}', file=sys.stderr)
    except KeyboardInterrupt:
        print('tdfusion: interrupted', file=sys.stderr)
    return 1


def parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands."""
    top = argparse.ArgumentParser(
        prog='tdfusion',
        usage='tdfusion COMMAND ...',
        description='Fuse thermal and RGB images; tdfusion COMMAND --help describes a command.',
    )
    # The width of this metavar makes room for the longest name before its help.
    commands = top.add_subparsers(
        prog='tdfusion', dest='command', required=True, metavar='COMMAND [-h]'
    )
    for command in COMMANDS:
        command.add(commands)
    return top


if __name__ == '__main__':
    sys.exit(main())
