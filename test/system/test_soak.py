"""
The live node at full rate for a long time: memory, ages and counts of resources must not grow.

Every few seconds the node's resources are read from /proc, and the ages of the results since the
last sample are taken. Lines are fitted to what follows the first minute, or the first third.
"""

from dataclasses import dataclass
from time import monotonic

import numpy as np
import pytest

pytest.importorskip('rclpy')

from live import Live
from live import Options

from benchmarks.latency import fit_line
from benchmarks.latency import grows
from demo.player import drops
from demo.player import drops_text
from tdfusion_ros.tools.bench.host import describe_environment
from tdfusion_ros.tools.bench.host import environment

MAX_GROWTH = 0.02  # of memory
COLUMNS = ('minute', 'memory MiB', 'shared MiB', 'threads', 'files', 'age p50', 'age p95')
COUNTS = ('results', 'offered')


@dataclass(frozen=True)
class Sample:
    """The node at one moment, and the results since the last one."""

    at_s: float  # since the start
    resources: dict[str, float]  # see ``Live.resources``
    ages_ms: tuple[float, float]  # p50 and p95 of the results
    offered: int  # number of rgb images that were sent
    results: int


def sample(live, start, period_s):
    record, since = live.record, monotonic()
    live.watch(period_s)
    live.wait_for(lambda: record.ages_ms(since, monotonic()), 'a result')
    ages_ms = record.ages_ms(since, monotonic())
    p50, p95 = np.percentile(ages_ms, (50, 95)).tolist()
    offered = len(record.sent['rgb'])
    record.clear()
    return Sample(monotonic() - start, live.resources(), (p50, p95), offered, len(ages_ms))


def growth(samples):
    """Return sentences on memory and ages after the warm-up, and on what grew."""
    warm_up_s = min(60.0, samples[-1].at_s / 3)
    used = [s for s in samples if s.at_s > warm_up_s]
    assert len(used) >= 6, f'{len(used)} samples are too few: use a larger --minutes'
    at_s = np.array([s.at_s for s in used])
    memory = fit_line(at_s, np.array([s.resources['memory_mib'] for s in used]))
    age = fit_line(at_s, np.array([s.ages_ms[0] for s in used]))
    grown, problems = memory['growth'] / memory['start'], []
    if grown >= MAX_GROWTH:
        problems.append(f'memory grew by {grown:.1%}, limit {MAX_GROWTH:.0%}')
    if grows(age):
        problems.append(f'results got older by {age["growth"]:.1f} ms')
    third = len(used) // 3
    for name in ('threads', 'descriptors'):
        first, last = (
            float(np.median([s.resources[name] for s in part]))
            for part in (used[:third], used[-third:])
        )
        if last > first:
            problems.append(f'{name} grew from {first:g} to {last:g}')
    facts = [
        f'memory after {warm_up_s:.1f} s: {grown:+.2%}, '
        f'{memory["slope"] * 3600:+.1f} +- {memory["error"] * 3600:.1f} MiB per hour',
        f'age p50 after {warm_up_s:.1f} s: {age["growth"]:+.1f} ms from {age["start"]:.1f}, '
        f'{age["slope"] * 3600:+.1f} +- {age["error"] * 3600:.1f} ms per hour',
    ]
    return facts, problems


def soak(options, minutes, every_s, folder):
    """Return the samples, what grew, and a report with a row per minute."""
    machine, samples = environment(), []
    with Live(folder, options) as live:
        live.watch(1.0)
        live.record.clear()
        start = monotonic()
        for _ in range(round(minutes * 60 / every_s)):
            samples.append(sample(live, start, every_s))
        values, state = live.record.values, live.state()
    assert state == 'active'
    facts, grown = growth(samples)
    each = max(1, round(len(samples) / minutes))
    results, offered = (sum(getattr(s, name) for s in samples) for name in COUNTS)
    report = [
        ''.join(f'{name:>12}' for name in (*COLUMNS, *COUNTS)),
        *(row(samples[i : i + each]) for i in range(0, len(samples), each)),
        describe_environment(machine),
        f'{options.size} at {options.hz:g} Hz for {minutes:g} minutes: {results} results of '
        f'{offered} pairs; dropped: {drops_text(drops(values))}',
        *facts,
        *(grown or ['nothing grows']),
    ]
    return samples, grown, '\n'.join(report)


def row(samples):
    """Return a minute as a row: resources at its end, medians of the ages, sums of the counts."""
    used, ages_ms = samples[-1].resources, np.median([s.ages_ms for s in samples], axis=0)
    cells = [samples[-1].at_s / 60, used['memory_mib'], used['shared_mib'], used['threads']]
    cells += [used['descriptors'], *ages_ms]
    cells += [sum(getattr(s, name) for s in samples) for name in COUNTS]
    return ''.join(f'{cell:>12.4g}' for cell in cells)


@pytest.mark.system
def test_nothing_grows_in_a_soak(tmp_path, command_line, publish, pytestconfig):
    minutes, every_s = (pytestconfig.getoption(name) for name in ('minutes', 'every'))
    _, grown, report = soak(Options(**command_line), minutes, every_s, tmp_path)
    publish('soak', report)
    assert not grown


def test_short_soak_counts_results_and_resources(tmp_path):
    samples, _, report = soak(Options('96x64', 10.0), 0.1, 0.5, tmp_path)
    assert len(samples) == 12
    assert 0 < sum(s.results for s in samples) <= sum(s.offered for s in samples)
    assert samples[0].resources['descriptors'] > 10
    assert 'MiB per hour' in report
