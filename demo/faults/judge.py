"""What was expected of the node against what it did: a list of what is wrong, a table of all."""

from collections.abc import Sequence
from dataclasses import dataclass
import re

from demo.faults.faults import Expected
from demo.faults.faults import Fault
from demo.faults.runner import Observation

RECOVERY_S = 2.0  # to the first pair
STEADY_S = 5.0  # from there to the rate of before
NOTHING = 'nothing'
ON_ITS_WAY = 0.15  # of the rate before: results of pictures from before the fault
MOST_MORE = {'threads': 0, 'descriptors': 0, 'memory_mib': 100.0}  # after all faults than before


@dataclass(frozen=True)
class Verdict:
    """What happened in one fault; ``wrong`` is empty if the node did all it has to."""

    made: str
    wrong: tuple[str, ...]
    seen: Observation


def judge(fault: Fault, seen: Observation) -> Verdict:
    """Compare what the node did with what it has to do."""
    return Verdict(mostly(seen), (*survival(seen), *conduct(fault.expected, seen)), seen)


def survival(seen: Observation) -> list[str]:
    """Return what shows that the node did not survive, or not well."""
    wrong = []
    if seen.state != 'active':
        wrong.append(f'state {seen.state or "unknown"} instead of active')
    if seen.recovery_s is None:
        wrong.append('no pair was fused any more')
    elif seen.recovery_s > RECOVERY_S:
        wrong.append(f'the first pair came after {seen.recovery_s:.1f} s, not {RECOVERY_S:g}')
    if seen.recovery_s is not None and (seen.steady_s is None or seen.steady_s > STEADY_S):
        wrong.append(f'not as fast as before within {STEADY_S:g} s')
    return wrong


def conduct(expected: Expected, seen: Observation) -> list[str]:
    """Return what the node did not do, or say, while the fault lasted."""
    wrong = []
    if (made := mostly(seen)) != (expected.mode or NOTHING):
        wrong.append(f'made mostly {made}, not {expected.mode or NOTHING}')
    if expected.mode and seen.hz_during < expected.share * seen.hz_before:
        wrong.append(
            f'{seen.hz_during:.1f} results a second, less than {expected.share:.0%} of '
            f'{seen.hz_before:.1f}'
        )
    if expected.says and not any(re.match(expected.says, text) for text in seen.said):
        wrong.append(f'no warning like "{expected.says}", but {list(seen.said) or "none"}')
    if expected.counts and not seen.counted.get(expected.counts):
        wrong.append(f'{expected.counts} did not rise')
    if seen.oldest_ms > expected.oldest_ms:
        wrong.append(f'a result was {seen.oldest_ms:.0f} ms old, not below {expected.oldest_ms:g}')
    return wrong


def mostly(seen: Observation) -> str:
    """Return what most results were made of meanwhile, but for what was on its way."""
    if seen.hz_during <= ON_ITS_WAY * seen.hz_before:
        return NOTHING
    return max(seen.made, key=lambda mode: seen.made[mode], default=NOTHING)


def leaks(before: dict[str, float], after: dict[str, float]) -> list[str]:
    """Return what the node holds more of after all faults than before."""
    return [
        f'{name}: {after[name]:g} after all faults, {before[name]:g} before'
        for name, more in MOST_MORE.items()
        if after[name] > before[name] + more
    ]


def table(verdicts: Sequence[Verdict]) -> str:
    """Return a row for each fault, and below it what is wrong."""
    titles = ('results/s', 'meanwhile', 'made', 'pair s', 'steady s', 'oldest ms', 'MiB')
    rows = [f'{"fault":<32}' + ''.join(f'{title:>11}' for title in titles)]
    for verdict in verdicts:
        row = cells(verdict.made, verdict.seen)
        rows.append(f'{verdict.seen.fault:<32}' + ''.join(f'{cell:>11}' for cell in row))
        rows += [f'    WRONG: {wrong}' for wrong in verdict.wrong]
    return '\n'.join(rows)


def cells(made: str, seen: Observation) -> list[str]:
    """Return what the table shows of an observation."""
    return [
        f'{seen.hz_before:.1f}',
        f'{seen.hz_during:.1f}',
        made,
        seconds(seen.recovery_s),
        seconds(seen.steady_s),
        f'{seen.oldest_ms:.0f}',
        f'{seen.after["memory_mib"] - seen.before["memory_mib"]:+.1f}',
    ]


def seconds(time_s: float | None) -> str:
    """Return a time for the table."""
    return 'never' if time_s is None else f'{time_s:.2f}'
