"""Counters, rates and latencies of the node."""

from collections import Counter
from collections import defaultdict
from collections import deque
from collections.abc import Callable
from threading import Lock
from time import monotonic

import numpy as np

WINDOW = 300  # samples per percentile
RATE_WINDOW_S = 5.0


class Counters:
    """Totals, rates, samples and current problems; both threads of the node write here."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._lock = Lock()
        self._clock = clock
        self._totals: Counter[str] = Counter()
        self._times: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=2000))
        self._samples: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=WINDOW))
        self._problems: dict[str, str] = {}
        self._texts: dict[str, str] = {}

    def count(self, name: str, times: int = 1) -> None:
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

    def set_problem(self, name: str, message: str) -> None:
        """Replace the message of a problem; an empty message removes it."""
        with self._lock:
            self._problems[name] = message

    def set_text(self, name: str, text: str) -> None:
        """Replace a text that is reported among the values; an empty one removes it."""
        with self._lock:
            self._texts[name] = text

    def restart_rates(self) -> None:
        """Discard the times of all ticks, so that no gap spans a pause."""
        with self._lock:
            self._times.clear()

    def total(self, name: str) -> int:
        with self._lock:
            return self._totals[name]

    def samples(self, name: str) -> np.ndarray:
        """Return a percentile window, (n,) float64."""
        with self._lock:
            return np.array(self._samples.get(name, ()), np.float64)

    def problems(self, suffix: str) -> list[str]:
        """Return the messages of all problems whose name ends with a suffix, as ``.rgb``."""
        with self._lock:
            named = sorted(self._problems.items())
        return [message for name, message in named if name.endswith(suffix) and message]

    def idle_s(self, name: str) -> float:
        """Return the time since the last tick [s], infinite before the first one."""
        with self._lock:
            times = self._times[name]
            return self._clock() - times[-1] if times else float('inf')

    def running_s(self, name: str, max_gap_s: float) -> float:
        """Return how long before now the ticks without a longer gap began [s], 0 without ticks."""
        with self._lock:
            times = self._times[name]
            if not times:
                return 0.0
            start = times[-1]
            for at in reversed(times):
                if start - at > max_gap_s:
                    break
                start = at
            return self._clock() - start

    def recent(self, name: str) -> int:
        """Return the number of ticks within the last five seconds."""
        with self._lock:
            since = self._clock() - RATE_WINDOW_S
            return sum(at >= since for at in self._times[name])

    def recent_of(self, prefix: str) -> Counter[str]:
        """Return these numbers of all names with a prefix, by the rest of the name."""
        with self._lock:
            names = [name for name in self._times if name.startswith(prefix)]
        return Counter({name.removeprefix(prefix): self.recent(name) for name in names})

    def rate_hz(self, name: str) -> float:
        """Return the rate of the ticks within the last five seconds [Hz]."""
        with self._lock:
            now = self._clock()
            times = [at for at in self._times[name] if now - at <= RATE_WINDOW_S]
        if len(times) < 2:
            return 0.0
        intervals, span = len(times) - 1, times[-1] - times[0]
        overdue = now - times[-1] - span / intervals  # lowers the rate once it is positive
        return intervals / max(span + max(overdue, 0.0), 1e-9)

    def values(self) -> dict[str, str]:
        """Return all values as text by name."""
        out = {f'{name}_rate_hz': f'{self.rate_hz(name):.2f}' for name in ('rgb', 'ir', 'pairs')}
        with self._lock:
            out |= {name: str(number) for name, number in sorted((+self._totals).items())}
            out |= {name: text for name, text in self._texts.items() if text}
            for name, window in sorted(self._samples.items()):
                p50, p95 = np.percentile(window, (50, 95))
                for suffix, value in (('p50', p50), ('p95', p95), ('mean', np.mean(window))):
                    out[f'{name}_{suffix}'] = f'{value:.3f}'
        return out
