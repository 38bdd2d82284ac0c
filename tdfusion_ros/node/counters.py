"""What the node counts and measures."""

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
OK, WARN, ERROR, STALE = 0, 1, 2, 3  # diagnostic_msgs/DiagnosticStatus


@dataclass(frozen=True)
class Status:
    """
    One diagnostic_msgs/DiagnosticStatus: its subject, level, a sentence, named values as text.

    STALE says that the values are old because something before it in the path is silent, which
    has a status of its own.
    """

    name: str
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
        self._facts: dict[str, str] = {}

    def count(self, name: str, times: int = 1) -> None:
        """Add to a total."""
        with self._lock:
            self._totals[name] += times

    def tick(self, name: str, times: int = 1) -> None:
        """Add to a total and to its rate."""
        with self._lock:
            self._totals[name] += times
            self._times[name].extend([self._clock()] * times)

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

    def begin(self) -> None:
        """Forget when things happened last: what was before a pause is no silence."""
        with self._lock:
            self._times.clear()

    def tell(self, name: str, text: str) -> None:
        """Keep a text to be shown among the values until it is replaced."""
        with self._lock:
            self._facts[name] = text

    def recent(self, name: str) -> np.ndarray:
        """Return the samples of a percentile window, (n,) float64."""
        with self._lock:
            return np.array(self._samples.get(name, ()), np.float64)

    def total(self, name: str) -> int:
        """Return a total."""
        with self._lock:
            return self._totals[name]

    def silent_s(self, name: str) -> float:
        """Return the time since the last tick, infinite before the first [s]."""
        with self._lock:
            times = self._times[name]
            return self._clock() - times[-1] if times else float('inf')

    def since_s(self, name: str, silence_s: float) -> float:
        """Return the time since the first tick after the last silence so long, 0 before it [s]."""
        with self._lock:
            times = self._times[name]
            begun = times[-1] if times else self._clock()
            for at in reversed(times):
                if begun - at > silence_s:
                    break
                begun = at
            return self._clock() - begun

    def lately(self, name: str) -> int:
        """Return how many ticks there were in the last five seconds."""
        with self._lock:
            now = self._clock()
            return sum(now - t <= RATE_WINDOW_S for t in self._times[name])

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
            out |= self._facts
            for name, window in sorted(self._samples.items()):
                p50, p95 = np.percentile(window, (50, 95))
                out |= {
                    f'{name}_p50': f'{p50:.3f}',
                    f'{name}_p95': f'{p95:.3f}',
                    f'{name}_mean': f'{np.mean(window):.3f}',
                }
        return out

    def problems(self, end: str = '') -> list[str]:
        """Return the sentences that were noted under names with this end, as ``.rgb``."""
        with self._lock:
            return [text for name, text in sorted(self._notes.items()) if name.endswith(end)]
