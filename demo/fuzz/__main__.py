#!/usr/bin/env python3
"""
Read a hundred thousand wrong inputs and say what became of them.

``python -m demo.fuzz [--inputs 100000] [--seed 0] [--only TARGET] [-o out/fuzz.json]``. The same
seed gives the same inputs. One fault is looked at with ``--only TARGET --at NUMBER``. Exit status
1: something crashed, hung, took over two seconds, or was refused with another error than ours.
"""

import argparse
from dataclasses import asdict
import json
import math
from pathlib import Path
from random import Random
import sys
import tempfile
import time

from demo.fuzz.runner import fuzz
from demo.fuzz.runner import Part
from demo.fuzz.runner import Tally

MOST_SHOWN = 10


def plan(inputs: int, only: str = '') -> list[Part]:
    """Return how many inputs go to which target, at least one to each."""
    from demo.fuzz.targets import TARGETS

    chosen = [t for t in TARGETS if not only or t.name == only]
    if not chosen:
        raise SystemExit(f'no target {only}; there are: {", ".join(t.name for t in TARGETS)}')
    total = sum(t.share for t in chosen)
    return [Part(t.name, 0, math.ceil(inputs * t.share / total)) for t in chosen]


def table(tallies: list[Tally]) -> str:
    """Return a Markdown table of what became of the inputs."""
    out = [
        '| target | inputs | accepted | refused | faults | longest [ms] | mean [ms] | peak [MB] |',
        '|---|---|---|---|---|---|---|---|',
    ]
    out += [
        f'| {t.name} | {t.inputs} | {t.accepted} | {t.refused.total()} | {len(t.faults)} | '
        f'{t.longest_s * 1e3:.0f} | {t.total_s * 1e3 / max(t.inputs, 1):.2f} | '
        f'{t.peak_bytes / 1e6:.0f} |'
        for t in tallies
    ]
    number, faults = sum(t.inputs for t in tallies), sum(len(t.faults) for t in tallies)
    out.append(
        f'| all | {number} | {sum(t.accepted for t in tallies)} | '
        f'{sum(t.refused.total() for t in tallies)} | {faults} | '
        f'{max(t.longest_s for t in tallies) * 1e3:.0f} | | |'
    )
    return '\n'.join(out)


def causes(tallies: list[Tally]) -> str:
    """Return why inputs were refused, and every kind of fault with the number of one input."""
    out = ['']
    for tally in tallies:
        refused = ', '.join(f'{cause} {n}' for cause, n in tally.refused.most_common(8))
        out.append(f'{tally.name}: refused: {refused or "none"}')
        kinds: dict[str, list[int]] = {}
        for number, what in tally.faults:
            kinds.setdefault(what, []).append(number)
        for what, numbers in list(kinds.items())[:MOST_SHOWN]:
            out.append(f'  FAULT {len(numbers)} times, as at {numbers[0]}: {what}')
    return '\n'.join(out)


def look(name: str, seed: int, number: int) -> None:
    """Read one input here, with everything that it prints and raises."""
    from demo.fuzz.targets import TARGETS

    (target,) = (t for t in TARGETS if t.name == name)
    with tempfile.TemporaryDirectory(prefix='fuzz_') as place:
        target.prepare(Path(place))(Random(f'{seed}:{name}:{number}'))()
    print('accepted')


def main() -> int:
    """Fuzz as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('--inputs', type=int, default=100_000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--only', default='', metavar='TARGET')
    parser.add_argument('--at', type=int, metavar='NUMBER', help='read this input and no other')
    parser.add_argument('-o', '--output', type=Path, metavar='JSON')
    options = parser.parse_args()
    if options.at is not None:
        look(options.only, options.seed, options.at)
        return 0
    begin = time.monotonic()
    tallies = fuzz(plan(options.inputs, options.only), options.seed)
    print(table(tallies))
    print(causes(tallies))
    print(f'\n{time.monotonic() - begin:.0f} s, seed {options.seed}')
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps([asdict(t) for t in tallies], indent=1) + '\n')
    return 1 if any(t.faults for t in tallies) else 0


if __name__ == '__main__':
    sys.exit(main())
