"""What was expected of the node against what it did: a list of what is wrong, a table of all."""

from collections.abc import Mapping
from collections.abc import Sequence
import re
from typing import Any

from demo.faults.faults import Expected
from demo.faults.faults import Fault
from demo.faults.runner import Observation

RECOVERY_S = 2.0  # to the first pair, from when DDS has found what was started again
STEADY_S = 5.0  # from there to the rate of before
NOTHING = 'nothing'
ON_ITS_WAY = 4  # results of pictures from before the fault: at the engine, waiting, not told yet
MOST_MORE = {'threads': 0, 'descriptors': 0, 'memory_mib': 100.0}  # after all faults than before


def judge(fault: Fault, seen: Observation) -> list[str]:
    """Return what the node did otherwise than it has to."""
    return survival(seen) + conduct(fault.expected, seen)


def survival(seen: Observation) -> list[str]:
    """Return what shows that the node did not survive, or not well."""
    wrong = []
    if seen.state != 'active':
        wrong.append(f'state {seen.state or "unknown"} instead of active')
    if seen.recovery_s is None:
        wrong.append('no pair was fused any more')
    elif seen.recovery_s - seen.found_s > RECOVERY_S:
        late_s = seen.recovery_s - seen.found_s
        wrong.append(f'the first pair came after {late_s:.1f} s, not {RECOVERY_S:g}')
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
    if sum(seen.made.values()) <= ON_ITS_WAY:
        return NOTHING
    return max(seen.made, key=lambda mode: seen.made[mode])


def leaks(before: dict[str, float], after: dict[str, float]) -> list[str]:
    """Return what the node holds more of after all faults than before."""
    return [
        f'{name}: {after[name]:g} after all faults, {before[name]:g} before'
        for name, more in MOST_MORE.items()
        if after[name] > before[name] + more
    ]


def table(faults: Sequence[Mapping[str, Any]]) -> str:
    """Return a row for each fault of a report, and below it what is wrong."""
    titles = ('before', 'meanwhile', 'made of', 'pair s', 'DDS s', 'steady s', 'oldest ms', 'MiB')
    rows = [f'{"fault":<32}' + ''.join(f'{title:>10}' for title in titles)]
    for told in faults:
        rows.append(f'{told["fault"]:<32}' + ''.join(f'{cell:>10}' for cell in cells(told)))
        rows += [f'    WRONG: {wrong}' for wrong in told['wrong']]
    return '\n'.join(rows)


def cells(told: Mapping[str, Any]) -> list[str]:
    """Return what the table shows of a fault."""
    return [
        f'{told["hz_before"]:.1f}',
        f'{told["hz_during"]:.1f}',
        told['mostly'],
        *(seconds(told[name]) for name in ('recovery_s', 'found_s', 'steady_s')),
        f'{told["oldest_ms"]:.0f}',
        f'{told["after"]["memory_mib"] - told["before"]["memory_mib"]:+.1f}',
    ]


def seconds(time_s: float | None) -> str:
    """Return a time for the table."""
    return 'never' if time_s is None else f'{time_s:.2f}'
