"""
Run the real node at full rate for a long time and say whether anything grows.

    python -m demo.soak                          (20 minutes, 20 Hz, rgb8 and mono8 of 640x480)
    python -m demo.soak --minutes 2 -o out/soak.json

Cameras are processes of their own and send over DDS. Every five seconds the node's memory,
threads, descriptors and shared memory are read from /proc, and the results since the last time are
looked at: how old they were when they came, counted from the sending of the rgb picture, and how
many of the pictures that were sent became one. What comes after the first minute (a third of a
shorter run) is judged by lines through it. The exit status is 1 if memory grows by 2 % or more,
results get older, or threads or descriptors grow. Other work on the machine makes ages jump: the
errors of the slopes take into account that neighboring samples resemble each other.
"""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from pathlib import Path
import sys
from time import monotonic
from typing import Any

import numpy as np

from benchmarks.latency import slope_of
from benchmarks.live.camera import Settings
from benchmarks.live.live_run import command
from benchmarks.live.live_run import run
from benchmarks.live.rig import Rig
from demo.player import drops
from demo.run import start_node
from demo.run import stop_node
from tdfusion_ros.core.errors import BagError
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.tools.bench import host as machine
from tdfusion_ros.tools.bench.benchmark import described

WARM_UP_S = 60.0
WARM_UP_SHARE = 1 / 3  # of a run that is short
MOST_GROWTH = 0.02  # of memory
MOST_DRIFT = 0.1  # of the age, over the whole run
COUNTS = ('threads', 'descriptors')


@dataclass(frozen=True)
class Sample:
    """
    The node at one moment, and what came since the last one.

    :param at_s: since the beginning [s].
    :param held: see ``machine.held``.
    :param ages_ms: p50 and p95 of the results [ms].
    """

    at_s: float
    held: dict[str, float]
    ages_ms: tuple[float, float]
    offered: int
    made: int


def take(rig: Rig, begun: float, period_s: float) -> Sample:
    """Listen for a while, and take a sample."""
    heard, since = rig.heard, monotonic()
    rig.watch(period_s)
    ages_ms = heard.ages_ms(since, monotonic())
    offered = len(heard.sent['rgb'])
    heard.forget()
    if not ages_ms:
        raise BagError(f'nothing came back for {period_s:g} s')
    p50, p95 = np.percentile(ages_ms, (50, 95)).tolist()
    held = rig.held()
    return Sample(monotonic() - begun, held, (p50, p95), offered, len(ages_ms))


def line(samples: Sequence[Sample], values: Sequence[float]) -> dict[str, float]:
    """
    Fit a line.

    :returns: ``slope`` a second and its standard error, and ``start``, ``growth`` along the line.
    """
    at_s, ys = np.array([s.at_s for s in samples]), np.array(values, float)
    slope, error = slope_of(at_s, ys)
    rest = ys - ys.mean() - slope * (at_s - at_s.mean())
    spread = rest @ rest
    alike = float(np.clip(rest[1:] @ rest[:-1] / spread, 0.0, 0.95)) if spread > 0 else 0.0
    span_s = float(at_s[-1] - at_s[0])
    return {
        'slope': slope,
        'error': error * ((1 + alike) / (1 - alike)) ** 0.5,  # neighbors tell the same twice
        'start': float(ys.mean() - slope * (at_s.mean() - at_s[0])),
        'growth': slope * span_s,
    }


def judge(samples: Sequence[Sample]) -> dict[str, Any]:
    """
    Say what grew after the warm-up.

    :raises FusionError: if too little is left to judge.
    """
    begin = min(WARM_UP_S, WARM_UP_SHARE * samples[-1].at_s) if samples else 0.0
    kept = [sample for sample in samples if sample.at_s > begin]
    if len(kept) < 6:
        raise FusionError(f'{len(kept)} samples are too few: let it run for longer')
    memory = line(kept, [sample.held['memory_mib'] for sample in kept])
    age = line(kept, [sample.ages_ms[0] for sample in kept])
    grown = memory['growth'] / memory['start']
    wrong = []
    if grown >= MOST_GROWTH:
        wrong.append(f'memory grew by {grown:.1%}, {MOST_GROWTH:.0%} or more')
    if age['slope'] > 2 * age['error'] and age['growth'] > MOST_DRIFT * age['start']:
        wrong.append(f'results got older by {age["growth"]:.1f} ms')
    third = len(kept) // 3
    for name in COUNTS:
        first, last = (
            float(np.median([sample.held[name] for sample in part]))
            for part in (kept[:third], kept[-third:])
        )
        if last > first:
            wrong.append(f'{name} grew from {first:g} to {last:g}')
    return {
        'warm_up_s': round(begin, 1),
        'memory_growth': grown,
        'memory_mib_per_s': memory,
        'age_ms_per_s': age,
        'wrong': wrong,
    }


