"""
Play the demo bag to the real node over DDS, and check and show the results.

    python -m demo.run          (`make demo` creates the environment first)
    python -m demo.run -p model:=$PWD/models/mine     with a bundle of your own

Writes ``out/``: the recorded results (a bag), ``contact_sheet.png``, ``report.html`` (made by
``tdfusion view``) and ``report.json``. The exit status is 1 if less than 95 % of the possible
pairs are fused, or if the node logs an exception.
"""

import argparse
from collections.abc import Sequence
import json
import os
from pathlib import Path
import random
import shutil
import signal
import subprocess
import sys
from time import time_ns

from demo.player import LATCHED
from demo.player import OUTPUTS
from demo.player import Player
from demo.results import make_report
from demo.results import read_both
from demo.results import write_contact_sheet
from tdfusion_ros.atomic import write_file
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.formats.bag_writer import BagWriter
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.tools.view.report import render_report

ROOT = Path(__file__).resolve().parents[1]
MIN_SHARE = 0.95
SETTINGS = ('rgb.image_transport:=compressed', 'diagnostics_period_s:=0.5')


def dds_environment() -> dict[str, str]:
    """Return variables that keep DDS on this machine, in a random domain, without image loss."""
    profile = str(ROOT / 'config' / 'fastdds_profile.xml')
    return {
        # The tests use the domains below.
        'ROS_DOMAIN_ID': str(random.SystemRandom().randrange(81, 102)),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'FASTRTPS_DEFAULT_PROFILES_FILE': profile,
        'FASTDDS_DEFAULT_PROFILES_FILE': profile,
    }


def start_node(log: Path, settings: Sequence[str]) -> subprocess.Popen:
    """Start the fusion node in its own process, configured by ``NAME:=VALUE`` settings."""
    command = [sys.executable, '-m', 'tdfusion_ros.node', '--ros-args']
    command += ['--params-file', str(ROOT / 'config' / 'fusion.yaml')]
    for setting in settings:
        command += ['-p', setting]
    with log.open('w', encoding='utf-8') as stream:
        return subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, cwd=ROOT)


def stop_node(node: subprocess.Popen) -> int:
    """Interrupt the node as a terminal does; return its exit status."""
    node.send_signal(signal.SIGINT)
    try:
        return node.wait(timeout=10)
    except subprocess.TimeoutExpired:
        node.kill()
        return node.wait()


def play(bag: Path, result: Path, node: subprocess.Popen) -> dict[str, str]:
    """Play a bag and record the results; return the last diagnostics, or raise FusionError."""
    with BagReader(bag) as reader, BagWriter(result) as writer:

        def record(topic: str, data: bytes) -> None:
            writer.write(topic, OUTPUTS[topic], time_ns(), data, latched=topic in LATCHED)

        with Player(reader.topics(), record, lambda: node.poll() is None) as player:
            player.wait_for_node()
            player.play(reader)
            return player.status


def main() -> int:
    """Run the demo; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('bag', nargs='?', type=Path, default=ROOT / 'demo' / 'm3svd_smoke')
    parser.add_argument('-o', '--output', type=Path, default=ROOT / 'out')
    parser.add_argument('-p', action='append', default=[], metavar='NAME:=VALUE', help='parameter')
    options = parser.parse_args()
    os.environ.update(dds_environment())
    result, log = options.output / 'result', options.output / 'node.log'
    shutil.rmtree(result, ignore_errors=True)
    options.output.mkdir(parents=True, exist_ok=True)
    node = start_node(log, (*SETTINGS, *options.p))
    try:
        status = play(options.bag, result, node)
    except FusionError as error:
        print(f'demo: {error}; log of the node:\n{log.read_text()}', file=sys.stderr)
        return 1
    finally:
        exit_status = stop_node(node)
    sheet, page = options.output / 'contact_sheet.png', options.output / 'report.html'
    with BagReader(result) as results, BagReader(options.bag) as inputs:
        both = read_both(results, inputs)
        report = make_report(*both, status)
        write_contact_sheet(*both, sheet)
        write_file(page, render_report(results, inputs))
    text = json.dumps(report, indent=2)
    write_file(options.output / 'report.json', text + '\n')
    print(f'\n{text}\n\nLook at {page} and {sheet}')
    busy = report['pairs_lost'].get('busy', 0)
    if busy:
        print(
            f'{busy} busy: each of these pairs arrived during another one; the node fuses the '
            'newest pair, so that a result is late by one pair at most'
        )
    enough = report['pairs_published'] + busy >= MIN_SHARE * report['pairs_possible']
    if not enough or not report['pairs_published'] or report['exceptions'] or exit_status:
        print(f'demo: FAILED (node exit status {exit_status}), see {log}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
