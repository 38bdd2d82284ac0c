"""A limit on how often something happens."""

from collections.abc import Callable
from time import monotonic

# Tolerated earliness in periods: a camera exactly at the limit must not lose early frames.
TOLERANCE = 0.5


class RateLimit:
    """Admit at most ``rate_hz`` calls per second on average (0: all); nothing is queued."""

    def __init__(self, rate_hz: float, clock: Callable[[], float] = monotonic) -> None:
        self._period_s = 1.0 / rate_hz if rate_hz else 0.0
        self._clock = clock
        self._due = float('-inf')

    def admit(self) -> bool:
        """Return whether a call may pass now, and count it if so."""
        now = self._clock()
        if now < self._due:
            return False
        self._due = max(self._due, now - TOLERANCE * self._period_s) + self._period_s
        return True