def measure(options: Namespace, log: Path) -> dict[str, Any]:
    """Start node and cameras, sample, end everything; return the report."""
    if min(options.hz, options.minutes, options.every) <= 0:
        raise ConfigError('--hz, --minutes and --every must be above 0')
    facts, minute = machine.environment(), max(1, round(60 / options.every))
    samples: list[Sample] = []
    node = start_node(log, options.param)
    try:
        with Rig(node, options.size) as rig:
            rig.start(Settings(hz=options.hz))
            rig.watch(1.0)
            rig.heard.forget()
            begun = monotonic()
            print(titles(), flush=True)
            while monotonic() - begun < options.minutes * 60:
                samples.append(take(rig, begun, options.every))
                if len(samples) % minute == 0:
                    print(row(samples[-minute:]), flush=True)
            dropped, state = drops(rig.heard.values), rig.state()
    finally:
        status = stop_node(node)
    report = {
        'schema': 1,
        'what': 'the live node over a long time',
        'environment': facts,
        'size': options.size,
        'hz': options.hz,
        'minutes': options.minutes,
        'offered': sum(sample.offered for sample in samples),
        'made': sum(sample.made for sample in samples),
        'dropped': dropped,
        **judge(samples),
        'samples': [asdict(sample) for sample in samples],
    }
    if state != 'active' or status:
        report['wrong'].append(f'the node was {state or "silent"} and ended with status {status}')
    return report


def titles() -> str:
    """Return the titles of the table."""
    names = ('minute', 'memory MiB', 'shared MiB', 'threads', 'files', 'age p50', 'age p95')
    return ''.join(f'{name:>12}' for name in (*names, 'results', 'offered'))


def row(samples: Sequence[Sample]) -> str:
    """Return a minute as a row of the table: what is held at its end, ages as their medians."""
    held = samples[-1].held
    p50, p95 = (float(np.median([sample.ages_ms[i] for sample in samples])) for i in (0, 1))
    cells = [f'{samples[-1].at_s / 60:.1f}', f'{held["memory_mib"]:.1f}']
    cells += [f'{held["shared_mib"]:.1f}', f'{held["threads"]:g}', f'{held["descriptors"]:g}']
    cells += [f'{p50:.1f}', f'{p95:.1f}', str(sum(sample.made for sample in samples))]
    return ''.join(f'{cell:>12}' for cell in (*cells, sum(sample.offered for sample in samples)))


def text(report: dict[str, Any]) -> str:
    """Return what is below the table."""
    memory, age = report['memory_mib_per_s'], report['age_ms_per_s']
    dropped = ', '.join(f'{n} {cause}' for cause, n in report['dropped'].items()) or 'none'
    return '\n'.join(
        [
            described(report['environment']),
            f'{report["size"]} at {report["hz"]:g} Hz for {report["minutes"]:g} minutes: '
            f'{report["made"]} results of {report["offered"]} pairs; dropped: {dropped}',
            f'memory after {report["warm_up_s"]:g} s: {report["memory_growth"]:+.2%}, '
            f'{memory["slope"] * 3600:+.1f} +- {memory["error"] * 3600:.1f} MiB an hour',
            f'age p50 after {report["warm_up_s"]:g} s: {age["growth"]:+.1f} ms of '
            f'{age["start"]:.1f}, {age["slope"] * 3600:+.1f} +- {age["error"] * 3600:.1f} ms an '
            'hour',
            *(f'WRONG: {what}' for what in report['wrong']),
            *(() if report['wrong'] else ('nothing grows',)),
        ]
    )


def main() -> int:
    """Soak; the exit status is 1 if anything grows."""
    parser = command('soak', __doc__, hz=20.0)
    add = parser.add_argument
    add('--minutes', type=float, default=20.0, help='default 20')
    add('--every', type=float, default=5.0, help='time between two samples [s] (default 5)')
    add('--size', default='640x480', metavar='WIDTHxHEIGHT', help='default 640x480')
    report = run('soak', parser.parse_args(), measure, text)
    return int(report is None or bool(report['wrong']))


if __name__ == '__main__':
    sys.exit(main())
