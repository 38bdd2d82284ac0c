"""What the node counts and measures, and how it says so on /diagnostics."""

from collections import Counter
from collections import defaultdict
from collections import deque
from dataclasses import dataclass
from dataclasses import field
from threading import Lock
from time import monotonic

import numpy as np

WINDOW = 300  # samples a percentile looks back
RATE_WINDOW_S = 5.0
OK, WARN, ERROR = 0, 1, 2  # diagnostic_msgs/DiagnosticStatus


@dataclass(frozen=True)
class Status:
    """One diagnostic_msgs/DiagnosticStatus: level, a sentence, and named values as text."""

    level: int
    message: str
    values: dict[str, str] = field(default_factory=dict)


class Counters:
    """
    Rates, drops by cause and latencies; both threads of the node write here.

    :param clock: returns seconds that never go back.
    """

    def __init__(self, clock=monotonic) -> None:
        self._lock = Lock()
        self._clock = clock
        self._totals: Counter[str] = Counter()
        self._times: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=2000))
        self._samples: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=WINDOW))
        self._notes: dict[str, str] = {}

    def count(self, name: str, times: int = 1) -> None:
        """Add to a total."""
        with self._lock:
            self._totals[name] += times

    def tick(self, name: str) -> None:
        """Add one to a total and to its rate."""
        with self._lock:
            self._totals[name] += 1
            self._times[name].append(self._clock())

    def sample(self, name: str, value: float) -> None:
        """Add a measured value to a percentile window."""
        with self._lock:
            self._samples[name].append(value)

    def note(self, name: str, text: str) -> None:
        """Keep a sentence to be shown until it is replaced; empty text removes it."""
        with self._lock:
            self._notes[name] = text
            if not text:
                del self._notes[name]

    def total(self, name: str) -> int:
        """Return a total."""
        with self._lock:
            return self._totals[name]

    def silent_s(self, name: str) -> float:
        """Return the time since the last tick, infinite before the first [s]."""
        with self._lock:
            times = self._times[name]
            return self._clock() - times[-1] if times else float('inf')

    def rate_hz(self, name: str) -> float:
        """Return ticks per second over the last five seconds [Hz]."""
        with self._lock:
            now = self._clock()
            recent = [t for t in self._times[name] if now - t <= RATE_WINDOW_S]
        if len(recent) < 2:
            return 0.0
        intervals, span = len(recent) - 1, recent[-1] - recent[0]
        silence = now - recent[-1] - span / intervals  # only what is overdue lowers the rate
        return intervals / max(span + max(silence, 0.0), 1e-9)

    def values(self, drops: Counter[str]) -> dict[str, str]:
        """Return everything as named text, for a diagnostics message or a table."""
        out = {f'{name}_rate_hz': f'{self.rate_hz(name):.2f}' for name in ('rgb', 'ir', 'pairs')}
        with self._lock:
            totals = Counter(self._totals)
            for cause, number in drops.items():
                totals[f'dropped.{cause}'] += number
            out |= {name: str(number) for name, number in sorted(totals.items())}
            for name, window in sorted(self._samples.items()):
                p50, p95 = np.percentile(window, (50, 95))
                out |= {
                    f'{name}_p50': f'{p50:.3f}',
                    f'{name}_p95': f'{p95:.3f}',
                    f'{name}_mean': f'{np.mean(window):.3f}',
                }
        return out

    def problems(self) -> list[str]:
        """Return the sentences that were noted."""
        with self._lock:
            return [text for _, text in sorted(self._notes.items())]


def judge(counters: Counters, drops: Counter[str], timeout_s: float, engine: str) -> Status:
    """
    Say how the node is doing.

    :param drops: what pairing dropped, by cause.
    :param timeout_s: silence of a stream that is worth a warning [s].
    :param engine: backend in use, for the values.
    """
    problems = counters.problems()
    for stream in ('rgb', 'ir'):
        silent = counters.silent_s(stream)
        if silent > timeout_s:
            problems.append(
                f'no usable {stream} image '
                + ('yet' if silent == float('inf') else f'for {silent:.1f} s')
            )
    if not problems and counters.silent_s('pairs') > timeout_s:
        problems.append(
            'images arrive but no pair: compare the stamps of both cameras, set '
            'sync.ir_time_offset_ms or sync.max_skew_ms'
        )
    values = {'backend': engine, **counters.values(drops)}
    if problems:
        return Status(WARN, '; '.join(problems), values)
    return Status(OK, f'fusing {values["pairs_rate_hz"]} pairs a second', values)
