"""
Send pairs at a steady rate to the real node over DDS and print the age of its results.

    python -m benchmarks.latency                      (30 Hz, the images of the demo bag)
    python -m benchmarks.latency BAG --hz 15 --size 1280x1024 --raw -p backend:=trt

A result's age runs from the moment before the later image of its pair is sent until the fused
image has arrived; it includes DDS in both directions. The node's own measurements, from the
arrival of that image to the publication, are printed as well. Nothing else should run meanwhile;
the sender needs part of a core, too.
"""

from argparse import ArgumentParser
from argparse import Namespace
from collections.abc import Sequence
import os
from pathlib import Path
import sys
from tempfile import TemporaryDirectory
from time import monotonic
from time import time_ns
from typing import Any

import numpy as np

from benchmarks.stream import SKEW_NS
from benchmarks.stream import Stream
from demo.player import drops
from demo.player import drops_text
from demo.player import Player
from demo.run import dds_environment
from demo.run import start_node
from demo.run import stop_node
from tdfusion_ros.atomic import add_output
from tdfusion_ros.atomic import check_file
from tdfusion_ros.atomic import write_json
from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.formats.messages import cdr_stamp_ns
from tdfusion_ros.formats.messages import to_frame
from tdfusion_ros.tools.bench.benchmark import demo_bag
from tdfusion_ros.tools.bench.host import describe_environment
from tdfusion_ros.tools.bench.host import environment
from tdfusion_ros.tools.bench.message_pairs import image_encoding
from tdfusion_ros.tools.bench.message_pairs import load_pairs
from tdfusion_ros.tools.bench.message_pairs import PairSource
from tdfusion_ros.tools.options import sizes_hw
from training import shell

WARM_UP_S = 2.0
SETTLE_S = 2.0
STAGES = ('latency_ms', 'queue_ms', 'network_ms', 'publish_ms')  # of the node's diagnostics


def send(player: Player, streams: Sequence[Stream], hz: float, seconds: float) -> dict[int, float]:
    """Send each pair when it is due; return when, by stamp of rgb [ns], monotonic [s]."""
    rgb, ir = streams
    sent, start_s, start_ns = {}, monotonic(), time_ns()
    for turn in range(round(hz * seconds)):
        stamp_ns = start_ns + round(turn / hz * 1e9)
        messages = rgb.message(turn, stamp_ns), ir.message(turn, stamp_ns + SKEW_NS)
        player.spin(start_s + turn / hz - monotonic())
        player.publish(rgb.topic, messages[0])
        sent[stamp_ns] = monotonic()
        player.publish(ir.topic, messages[1])
    player.spin(SETTLE_S)
    return sent


def summary(sent: dict[int, float], received: dict[int, float]) -> dict[str, Any]:
    """Summarize the pairs that were sent after the warm-up; FusionError if too few came back."""
    start_s = next(iter(sent.values())) + WARM_UP_S
    offered = {stamp: at for stamp, at in sent.items() if at >= start_s}
    fused = [stamp for stamp in offered if stamp in received]
    if len(fused) < 3:
        raise FusionError(f'{len(fused)} of {len(offered)} pairs came back')
    at_s = np.array([offered[stamp] for stamp in fused]) - start_s
    ages_ms = np.array([received[stamp] - offered[stamp] for stamp in fused]) * 1e3
    quantiles_ms = np.percentile(ages_ms, (50, 95, 99, 100)).tolist()
    # A queue that gets 1 % more pairs than the engine fuses doubles the age within seconds; less
    # is other work on the machine.
    line = fit_line(at_s, ages_ms)
    span_s = max(offered.values()) - start_s
    marks = ('p50', 'p95', 'p99', 'worst')
    return {
        'offered': len(offered),
        'fused': len(fused),
        'sent_hz': round((len(offered) - 1) / span_s, 2),
        'age_ms': {m: round(ms, 3) for m, ms in zip(marks, quantiles_ms, strict=True)},
        'slope_ms_per_s': round(line['slope'], 3),
        'slope_error_ms_per_s': round(line['error'], 3),
        'grows': grows(line, share=1.0),
    }


