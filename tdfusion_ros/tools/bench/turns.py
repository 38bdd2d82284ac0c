"""
Time workloads in turns, each in a process and memory of its own.

Other work on the machine then affects all of them alike, so their ratio is reliable.
"""

from collections.abc import Callable
from collections.abc import Mapping
from contextlib import closing
from contextlib import ExitStack
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
import signal
from typing import Any

import numpy as np
from tqdm import tqdm

from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.tools.bench.host import process_usage
from tdfusion_ros.tools.bench.workloads import Workload

END_TIMEOUT_S = 5
UNTIMED = 1  # frames at the start of each turn: the caches belong to the previous workload

Turns = list[list[dict[str, int]]]  # for each turn and frame, the time of each stage [ns]


@dataclass(frozen=True)
class Timing:
    """What is known of a workload after its turns: its own facts, usage of its process, times."""

    facts: dict[str, Any]
    usage: dict[str, float]
    turns: Turns

    def percentiles_ms(self) -> dict[str, dict[str, float]]:
        """Return p50, p95, p99 and mean of every stage [ms]."""
        table = {}
        for stage in self.turns[0][0]:
            times = np.array([frame[stage] for turn in self.turns for frame in turn]) / 1e6
            values = [*np.percentile(times, (50, 95, 99)), times.mean()]
            names = ('p50', 'p95', 'p99', 'mean')
            table[stage] = {n: round(float(v), 4) for n, v in zip(names, values, strict=True)}
        return table

    def turn_medians_ms(self, stage: str) -> np.ndarray:
        """Return the median time of a stage in each turn, (N,) float64 [ms]."""
        return np.array([np.median([frame[stage] for frame in turn]) for turn in self.turns]) / 1e6


def time_in_turns(
    builds: Mapping[str, Callable[[], Workload]], *, frames: int, block: int, warm_up: int
) -> dict[str, Timing]:
    """
    Time workloads in turns.

    :param builds: makes each workload in its process; must be picklable.
    :param frames: timed frames of each, in turns of ``block``, after ``warm_up`` others.
    :raises FusionError: what building or running a workload raises.
    """
    with ExitStack() as stack:
        workers = {}
        for name, build in builds.items():
            workers[name] = stack.enter_context(closing(WorkerProcess(build)))
            workers[name].ask(warm_up)
        turns = take_turns(workers, frames, block)
        return {name: Timing(w.facts, w.ask(None), turns[name]) for name, w in workers.items()}


def take_turns(
    workers: Mapping[str, 'WorkerProcess'], frames: int, block: int
) -> dict[str, Turns]:
    """Return times of each worker by turn; every other round in reverse, so that drift cancels."""
    sizes = [min(block, frames - start) for start in range(0, frames, block)]
    turns: dict[str, Turns] = {name: [] for name in workers}
    for number, size in enumerate(tqdm(sizes, unit='round', disable=None)):
        for name in list(workers)[:: -1 if number % 2 else 1]:
            turns[name].append(workers[name].ask(UNTIMED + size)[UNTIMED:])
    return turns


def ratio(slow: Timing, fast: Timing, stage: str) -> tuple[float, float, float]:
    """Return median, 5th and 95th percentile over the rounds of how much longer one takes."""
    ratios = slow.turn_medians_ms(stage) / fast.turn_medians_ms(stage)
    median, low, high = np.percentile(ratios, (50, 5, 95)).tolist()
    return median, low, high


class WorkerProcess:
    """A workload in its own process, made by a picklable ``build``, idle until it is asked."""

    def __init__(self, build: Callable[[], Workload]) -> None:
        context = get_context('spawn')  # a forked process would begin with this one's memory
        self._pipe, remote = context.Pipe()
        self._process = context.Process(target=_serve, args=(remote, build), daemon=True)
        self._process.start()
        remote.close()  # so that the end of the worker closes the pipe
        try:
            self.facts: dict[str, Any] = self._receive()
        except BaseException:
            self.close()
            raise

    def ask(self, frames: int | None) -> Any:
        """Run frames and return the times of their stages [ns]; None: the process's usage."""
        with suppress(OSError):  # a worker that ended may have sent the reason
            self._pipe.send(frames)
        return self._receive()

    def close(self) -> None:
        self._process.terminate()
        self._process.join(END_TIMEOUT_S)
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _receive(self) -> Any:
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError):
            raise FusionError('the timed process ended unexpectedly: too little memory?') from None
        if isinstance(answer, FusionError):
            raise answer
        return answer


def _serve(pipe: Connection, build: Callable[[], Workload]) -> None:
    """Build a workload, send its facts, then answer with times, or usage for None, until EOF."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, which ends this one
    try:
        workload = build()
        pipe.send(workload.facts())
        while True:
            frames = pipe.recv()
            if frames is None:
                pipe.send(process_usage())
            else:
                pipe.send([workload.run_frame() for _ in range(frames)])
    except FusionError as error:
        pipe.send(error)
    except EOFError:
        pass
