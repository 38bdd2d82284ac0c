"""
Do to the real node what happens on robots, one fault after the other, and judge what it does.

    python -m demo.faults                         (all, about two and a half minutes)
    python -m demo.faults --only 'ir camera' --only burst -o out/faults.json

Cameras are processes of their own that send real pictures over DDS; they are killed, restarted,
frozen, set to another time. For every fault the table says how many results came a second before
and meanwhile, what most of them were made of, how long after the end of the fault the first fresh
pair was there, how much of that DDS took to find a camera that was started again, how long it took
from there to the rate of before, how old the oldest result was, and by how much memory grew. The
exit status is 1 if the node did not survive, recovered late, was silent about a fault, or holds
more than before. Other work on the machine makes all times longer.
"""

from argparse import Namespace
from dataclasses import asdict
import os
from pathlib import Path
import sys
from typing import Any

from benchmarks.live.camera import Settings
from benchmarks.live.live_run import command
from benchmarks.live.live_run import run
from benchmarks.live.rig import Rig
from demo.faults.faults import Fault
from demo.faults.faults import FAULTS
from demo.faults.harms import small_disk
from demo.faults.judge import judge
from demo.faults.judge import leaks
from demo.faults.judge import mostly
from demo.faults.judge import table
from demo.faults.runner import do
from demo.run import start_node
from demo.run import stop_node
from tdfusion_ros.core.errors import BagError
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.tools.bench import host as machine
from tdfusion_ros.tools.bench.benchmark import described

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


def do_all(wanted: list[Fault], rig: Rig, well: Settings) -> list[dict[str, Any]]:
    """Do all faults and judge each; BagError names the one that ended the node."""
    told = []
    for fault in wanted:
        print(f'{fault.name} ...', file=sys.stderr, flush=True)
        try:
            seen = do(fault, rig, well)
        except BagError as error:
            raise BagError(f'{fault.name}: {error}') from error
        told.append({**asdict(seen), 'mostly': mostly(seen), 'wrong': judge(fault, seen)})
    return told


def measure(options: Namespace, log: Path) -> dict[str, Any]:
    """Start node and cameras, do all faults, end everything; return the report."""
    if options.hz <= 0:
        raise ConfigError('--hz must be above 0')
    facts, disk = machine.environment(), log.parent / 'disk'
    with small_disk(disk) as mounted:
        wanted, well = chosen(options.only, disk=mounted), Settings(hz=options.hz)
        settings = [*SETTINGS, *options.param]
        if mounted:
            os.environ['ROS_LOG_DIR'] = str(disk)
            settings.append(f'save_folder:={disk}')
        node = start_node(log, settings, module='demo.faults.node')
        try:
            with Rig(node, options.size, disk) as rig:
                rig.start(well)
                rig.watch(WARM_UP_S)
                before = rig.held()
                told = do_all(wanted, rig, well)
                rig.watch(LEASE_S, lambda: not leaks(before, rig.held()))
                after = rig.held()
        finally:
            status = stop_node(node)
    wrong = leaks(before, after)
    if status:
        wrong.append(f'the node ended with status {status}')
    if 'Traceback' in log.read_text(encoding='utf-8', errors='replace'):
        wrong.append('the node logged a traceback')
    what = {'schema': 1, 'what': 'faults done to the live node', 'environment': facts}
    given = {'size': options.size, 'hz': options.hz, 'disk': mounted}
    return {**what, **given, 'before': before, 'after': after, 'wrong': wrong, 'faults': told}


def text(report: dict[str, Any]) -> str:
    """Return a report as a table for a terminal."""
    faults, before, after = report['faults'], report['before'], report['after']
    well = sum(not told['wrong'] for told in faults)
    return '\n'.join(
        [
            described(report['environment']),
            f'{report["size"]}, both cameras at {report["hz"]:g} Hz',
            '',
            table(faults),
            '',
            'the node before and after all of it: '
            + ', '.join(f'{name} {before[name]:g} -> {after[name]:g}' for name in before),
            *(f'WRONG: {what}' for what in report['wrong']),
            *(() if report['disk'] else ('not done: full disks, which take root to mount one',)),
            f'{well} of {len(faults)} faults as expected',
        ]
    )


def main() -> int:
    """Do the faults; the exit status is 1 if anything is not as it has to be."""
    parser = command('faults', __doc__, hz=20.0)
    add = parser.add_argument
    add('--only', action='append', default=[], metavar='NAME', help='faults that begin so')
    add('--size', default='640x480', metavar='WIDTHxHEIGHT', help='default 640x480')
    report = run('faults', parser.parse_args(), measure, text)
    if report is None or report['wrong']:
        return 1
    return int(any(told['wrong'] for told in report['faults']))


if __name__ == '__main__':
    sys.exit(main())