def fit_line(at_s: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """
    Fit a line by least squares.

    :returns: ``slope`` per second and its standard ``error``, which takes into account that
        neighboring values resemble each other; ``start`` and ``growth`` along the line.
    """
    centered = at_s - at_s.mean()
    slope = float(centered @ values / (centered @ centered))
    rest = values - values.mean() - slope * centered
    spread = rest @ rest
    error = float(np.sqrt(spread / (len(rest) - 2) / (centered @ centered)))
    correlation = float(np.clip(rest[1:] @ rest[:-1] / spread, 0.0, 0.95)) if spread > 0 else 0.0
    return {
        'slope': slope,
        'error': error * ((1 + correlation) / (1 - correlation)) ** 0.5,
        'start': float(values.mean() + slope * centered[0]),
        'growth': slope * float(at_s[-1] - at_s[0]),
    }


def grows(line: dict[str, float], share: float = 0.1) -> bool:
    """Return whether a line of ages rises for certain, and by more than a share of its start."""
    return line['slope'] > 2 * line['error'] and line['growth'] > share * line['start']


def measure(options: Namespace, log: Path) -> dict[str, Any]:
    """Start the node, send pairs, stop the node; return the report."""
    if options.hz <= 0 or options.seconds <= 0:
        raise ConfigError('--hz and --seconds must be above 0')
    (size_hw,) = sizes_hw([options.size]) if options.size else (None,)
    source = PairSource(tuple(options.input) or (demo_bag(),), size_hw=size_hw, raw=options.raw)
    pairs = load_pairs(source, SyncConfig())
    report = {
        'schema': 1,
        'what': 'age of results of the live node',
        'environment': environment(),
        'input': [str(path) for path in source.paths],
        'images': ' + '.join(map(image_encoding, pairs[0])),
        'size': '{1}x{0}'.format(*to_frame(pairs[0][0]).size_hw),
        'asked_hz': options.hz,
        'seconds': options.seconds,
    }
    rgb, ir = (Stream(name, [p[i] for p in pairs]) for i, name in enumerate(('rgb', 'ir')))
    received: dict[int, float] = {}

    def record(topic: str, data: bytes) -> None:
        if topic == '/fused/image_raw':
            received[cdr_stamp_ns(data)] = monotonic()

    settings = [f'rgb.image_transport:={rgb.transport}', f'ir.image_transport:={ir.transport}']
    node = start_node(log, (*settings, 'diagnostics_period_s:=0.5', *options.param))
    try:
        topics = {rgb.topic: rgb.type, ir.topic: ir.type}
        with Player(topics, record, lambda: node.poll() is None) as player:
            player.wait_for_node()
            before_s = processor_s(node.pid)
            sent = send(player, (rgb, ir), options.hz, WARM_UP_S + options.seconds)
            busy_s = processor_s(node.pid) - before_s
            status = player.status
    finally:
        stop_node(node)
    report |= summary(sent, received)
    report['processor_ms_per_pair'] = round(busy_s * 1e3 / len(received), 2)
    wanted = [f'{name}_{mark}' for name in STAGES for mark in ('p50', 'p95')]
    report['node_ms'] = {name: float(status[name]) for name in wanted if name in status}
    return report | {'dropped': drops(status), 'backend': status.get('backend', 'unknown')}


def processor_s(pid: int) -> float:
    """Return the processor time that all threads of a process have used [s]."""
    fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def text(report: dict[str, Any]) -> str:
    """Return a report as lines for a terminal."""
    age, node = report['age_ms'], report['node_ms']
    stages = ', '.join(
        f'{name.removesuffix("_ms")} {node[f"{name}_p50"]:.1f} / {node[f"{name}_p95"]:.1f}'
        for name in STAGES
        if f'{name}_p50' in node
    )
    return '\n'.join(
        [
            describe_environment(report['environment']),
            f'{report["size"]} {report["images"]} of {" + ".join(report["input"])}, backend '
            f'{report["backend"]}, {report["sent_hz"]:.1f} of {report["asked_hz"]:g} Hz for '
            f'{report["seconds"]:g} s after a warm-up of {WARM_UP_S:g} s',
            f'fused {report["fused"]} of {report["offered"]} pairs; dropped, warm-up included: '
            f'{drops_text(report["dropped"])}',
            f'sent to received [ms]: p50 {age["p50"]:.1f}, p95 {age["p95"]:.1f}, p99 '
            f'{age["p99"]:.1f}, worst {age["worst"]:.1f}',
            f'within the node [ms], p50 / p95 of the last 300 pairs: {stages or "unknown"}',
            f'processor time of the node: {report["processor_ms_per_pair"]:.1f} ms for each pair',
            f'it {"GROWS" if report["grows"] else "does not grow"}: '
            f'{report["slope_ms_per_s"]:+.2f} ms per second, standard error '
            f'{report["slope_error_ms_per_s"]:.2f}',
        ]
    )


def parser() -> ArgumentParser:
    """Return the parser of the command line."""
    made = shell.parser('benchmarks.latency', __doc__)
    add = made.add_argument
    add('input', nargs='*', type=Path, help='bag, or rgb and ir folder; default: the demo bag')
    add('--hz', type=float, default=30.0, help='pairs per second (default 30)')
    add('--seconds', type=float, default=20.0, help='after the warm-up (default 20)')
    add('--size', metavar='WIDTHxHEIGHT', help='resize both images')
    add('--raw', action='store_true', help='send compressed images as raw ones, as drivers do')
    add('-p', '--param', action='append', default=[], metavar='NAME:=VALUE', help='of the node')
    add_output(made, 'write the report as JSON')
    return made


def main() -> int:
    """Measure; the exit status is 1 if nothing came back or ages grow."""
    options = parser().parse_args()
    os.environ.update(dds_environment())
    with TemporaryDirectory() as folder:
        log = Path(folder) / 'node.log'
        try:
            check_file(options.output, overwrite=options.overwrite)
            report = measure(options, log)
        except FusionError as error:
            lines = log.read_text() if log.exists() else ''
            print(f'latency: {error}; log of the node:\n{lines}', file=sys.stderr)
            return 1
    print(text(report))
    write_json(options.output, report)
    return int(report['grows'])


if __name__ == '__main__':
    sys.exit(main())
