"""Observe how the node reacts to a fault, and compare that with what it must do."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
import re
from time import monotonic

from faults import Expected
from faults import Fault
from live import Live
from live import Record

BASELINE_S = 2.0
STEADY_S = 1.0  # over which a rate is measured
STEADY_RATE = 0.7  # of the rate before the fault, on a machine with other work
PATIENCE_S = 12.0  # for recovery
SETTLE_S = 0.3  # for the last diagnostics
MAX_RECOVERY_S = 2.0  # to the first pair after DDS has found a restarted camera
MAX_STEADY_S = 5.0  # from there to the rate before the fault
IN_FLIGHT = 4  # results of images from before the fault
MODES = ('pairs', 'held', 'rgb_only', 'ir_only')
MAX_GROWTH = {'threads': 0, 'descriptors': 0, 'memory_mib': 100.0}  # over all faults


@dataclass(frozen=True)
class Observation:
    """How the node reacted to a fault."""

    fault: str
    state: str  # lifecycle state afterwards
    hz_before: float  # rate of results before
    hz_during: float  # rate of results meanwhile; for a jump, in the second after it
    modes: dict[str, int]  # number of results meanwhile by mode
    warnings: tuple[str, ...]  # ``subject: message``, meanwhile and shortly after
    counted: dict[str, int]  # increase of each counter of the diagnostics
    recovery_s: float | None  # until two fresh images that belong together; None: never
    found_s: float  # the part of it that DDS took to find restarted cameras
    steady_s: float | None  # from there until results come as fast as before; None: never
    oldest_ms: float  # age of the oldest result at arrival
    before: dict[str, float]  # resources of the process, see ``Live.resources``
    after: dict[str, float]

    @property
    def mostly(self) -> str:
        """The mode of most results meanwhile; ``nothing`` if all were in flight before."""
        if sum(self.modes.values()) <= IN_FLIGHT:
            return 'nothing'
        return max(self.modes, key=self.modes.__getitem__)


def observe(fault: Fault, live: Live) -> Observation:
    """Cause a fault and wait until the node has recovered."""
    record, start, before = live.record, monotonic(), live.resources()
    record.clear()
    live.watch(BASELINE_S)
    live.watch(PATIENCE_S, lambda: record.healthy)  # a busy machine may have stalled a camera
    hz_before, counters = record.result_hz(start, monotonic()), record.values
    disturbed = monotonic()
    with fault.disturbance(live):
        begin = end = live.set_cameras(*fault.settings(live.normal))
        live.watch(fault.seconds)
        if fault.seconds:
            live.watch(PATIENCE_S, lambda: is_reported(fault.expected, record, counters, begin))
    during = record.values
    if fault.seconds:
        end = live.set_cameras(live.normal, live.normal)
    fresh_s = wait(live, lambda: first_fresh_s(record, end))
    steady_s = None
    if fresh_s is not None:
        steady_s = wait(live, lambda: first_steady_s(record, fresh_s, STEADY_RATE * hz_before))
    live.watch(SETTLE_S)
    return Observation(
        fault=fault.name,
        state=live.state(),
        hz_before=hz_before,
        hz_during=record.result_hz(begin, end if fault.seconds else begin + STEADY_S),
        modes=increases(counters, during if fault.seconds else record.values, MODES),
        warnings=distinct(text for at, text in record.warnings if at > disturbed),
        counted=increases(counters, record.values, record.values),
        recovery_s=None if fresh_s is None else fresh_s - end,
        found_s=max(0.0, live.found_s() - end),
        steady_s=None if fresh_s is None or steady_s is None else steady_s - fresh_s,
        oldest_ms=max(record.ages_ms(begin, monotonic()), default=0.0),
        before=before,
        after=live.resources(),
    )


def is_reported(
    expected: Expected, record: Record, counters: Mapping[str, str], begin: float
) -> bool:
    """Return whether the expected warning and counter have been received."""
    texts = (text for at, text in record.warnings if at > begin)
    warned = not expected.warning or any(re.match(expected.warning, text) for text in texts)
    counter = expected.counter
    return warned and (not counter or bool(increases(counters, record.values, [counter])))


def wait(live: Live, find: Callable[[], float | None]) -> float | None:
    """Receive until something is found or patience ends; return it."""
    live.watch(PATIENCE_S, lambda: find() is not None)
    return find()


def first_fresh_s(record: Record, since: float) -> float | None:
    """Return when the first result of two images that were sent after a time arrived [s]."""
    for at, stamp_ns in record.fresh:
        sent = record.sent_s(stamp_ns)
        if sent is not None and sent >= since:
            return at
    return None


def first_steady_s(record: Record, since: float, hz: float) -> float | None:
    """Return the first time from which results came at a rate for ``STEADY_S`` [s]."""
    last = monotonic() - STEADY_S
    for at, _ in record.results:
        if since <= at <= last and record.result_hz(at, at + STEADY_S) >= hz:
            return at
    return None


def distinct(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the last of the texts that differ only in their numbers."""
    return tuple({re.sub(r'\d+(\.\d+)?', '#', text): text for text in texts}.values())


