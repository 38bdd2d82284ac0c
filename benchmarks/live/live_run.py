"""What the commands that run the live node share: options, and how one ends."""

from argparse import ArgumentParser
from argparse import Namespace
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path
import sys
from tempfile import TemporaryDirectory
from typing import Any

from demo.run import set_up_dds
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.tools.bench.benchmark import write_report
from tdfusion_ros.tools.options import check_output


def command(name: str, doc: str, hz: float) -> ArgumentParser:
    """
    Return a parser with the options that all have.

    :param hz: pairs a second by default.
    """
    parser = ArgumentParser(
        prog=f'python -m demo.{name}',
        description=doc,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('--hz', type=float, default=hz, help=f'pairs a second (default {hz:g})')
    add('-p', '--param', action='append', default=[], metavar='NAME:=VALUE', help='of the node')
    add('-o', '--output', type=Path, metavar='FILE', help='write the report as JSON')
    return parser


def run(
    name: str,
    options: Namespace,
    measure: Callable[[Namespace, Path], dict[str, Any]],
    text: Callable[[dict[str, Any]], str],
) -> dict[str, Any] | None:
    """
    Measure, tell and write the report; None where that failed, after saying so.

    :param measure: gets the options and the file that the node is to log into.
    """
    set_up_dds()
    with TemporaryDirectory() as folder:
        log = Path(folder) / 'node.log'
        try:
            check_output(options.output)
            report = measure(options, log)
        except FusionError as error:
            said = log.read_text() if log.exists() else ''
            print(f'{name}: {error}; the node said:\n{said}', file=sys.stderr)
            return None
    print(text(report))
    write_report(report, options.output)
    return report
