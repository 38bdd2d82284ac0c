"""The ``tdfusion`` command: what can be done without a robot running."""

import argparse
from collections.abc import Sequence
import sys

from tdfusion_ros.commands import bench
from tdfusion_ros.commands import build
from tdfusion_ros.commands import calibrate
from tdfusion_ros.commands import doctor
from tdfusion_ros.commands import fuse
from tdfusion_ros.commands import params
from tdfusion_ros.commands import view
from tdfusion_ros.core.errors import FusionError

COMMANDS = (fuse, view, calibrate, bench, params, build, doctor)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; the exit status is 0, or 1 with one sentence on standard error."""
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
    top = argparse.ArgumentParser(prog='tdfusion', description='Infrared + RGB fusion.')
    commands = top.add_subparsers(dest='command', required=True, metavar='COMMAND')
    for command in COMMANDS:
        command.add(commands)
    return top


if __name__ == '__main__':
    sys.exit(main())