def increases(
    before: Mapping[str, str], after: Mapping[str, str], names: Iterable[str]
) -> dict[str, int]:
    """Return the increases of counters; other values and constant counters are left out."""
    found = {
        name: int(after.get(name, '0')) - int(before.get(name, '0'))
        for name in names
        if after.get(name, '0').isdigit()
    }
    return {name: number for name, number in found.items() if number}


def reaction_problems(expected: Expected, seen: Observation) -> list[str]:
    """Return how the node's reaction differs from the expected one, whatever the time it took."""
    mode, found = expected.mode or 'nothing', []
    if seen.state != 'active':
        found.append(f'state {seen.state}, expected active')
    if seen.recovery_s is None:
        found.append('no pair was fused afterwards')
    if seen.mostly != mode:
        found.append(f'results: mostly {seen.mostly}, expected {mode}')
    if expected.warning and not any(re.match(expected.warning, t) for t in seen.warnings):
        found.append(f'no warning like "{expected.warning}": {list(seen.warnings)}')
    if expected.counter and not seen.counted.get(expected.counter):
        found.append(f'{expected.counter} did not rise')
    return found


def timing_problems(expected: Expected, seen: Observation) -> list[str]:
    """Return what took too long, on a machine with nothing else to do."""
    found = []
    if seen.recovery_s is not None:
        late_s = seen.recovery_s - seen.found_s
        if late_s > MAX_RECOVERY_S:
            found.append(f'the first pair came after {late_s:.1f} s, expected {MAX_RECOVERY_S:g}')
        if seen.steady_s is None or seen.steady_s > MAX_STEADY_S:
            found.append(f'the rate before was not reached within {MAX_STEADY_S:g} s')
    if expected.mode and seen.hz_during < expected.rate * seen.hz_before:
        found.append(
            f'{seen.hz_during:.1f} results per second, expected {expected.rate:.0%} of '
            f'{seen.hz_before:.1f}'
        )
    if seen.oldest_ms > expected.max_age_ms:
        found.append(f'a result was {seen.oldest_ms:.0f} ms old, limit {expected.max_age_ms:g}')
    return found


def leaks(before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
    """Return which resources the node uses more of than all faults may add."""
    return [
        f'{name}: {before[name]:g} before all faults, {after[name]:g} after'
        for name, growth in MAX_GROWTH.items()
        if after[name] > before[name] + growth
    ]


def table(observations: Sequence[Observation]) -> str:
    titles = ('before', 'during', 'results', 'pair s', 'DDS s', 'steady s', 'oldest ms', 'MiB')
    rows = [('fault', *titles)]
    for seen in observations:
        times = (seen.recovery_s, seen.found_s, seen.steady_s)
        rows.append(
            (
                seen.fault,
                f'{seen.hz_before:.1f}',
                f'{seen.hz_during:.1f}',
                seen.mostly,
                *('never' if time is None else f'{time:.2f}' for time in times),
                f'{seen.oldest_ms:.0f}',
                f'{seen.after["memory_mib"] - seen.before["memory_mib"]:+.1f}',
            )
        )
    return '\n'.join(f'{row[0]:<30}' + ''.join(f'{c:>10}' for c in row[1:]) for row in rows)
