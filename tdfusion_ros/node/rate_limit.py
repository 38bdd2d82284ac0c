"""A limit on how often something happens."""

from collections.abc import Callable
from time import monotonic

# A camera at just the limit must not lose every frame that comes a little early.
CREDIT = 0.5  # of a period


class RateLimit:
    """
    Admit at most ``rate_hz`` a second on the average, and the newest rather than the next in line.

    What is not admitted is gone: whoever waited for its turn would be older than what comes then.

    :param rate_hz: 0 admits everything [Hz].
    :param clock: returns seconds that never go back.
    """

    def __init__(self, rate_hz: float, clock: Callable[[], float] = monotonic) -> None:
        self._period_s = 1.0 / rate_hz if rate_hz else 0.0
        self._clock = clock
        self._due = float('-inf')

    def admits(self) -> bool:
        """Tell whether one more may pass now, and count it if so."""
        now = self._clock()
        if now < self._due:
            return False
        self._due = max(self._due, now - CREDIT * self._period_s) + self._period_s
        return True
