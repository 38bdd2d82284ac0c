"""Feed every target in a child process, so that a crash or a hang is a finding, not the end."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
import json
import select
import subprocess
import sys
from typing import Any

SLOW_S = 2.0  # of processor time
HANG_S = 20.0  # without a word
READY_S = 120.0  # to import the engines, on a machine with other work


@dataclass
class Tally:
    """
    What became of the inputs of one target.

    :param refused: by cause.
    :param faults: what must not happen, each with the number of its input.
    """

    name: str
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[int, str]] = field(default_factory=list)
    longest_s: float = 0.0
    total_s: float = 0.0
    peak_bytes: int = 0

    @property
    def inputs(self) -> int:
        """Number of inputs that were read, or that ended the child."""
        return self.accepted + self.refused.total() + len(self.faults)

    def add(self, number: int, outcome: str, cause: str, took_s: float) -> None:
        """Count one input."""
        self.longest_s = max(self.longest_s, took_s)
        self.total_s += took_s
        if outcome != 'fault' and took_s > SLOW_S:
            outcome, cause = 'fault', f'{outcome} after {took_s:.1f} s'
        if outcome == 'accepted':
            self.accepted += 1
        elif outcome == 'refused':
            self.refused[cause] += 1
        else:
            self.faults.append((number, cause))


@dataclass(frozen=True)
class Part:
    """Which inputs of a target are still to be read."""

    name: str
    first: int
    end: int


def fuzz(parts: Sequence[Part], seed: int) -> list[Tally]:
    """Read all inputs of all parts; the child begins anew behind an input that ended it."""
    tallies = {part.name: Tally(part.name) for part in parts}
    left = [part for part in parts if part.first < part.end]
    while left:
        left = _one_child(left, seed, tallies)
    return list(tallies.values())


def _one_child(parts: list[Part], seed: int, tallies: dict[str, Tally]) -> list[Part]:
    """Run a child until it ends; return what it left."""
    plan = json.dumps([(p.name, p.first, p.end) for p in parts])
    child = subprocess.Popen(
        [sys.executable, '-m', 'demo.fuzz.child', str(seed), plan],
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    left = list(parts)
    lines = _lines(child)
    ready = False
    for line in lines:
        if line is None or not left:
            break
        tally = tallies[left[0].name]
        if line[0] == 'ready':
            ready = True
        elif line[0] == 'memory':
            tally.peak_bytes = max(tally.peak_bytes, line[1])
            left, ready = left[1:], False
        else:
            now = left[0]
            tally.add(now.first, *line)
            left[0] = Part(now.name, now.first + 1, now.end)
    child.kill()
    status = child.wait()
    if not left:
        return []
    if not ready:
        raise RuntimeError(f'the child could not prepare {left[0].name}: exit status {status}')
    now = left[0]
    if now.first >= now.end:
        return left[1:]
    why = f'the process ended with {status}' if line is not None else f'hung for {HANG_S:g} s'
    tallies[now.name].add(now.first, 'fault', why, HANG_S if line is None else 0.0)
    left[0] = Part(now.name, now.first + 1, now.end)
    return left


def _lines(child: Any) -> Any:
    """Yield what the child says, None if it is silent for too long; end with the child."""
    rest, patience = b'', READY_S
    while True:
        if not select.select([child.stdout], [], [], patience)[0]:
            yield None
            return
        data = child.stdout.read(1 << 16)
        if not data:
            return
        *whole, rest = (rest + data).split(b'\n')
        for text in whole:
            line = json.loads(text)
            patience = READY_S if line[0] == 'memory' else HANG_S
            yield line
