"""
Do to the real node what happens on robots, one fault after the other, and judge what it does.

    python -m demo.faults                         (all, about four minutes)
    python -m demo.faults --only 'ir camera' --only burst -o out/faults.json

Cameras are processes of their own that send real pictures over DDS; they are killed, restarted,
frozen, delayed. For every fault the table says how many results came a second before and
meanwhile, what most of them were made of, how long after the end of the fault the first fresh pair
was there and how long it took from there to the rate of before, and the oldest result. The exit
status is 1 if the node did not survive, recovered late, was silent about a fault, or holds more
than before. Other work on the machine makes all times longer.
"""

from argparse import ArgumentParser
from argparse import Namespace
from argparse import RawDescriptionHelpFormatter
from dataclasses import asdict
import os
from pathlib import Path
import sys
from tempfile import TemporaryDirectory
from typing import Any

from demo.faults.faults import Fault
from demo.faults.faults import FAULTS
from demo.faults.harms import small_disk
from demo.faults.judge import judge
from demo.faults.judge import leaks
from demo.faults.judge import table
from demo.faults.judge import Verdict
from demo.faults.runner import do
from demo.live.camera import Settings
from demo.live.rig import Rig
from demo.run import set_up_dds
from demo.run import start_node
from demo.run import stop_node
from tdfusion_ros.bench import machine
from tdfusion_ros.bench.run import described
from tdfusion_ros.bench.run import write_report
from tdfusion_ros.commands.shared import check_output
from tdfusion_ros.core.errors import BagError
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FusionError

WARM_UP_S = 3.0
LEASE_S = 25.0  # Fast DDS holds what belonged to a killed participant for 20 s
SETTINGS = ('diagnostics_period_s:=0.1', 'input_timeout_s:=1.0')


def chosen(only: list[str], *, disk: bool) -> list[Fault]:
    """
    Return the faults whose names begin so; all, if none is named.

    :param disk: whether there is a small one to be filled.
    """
    known = [fault for fault in FAULTS if disk or not fault.disk]
    found = [f for f in known if not only or f.name.startswith(tuple(only))]
    if not found:
        raise ConfigError(f'no fault {only}; there are: {", ".join(f.name for f in known)}')
    return found


def do_all(wanted: list[Fault], rig: Rig, well: Settings) -> list[Verdict]:
    """Do all faults; BagError names the one that ended the node."""
    verdicts = []
    for fault in wanted:
        print(f'{fault.name} ...', file=sys.stderr, flush=True)
        try:
            verdicts.append(judge(fault, do(fault, rig, well)))
        except BagError as error:
            raise BagError(f'{fault.name}: {error}') from error
    return verdicts


def measure(
    options: Namespace, log: Path, disk: Path | None
) -> tuple[dict[str, Any], list[Verdict]]:
    """Start node and cameras, do all faults, end everything; return what became of it."""
    if options.hz <= 0:
        raise ConfigError('--hz must be above 0')
    wanted, well = chosen(options.only, disk=bool(disk)), Settings(hz=options.hz)
    facts = machine.environment()
    settings = [*SETTINGS, *options.param]
    if disk:
        os.environ['ROS_LOG_DIR'] = str(disk)
        settings.append(f'save_folder:={disk}')
    node = start_node(log, settings, module='demo.faults.node')
    try:
        with Rig(node, options.size, disk or Path()) as rig:
            rig.start(well)
            rig.watch(WARM_UP_S)
            before = rig.held()
            verdicts = do_all(wanted, rig, well)
            rig.watch(LEASE_S, lambda: not leaks(before, rig.held()))
            after = rig.held()
    finally:
        status = stop_node(node)
    wrong = leaks(before, after)
    if status:
        wrong.append(f'the node ended with status {status}')
    if 'Traceback' in log.read_text(encoding='utf-8', errors='replace'):
        wrong.append('the node logged a traceback')
    faults = [{**asdict(v.seen), 'mostly': v.made, 'wrong': v.wrong} for v in verdicts]
    what = {'schema': 1, 'what': 'faults done to the live node', 'environment': facts}
    given = {'size': options.size, 'hz': options.hz, 'disk': bool(disk)}
    held = {'before': before, 'after': after, 'wrong': wrong}
    return {**what, **given, **held, 'faults': faults}, verdicts


def text(report: dict[str, Any], verdicts: list[Verdict]) -> str:
    """Return a report as a table for a terminal."""
    before, after = report['before'], report['after']
    wrong = sum(bool(verdict.wrong) for verdict in verdicts)
    return '\n'.join(
        [
            described(report['environment']),
            f'{report["size"]}, both cameras at {report["hz"]:g} Hz',
            '',
            table(verdicts),
            '',
            'the node before and after all of it: '
            + ', '.join(f'{name} {before[name]:g} -> {after[name]:g}' for name in before),
            *(f'WRONG: {what}' for what in report['wrong']),
            *(() if report['disk'] else ('not done: full disks, which take root to mount one',)),
            f'{len(verdicts) - wrong} of {len(verdicts)} faults as expected',
        ]
    )


def main() -> int:
    """Do the faults; the exit status is 1 if anything is not as it has to be."""
    parser = ArgumentParser(
        prog='python -m demo.faults',
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('--only', action='append', default=[], metavar='NAME', help='faults that begin so')
    add('--hz', type=float, default=20.0, help='pictures a second of each camera (default 20)')
    add('--size', default='640x480', metavar='WIDTHxHEIGHT', help='default 640x480')
    add('-p', '--param', action='append', default=[], metavar='NAME:=VALUE', help='of the node')
    add('-o', '--output', type=Path, metavar='FILE', help='write the report as JSON')
    options = parser.parse_args()
    set_up_dds()
    with TemporaryDirectory() as folder, small_disk(Path(folder) / 'disk') as mounted:
        log = Path(folder) / 'node.log'
        try:
            check_output(options.output)
            report, verdicts = measure(options, log, Path(folder) / 'disk' if mounted else None)
        except FusionError as error:
            said = log.read_text() if log.exists() else ''
            print(f'faults: {error}; the node said:\n{said}', file=sys.stderr)
            return 1
    print(text(report, verdicts))
    write_report(report, options.output)
    return int(bool(report['wrong']) or any(verdict.wrong for verdict in verdicts))


if __name__ == '__main__':
    sys.exit(main())
