"""
Let subjects work in turns, each in a process of its own.

So the memory of each is its own, and what else this machine does touches all of them alike: a
ratio of two that are timed one after the other would hold its mood as well.
"""

from collections.abc import Callable
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
import signal
from typing import Any

import numpy as np
from tqdm import tqdm

from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.tools.bench import host as machine
from tdfusion_ros.tools.bench.subjects import Subject

PATIENCE_S = 5
SETTLE = 1  # untimed frames of each turn: the others had the caches

Turns = list[list[dict[str, int]]]
"""Of each turn, of each frame: stage to time [ns]."""


class Child:
    """
    A subject in a process of its own, idle unless asked.

    :param build: makes the subject there; must be picklable.
    :raises FusionError: what building it raises.
    """

    def __init__(self, build: Callable[[], Subject]) -> None:
        # Not forked: a forked child would begin with the memory of this process.
        context = get_context('spawn')
        self._pipe, there = context.Pipe()
        # A daemon ends with this process, whatever that dies of.
        self._process = context.Process(target=_serve, args=(there, build), daemon=True)
        self._process.start()
        there.close()  # so that the end of the child is the end of the pipe
        try:
            self.facts: dict[str, Any] = self._answer()
        except BaseException:
            self.close()
            raise

    def work(self, frames: int) -> list[dict[str, int]]:
        """Return the times of as many frames [ns]."""
        return self._ask(frames)

    def process(self) -> dict[str, float]:
        """Return what the process has taken, as :func:`tdfusion_ros.tools.bench.host.process`."""
        return self._ask(None)

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join(PATIENCE_S)
        self._process.kill()  # if it is still there
        self._process.join()
        self._pipe.close()

    def _ask(self, frames: int | None) -> Any:
        with suppress(OSError):  # a child that ended may have said why
            self._pipe.send(frames)
        return self._answer()

    def _answer(self) -> Any:
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError):
            raise FusionError(
                'the process that was timed ended; was there too little memory?'
            ) from None
        if isinstance(answer, FusionError):
            raise answer
        return answer


def take_turns(children: Mapping[str, Child], frames: int, block: int) -> dict[str, Turns]:
    """
    Return the times of ``frames`` frames of each child, in turns of ``block`` frames.

    Every other round goes backwards, so that a steady drift, too, cancels in a ratio.
    """
    sizes = [block] * (frames // block) + ([frames % block] if frames % block else [])
    turns: dict[str, Turns] = {name: [] for name in children}
    for number, size in enumerate(tqdm(sizes, unit='round', disable=None)):
        for name in list(children)[:: -1 if number % 2 else 1]:
            turns[name].append(children[name].work(SETTLE + size)[SETTLE:])
    return turns


def times_ms(turns: Turns, stage: str) -> np.ndarray:
    """Return the time of a stage of every frame [ms]."""
    return np.array([frame[stage] for turn in turns for frame in turn]) / 1e6


def percentiles_ms(turns: Turns) -> dict[str, dict[str, float]]:
    """Return p50, p95, p99 and mean of every stage [ms]."""
    out = {}
    for stage in turns[0][0]:
        times = times_ms(turns, stage)
        p50, p95, p99 = np.percentile(times, (50, 95, 99))
        found = {'p50': p50, 'p95': p95, 'p99': p99, 'mean': times.mean()}
        out[stage] = {name: round(float(ms), 4) for name, ms in found.items()}
    return out


def ratio(slow: Turns, fast: Turns, stage: str) -> tuple[float, float, float]:
    """Return median, 5th and 95th percentile over the rounds of how much longer one takes."""
    ratios = _medians(slow, stage) / _medians(fast, stage)
    median, low, high = np.percentile(ratios, (50, 5, 95)).tolist()
    return median, low, high


def _medians(turns: Turns, stage: str) -> np.ndarray:
    return np.array([np.median([frame[stage] for frame in turn]) for turn in turns])


def _serve(pipe: Connection, build: Callable[[], Subject]) -> None:
    """Build a subject and answer until the parent goes: facts, then times or what was taken."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, who ends this one
    try:
        subject = build()
        pipe.send(subject.facts())
        while True:
            frames = pipe.recv()
            if frames is None:
                pipe.send(machine.process())
            else:
                pipe.send([subject.frame() for _ in range(frames)])
    except FusionError as error:
        pipe.send(error)
    except EOFError:
        pass
