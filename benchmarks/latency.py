"""
Send pairs at a steady rate to the real node through DDS and say how old its results are.

    python -m benchmarks.latency                      (30 Hz, the pictures of the demo bag)
    python -m benchmarks.latency BAG --hz 15 --size 1280x1024 --raw -p backend:=trt

A result's age is counted from the moment before the later image of its pair is sent until the
fused image has arrived: both ways through DDS are in it. What the node itself measures, from the
arrival of that image to the publication, is told beside it. Nothing else should run meanwhile;
the sender needs a part of a core, too.
"""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
import sys
from time import monotonic
from time import time_ns
from typing import Any

import numpy as np

from benchmarks.live.live_run import command
from benchmarks.live.live_run import run
from benchmarks.live.stream import SKEW_NS
from benchmarks.live.stream import stamp_of
from benchmarks.live.stream import Stream
from demo.player import drops
from demo.player import Player
from demo.run import start_node
from demo.run import stop_node
from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.formats.messages import to_frame
from tdfusion_ros.tools.bench.benchmark import demo_bag
from tdfusion_ros.tools.bench.benchmark import described
from tdfusion_ros.tools.bench.host import environment
from tdfusion_ros.tools.bench.pairs import kind
from tdfusion_ros.tools.bench.pairs import load_pairs
from tdfusion_ros.tools.bench.pairs import Source
from tdfusion_ros.tools.options import sizes_hw

WARM_UP_S = 2.0
SETTLE_S = 2.0
NODE = ('latency_ms', 'queue_ms', 'network_ms', 'publish_ms')  # of its diagnostics


def send(player: Player, streams: Sequence[Stream], hz: float, seconds: float) -> dict[int, float]:
    """
    Send pairs when they are due; return when the later image of each was sent, by its stamp.

    :param streams: rgb and ir.
    :returns: stamp of rgb [ns] to monotonic time [s].
    """
    rgb, ir = streams
    sent, begun, begun_ns = {}, monotonic(), time_ns()
    for turn in range(round(hz * seconds)):
        stamp_ns = begun_ns + round(turn / hz * 1e9)
        messages = rgb.message(turn, stamp_ns), ir.message(turn, stamp_ns + SKEW_NS)
        player.spin_until(lambda: False, begun + turn / hz - monotonic())
        player.publish(rgb.topic, messages[0])
        sent[stamp_ns] = monotonic()
        player.publish(ir.topic, messages[1])
    player.spin_until(lambda: False, SETTLE_S)
    return sent


def summary(sent: dict[int, float], received: dict[int, float]) -> dict[str, Any]:
    """
    Return what became of the pairs that were sent after the warm-up.

    :param sent: stamp to time of sending [s].
    :param received: stamp to time at which the result was there [s].
    :raises FusionError: if nothing came back.
    """
    begun = next(iter(sent.values())) + WARM_UP_S
    offered = {stamp: at for stamp, at in sent.items() if at >= begun}
    fused = [stamp for stamp in offered if stamp in received]
    if len(fused) < 3:
        raise FusionError(f'{len(fused)} of {len(offered)} pairs came back')
    at_s = np.array([offered[stamp] for stamp in fused]) - begun
    ages_ms = np.array([received[stamp] - offered[stamp] for stamp in fused]) * 1e3
    p50, p95, p99 = np.percentile(ages_ms, (50, 95, 99)).tolist()
    slope, error = slope_of(at_s, ages_ms)
    span_s = max(offered.values()) - begun
    return {
        'offered': len(offered),
        'fused': len(fused),
        'sent_hz': round((len(offered) - 1) / span_s, 2),
        'age_ms': {
            name: round(ms, 3)
            for name, ms in (('p50', p50), ('p95', p95), ('p99', p99), ('worst', ages_ms.max()))
        },
        'slope_ms_per_s': round(slope, 3),
        'slope_error_ms_per_s': round(error, 3),
        'grows': slope > 2 * error and slope * span_s > 0.1 * p50,
    }


def slope_of(at_s: np.ndarray, ages_ms: np.ndarray) -> tuple[float, float]:
    """Return how fast ages grow, by least squares, and the standard error of that [ms/s]."""
    centerd = at_s - at_s.mean()
    slope = float(centerd @ ages_ms / (centerd @ centerd))
    rest = ages_ms - ages_ms.mean() - slope * centerd
    return slope, float(np.sqrt(rest @ rest / (len(rest) - 2) / (centerd @ centerd)))


