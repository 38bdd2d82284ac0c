"""
Play the demo bag to the real node over DDS, and check and show the results.

    python -m demo.run          (`make demo` creates the environment first)
    python -m demo.run -p model:=$PWD/models/mine     with a bundle of your own

Writes ``out/``: the recorded results (a bag), ``contact_sheet.png``, ``report.html`` (made by
``tdfusion view``) and ``report.json``. The exit status is 1 if less than 95 % of the possible
pairs are fused, or if the node logs an exception.
"""

import argparse
from collections import Counter
from collections.abc import Mapping
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
from typing import Any

import cv2
import numpy as np

from demo.player import drops
from demo.player import LATCHED
from demo.player import OUTPUTS
from demo.player import Player
from tdfusion_ros.atomic import write_file
from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.rgb_image import rgb_image
from tdfusion_ros.core.stamps import mutual_nearest
from tdfusion_ros.formats.bag_writer import BagWriter
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.image_files import write_image
from tdfusion_ros.tools.view.analysis import causes_of_loss
from tdfusion_ros.tools.view.analysis import classify_rgb_images
from tdfusion_ros.tools.view.moments import draw_boxes
from tdfusion_ros.tools.view.moments import picture
from tdfusion_ros.tools.view.recording import read_both
from tdfusion_ros.tools.view.recording import Recording
from tdfusion_ros.tools.view.report import render_report

ROOT = Path(__file__).resolve().parents[1]
MIN_SHARE = 0.95
SETTINGS = ('rgb.image_transport:=compressed', 'diagnostics_period_s:=0.5')
ROWS = 7
CELL_WH = (480, 360)


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


def make_report(result: Recording, source: Recording, status: Mapping[str, str]) -> dict[str, Any]:
    """Compare the results with what was played; ``status``: the node's last diagnostics."""
    rgb, ir, fused = source.times('rgb'), source.times('ir'), result.times('fused')
    images = classify_rgb_images(rgb, ir, fused, SyncConfig(), ())
    rgb_ns, ir_ns = np.array(rgb.stamps_ns, np.int64), np.array(ir.stamps_ns, np.int64)
    best = mutual_nearest(rgb_ns, ir_ns, SyncConfig().max_skew_ms * 1e6)
    best_skews_ms = np.abs(ir_ns[best[:, 1]] - rgb_ns[best[:, 0]]) / 1e6
    return {
        'pairs_possible': int(images.fused.sum() + images.lost.sum()) if images else 0,
        'pairs_published': min(len(fused.times_ns), len(result.times('detections').times_ns)),
        'pairs_lost': dict(causes_of_loss(source, images, result.node) if images else Counter()),
        'skew_ms_mean': round(float(status.get('abs_skew_ms_mean', 'nan')), 3),
        'skew_ms_best': round(float(best_skews_ms.mean()), 3),
        'latency_ms_p50': round(float(status.get('latency_ms_p50', 'nan')), 2),
        'latency_ms_p95': round(float(status.get('latency_ms_p95', 'nan')), 2),
        'dropped': drops(status),
        'exceptions': int(status.get('exceptions', 0)),
        'backend': status.get('backend', 'unknown'),
    }


def write_contact_sheet(result: Recording, source: Recording, path: Path) -> None:
    """Write rgb, ir and fused images with boxes side by side, for a few pairs of the whole bag."""
    found = set(result.times('detections').stamps_ns)
    stamps = [stamp for stamp in result.times('fused').stamps_ns if stamp in found]
    titles = np.full((36, 3 * CELL_WH[0], 3), 255, np.uint8)
    for column, title in enumerate(('rgb', 'ir', 'fused, with detections')):
        place = (column * CELL_WH[0] + 10, 25)
        cv2.putText(titles, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.7, (0, 0, 0), 1, cv2.LINE_AA)
    rows = [titles]
    for index in np.linspace(0, len(stamps) - 1, min(ROWS, len(stamps))).astype(int):
        stamp = stamps[index]
        nearest_ir = min(source.times('ir').stamps_ns, key=lambda other: abs(other - stamp))
        pixels = [
            rgb_image(picture(recording, role, recording.message(role, at_ns)))
            for recording, role, at_ns in (
                (source, 'rgb', stamp),
                (source, 'ir', nearest_ir),
                (result, 'fused', stamp),
            )
        ]
        rgb, ir, fused = (cv2.resize(p, CELL_WH, interpolation=cv2.INTER_AREA) for p in pixels)
        scale, boxes = CELL_WH[0] / pixels[2].shape[1], result.message('detections', stamp)
        rows.append(np.hstack([rgb, ir, draw_boxes(fused, boxes, result.class_names, scale)]))
    write_image(path, np.vstack(rows))


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
