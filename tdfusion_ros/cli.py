"""The ``tdfusion`` command: everything that needs no running node."""

import argparse
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from signal import SIGINT
from signal import SIGPIPE
import sys

import tdfusion_ros
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.tools import build_engine as build
from tdfusion_ros.tools import compose_bundle as compose
from tdfusion_ros.tools import fuse
from tdfusion_ros.tools import params
from tdfusion_ros.tools.bench import benchmark as bench
from tdfusion_ros.tools.calibrate import command as calibrate
from tdfusion_ros.tools.doctor import command as doctor
from tdfusion_ros.tools.view import command as view

COMMANDS = (fuse, view, calibrate, bench, params, build, compose, doctor)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; return 0, 1 after printing one error line, or as a shell on a signal."""
    options = parser().parse_args(argv)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')  # names of files may not be UTF-8
    try:
        status: int = options.run(options)
        sys.stdout.flush()
        return status
    except FusionError as error:
        print(f'tdfusion: {error}', file=sys.stderr)
    except UnicodeEncodeError as error:
        name = ascii(error.object[:200])
        print(f'tdfusion: {name} is not UTF-8 and cannot be written: rename it', file=sys.stderr)
    except BrokenPipeError:  # the reader, as head, has enough
        _drop_output()
        return 128 + SIGPIPE
    except OSError as error:  # such as a full disk
        place = f'{error.filename}: ' if error.filename else ''
        print(f'tdfusion: {place}{error.strerror or error}', file=sys.stderr)
        _drop_output()
    except KeyboardInterrupt:
        print('tdfusion: interrupted', file=sys.stderr)
        return 128 + SIGINT
    return 1


def parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands."""
    top = argparse.ArgumentParser(
        prog='tdfusion',
        usage='tdfusion COMMAND ...',
        description='Fuse thermal and RGB images; tdfusion COMMAND --help describes a command.',
    )
    # The width of this option makes room for the longest name of a command before its help.
    version = f'tdfusion {tdfusion_ros.__version__}'
    top.add_argument('-V', '--version', action='version', version=version)
    commands = top.add_subparsers(
        prog='tdfusion', dest='command', required=True, metavar='COMMAND'
    )
    for command in COMMANDS:
        command.add(commands)
    return top


def _drop_output() -> None:
    """Close an output that takes no more, which Python would report again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            sys.stdout.close()


if __name__ == '__main__':
    sys.exit(main())
