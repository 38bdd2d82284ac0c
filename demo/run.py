"""
Play the demo bag to the real node through DDS and judge what comes back.

    python -m demo.run          (`make demo` first makes the environment)

Writes ``out/``: the recorded result (a bag), ``contact_sheet.png``, ``report.html`` (what
``tdfusion view`` makes of it) and ``report.json``. The exit status is 1 if less than 95 % of the
possible pairs came out, or if the node met an exception.
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

from demo.player import play
from demo.results import contact_sheet
from demo.results import make_report
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.bags import BagWriter
from tdfusion_ros.tools.view.report import render_report
from tdfusion_ros.tools.view.report import write_html

ROOT = Path(__file__).resolve().parents[1]
ENOUGH = 0.95
SETTINGS = ('rgb.image_transport:=compressed', 'diagnostics_period_s:=0.5')


def set_up_dds() -> None:
    """Keep this demo to this machine and to itself, and let images through unharmed."""
    profile = str(ROOT / 'config' / 'fastdds_profile.xml')
    os.environ.update(
        ROS_DOMAIN_ID=str(random.SystemRandom().randrange(1, 100)),
        ROS_AUTOMATIC_DISCOVERY_RANGE='LOCALHOST',
        FASTRTPS_DEFAULT_PROFILES_FILE=profile,
        FASTDDS_DEFAULT_PROFILES_FILE=profile,
    )


def start_node(
    log: Path, settings: Sequence[str] = SETTINGS, module: str = 'tdfusion_ros.node.fusion_node'
) -> subprocess.Popen:
    """Start the fusion node as a robot does: its own process, configured by parameters."""
    command = [sys.executable, '-m', module, '--ros-args']
    command += ['--params-file', str(ROOT / 'config' / 'fusion.yaml')]
    for setting in settings:
        command += ['-p', setting]
    with log.open('w', encoding='utf-8') as stream:
        return subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, cwd=ROOT)


def stop_node(node: subprocess.Popen) -> int:
    """End the node as a terminal does; return its exit status."""
    node.send_signal(signal.SIGINT)
    try:
        return node.wait(timeout=10)
    except subprocess.TimeoutExpired:
        node.kill()
        return node.wait()


def main() -> int:
    """Run the demo; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('bag', nargs='?', type=Path, default=ROOT / 'demo' / 'msrs_drive')
    parser.add_argument('-o', '--output', type=Path, default=ROOT / 'out')
    options = parser.parse_args()
    set_up_dds()
    result = options.output / 'result'
    shutil.rmtree(result, ignore_errors=True)
    options.output.mkdir(parents=True, exist_ok=True)
    log = options.output / 'node.log'
    node = start_node(log)
    try:
        with BagReader(options.bag) as bag, BagWriter(result) as writer:
            status = play(bag, writer, is_alive=lambda: node.poll() is None)
    except FusionError as error:
        print(f'demo: {error}; the node said:\n{log.read_text()}', file=sys.stderr)
        return 1
    finally:
        exit_status = stop_node(node)
    report = make_report(options.bag, result, status)
    text = json.dumps(report, indent=2)
    (options.output / 'report.json').write_text(text + '\n', encoding='utf-8')
    contact_sheet(options.bag, result, options.output / 'contact_sheet.png')
    page = options.output / 'report.html'
    with BagReader(result) as bag, BagReader(options.bag) as inputs:
        write_html(page, render_report(bag, inputs))
    print(f'\n{text}\n\nLook at {page} and {options.output / "contact_sheet.png"}')
    busy = report['dropped'].get('busy', 0)
    if busy:
        print(
            f'{busy} pairs came while this machine still fused another: the newest one is taken, '
            'so that results are late by no more than one pair'
        )
    whole = report['pairs_published'] + busy >= ENOUGH * report['pairs_possible']
    if not whole or not report['pairs_published'] or report['exceptions'] or exit_status:
        print(f'demo: FAILED (node exit status {exit_status}), see {log}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
