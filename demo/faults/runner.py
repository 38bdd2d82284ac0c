"""Do one fault after the other to a node that works, and note what it does about each."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace
import re
from time import monotonic

from benchmarks.live.camera import Settings
from benchmarks.live.rig import Heard
from benchmarks.live.rig import hz
from benchmarks.live.rig import Rig
from demo.faults.faults import Changes
from demo.faults.faults import Fault
from demo.faults.faults import KILLED

BASELINE_S = 2.0
STEADY_S = 1.0  # the rate is that of this long
STEADY_SHARE = 0.7  # of the rate before the fault; machines do other things, too
PATIENCE_S = 12.0  # to recover
SETTLE_S = 0.3  # for diagnostics of all of it
MODES = ('pairs', 'held', 'rgb_only', 'ir_only')


@dataclass(frozen=True)
class Observation:
    """
    What the node did about a fault.

    :param state: of its life cycle after it; empty: it does not answer, or its process ended.
    :param hz_before: results a second before.
    :param hz_during: meanwhile; for a jump, in the second after it.
    :param sent_hz: pictures of rgb that were really sent a second meanwhile.
    :param made: results meanwhile, by mode.
    :param said: warnings meanwhile and shortly after, as ``subject: sentence``.
    :param counted: how much each counter of the diagnostics rose.
    :param recovery_s: from the end of the fault to the first result of two fresh pictures that
        belong together; None: never.
    :param found_s: how much of that DDS took to find cameras that were started again; no work of
        the node's.
    :param steady_s: from there until results come as fast as before; None: never.
    :param oldest_ms: age of the oldest result when it was there, from sending it.
    :param before: what the process held before, see ``machine.held``; ``after`` likewise.
    """

    fault: str
    state: str
    hz_before: float
    hz_during: float
    sent_hz: float
    made: dict[str, int]
    said: tuple[str, ...]
    counted: dict[str, int]
    recovery_s: float | None
    found_s: float
    steady_s: float | None
    oldest_ms: float
    before: dict[str, float]
    after: dict[str, float]


def do(fault: Fault, rig: Rig, well: Settings) -> Observation:
    """Do one fault and wait until the node is well again."""
    heard, base, before = rig.heard, monotonic(), rig.held()
    heard.forget()
    rig.watch(BASELINE_S)
    hz_before, counts = hz(heard.results, base, monotonic()), heard.values
    harmed = monotonic()
    with fault.harm(rig):
        begun = ended = rig.set(*(settings(well, changes) for changes in (fault.rgb, fault.ir)))
        rig.watch(fault.seconds)
    if fault.seconds:
        ended = rig.set(well, well)
    meanwhile = heard.values
    fresh = first(rig, lambda: recovered_s(heard, ended))
    steady = None
    if fresh is not None:
        steady = first(rig, lambda: steady_s(heard, fresh, STEADY_SHARE * hz_before))
    rig.watch(SETTLE_S)
    until = ended if fault.seconds else begun + STEADY_S
    return Observation(
        fault=fault.name,
        state=rig.state(),
        hz_before=hz_before,
        hz_during=hz(heard.results, begun, until),
        sent_hz=hz([(at, 0) for at in heard.sent['rgb'].values()], begun, until),
        made=rise(counts, meanwhile if fault.seconds else heard.values, MODES),
        said=warnings(heard, harmed),
        counted=rise(counts, heard.values, heard.values),
        recovery_s=None if fresh is None else fresh - ended,
        found_s=max(0.0, rig.found_s() - ended),
        steady_s=None if fresh is None or steady is None else steady - fresh,
        oldest_ms=max(heard.ages_ms(begun, monotonic()), default=0.0),
        before=before,
        after=rig.held(),
    )


def settings(well: Settings, changes: Changes | None) -> Settings | None:
    """Return what a camera does in a fault."""
    return KILLED if changes is None else replace(well, **changes)


def first(rig: Rig, found: Callable[[], float | None]) -> float | None:
    """Listen until something is found, or patience ends; return it."""
    rig.watch(PATIENCE_S, lambda: found() is not None)
    return found()


def recovered_s(heard: Heard, ended: float) -> float | None:
    """Return when the first pair of pictures that were sent after a time was there, fused [s]."""
    for at, stamp_ns in heard.fresh:
        sent = heard.sent_s(stamp_ns)
        if sent is not None and sent >= ended:
            return at
    return None


def steady_s(heard: Heard, since: float, least_hz: float) -> float | None:
    """Return the first time from which on results came fast enough for a while [s]."""
    last = monotonic() - STEADY_S
    for at, _ in heard.results:
        if since <= at <= last and hz(heard.results, at, at + STEADY_S) >= least_hz:
            return at
    return None


def warnings(heard: Heard, since: float) -> tuple[str, ...]:
    """Return what was warned of; of sentences that differ in their numbers the last."""
    texts = [f'{subject}: {text}' for at, subject, _, text in heard.said if at > since]
    return tuple({re.sub(r'\d+(\.\d+)?', '#', text): text for text in texts}.values())


def rise(
    before: Mapping[str, str], after: Mapping[str, str], names: Iterable[str]
) -> dict[str, int]:
    """Return by how much counters rose; what is no counter is left out."""
    risen = {}
    for name in names:
        if after.get(name, '0').isdigit():
            risen[name] = int(after.get(name, '0')) - int(before.get(name, '0'))
    return {name: number for name, number in risen.items() if number}