def measure(options: Namespace, log: Path) -> dict[str, Any]:
    """Start the node, send, end the node; return the report."""
    if options.hz <= 0 or options.seconds <= 0:
        raise ConfigError('--hz and --seconds must be above 0')
    (size_hw,) = sizes_hw([options.size]) if options.size else (None,)
    source = Source(tuple(options.input) or (demo_bag(),), size_hw=size_hw, raw=options.raw)
    pairs = load_pairs(source, SyncConfig())
    report = {
        'schema': 1,
        'what': 'age of results of the live node',
        'environment': environment(),
        'input': [str(path) for path in source.paths],
        'images': ' + '.join(map(kind, pairs[0])),
        'size': '{1}x{0}'.format(*to_frame(pairs[0][0]).size_hw),
        'asked_hz': options.hz,
        'seconds': options.seconds,
    }
    streams = [Stream('rgb', [rgb for rgb, _ in pairs]), Stream('ir', [ir for _, ir in pairs])]
    received: dict[int, float] = {}

    def note(topic: str, data: bytes) -> None:
        if topic == '/fused/image_raw':
            received[stamp_of(data)] = monotonic()

    settings = [
        f'{name}.image_transport:={"compressed" if stream.compressed else "raw"}'
        for name, stream in zip(('rgb', 'ir'), streams, strict=True)
    ]
    node = start_node(log, (*settings, 'diagnostics_period_s:=0.5', *options.param))
    try:
        topics = {stream.topic: stream.type for stream in streams}
        with Player(topics, note, lambda: node.poll() is None) as player:
            player.wait_for_node()
            sent = send(player, streams, options.hz, WARM_UP_S + options.seconds)
            status = player.status
    finally:
        stop_node(node)
    report |= summary(sent, received)
    wanted = [f'{name}_{mark}' for name in NODE for mark in ('p50', 'p95')]
    report['node_ms'] = {name: float(status[name]) for name in wanted if name in status}
    return report | {'dropped': drops(status), 'backend': status.get('backend', 'unknown')}


def text(report: dict[str, Any]) -> str:
    """Return a report as lines for a terminal."""
    age, node = report['age_ms'], report['node_ms']
    inside = ', '.join(
        f'{name.removesuffix("_ms")} {node[f"{name}_p50"]:.1f} / {node[f"{name}_p95"]:.1f}'
        for name in NODE
        if f'{name}_p50' in node
    )
    dropped = ', '.join(f'{n} {cause}' for cause, n in report['dropped'].items())
    return '\n'.join(
        [
            described(report['environment']),
            f'{report["size"]} {report["images"]} of {" + ".join(report["input"])}, backend '
            f'{report["backend"]}, {report["sent_hz"]:.1f} of {report["asked_hz"]:g} Hz for '
            f'{report["seconds"]:g} s after {WARM_UP_S:g} to warm up',
            f'fused {report["fused"]} of {report["offered"]} pairs; dropped, warm-up included: '
            f'{dropped or "none"}',
            f'sent to received [ms]: p50 {age["p50"]:.1f}, p95 {age["p95"]:.1f}, p99 '
            f'{age["p99"]:.1f}, worst {age["worst"]:.1f}',
            f'within the node [ms], p50 / p95 of the last 300 pairs: {inside or "not told"}',
            f'it {"GROWS" if report["grows"] else "does not grow"}: '
            f'{report["slope_ms_per_s"]:+.2f} ms a second, standard error '
            f'{report["slope_error_ms_per_s"]:.2f}',
        ]
    )


def main() -> int:
    """Measure; the exit status is 1 if nothing came back, or if ages grow."""
    parser = command('latency', __doc__, hz=30.0)
    add = parser.add_argument
    add('input', nargs='*', type=Path, help='bag, or rgb and ir folder; default: the demo bag')
    add('--seconds', type=float, default=20.0, help='after the warm-up (default 20)')
    add('--size', metavar='WIDTHxHEIGHT', help='resize both images')
    add('--raw', action='store_true', help='send compressed images as raw ones, as drivers do')
    report = run('latency', parser.parse_args(), measure, text)
    return 1 if report is None else int(report['grows'])


if __name__ == '__main__':
    sys.exit(main())
