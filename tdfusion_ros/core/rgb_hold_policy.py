"""
Pair every rgb frame with the nearest ir frame, for a slow thermal camera with a fast rgb camera.

A thermal camera of 8.6 Hz with rgb of 30 Hz gives 8.6 pairs a second under ``nearest``. This
policy uses an ir frame several times: each rgb frame gets the nearest of the last ir frames, up to
``sync.hold_max_age_ms`` away. An rgb frame is returned at once, unless the next ir frame is due
within ``sync.max_skew_ms``: then it waits for that, at most until the next rgb frame.
"""

from collections import deque
from statistics import median
from typing import Any

from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.pairing_policy import PairingPolicy
from tdfusion_ros.core.pairing_policy import PolicyPair

IR_FRAMES = 4  # kept, because in a looping bag one stream restarts before the other


class RgbHoldPolicy(PairingPolicy):
    """
    The mode ``rgb_hold``.

    ``dropped`` counts rgb frames only: ``no_partner`` (no ir frame near), ``out_of_order``,
    ``reset``.
    """

    def __init__(self, config: SyncConfig) -> None:
        super().__init__(config)
        self._max_age_ns = round(config.hold_max_age_ms * 1e6)
        self._start()

    def _start(self) -> None:
        self._irs: deque[tuple[int, Any]] = deque(maxlen=IR_FRAMES)
        self._ir_intervals_ns: deque[int] = deque(maxlen=15)
        self._waiting: tuple[int, Any] | None = None  # the last rgb frame, until returned
        self._rgb_ns: int | None = None

    def reset(self, cause: str = 'reset') -> None:
        if self._waiting:
            self._drop('rgb', self._waiting[0], cause)
        self._start()

    def push(self, stream: str, stamp_ns: int, frame: Any) -> list[PolicyPair]:
        stamp_ns += self._offsets_ns[stream]
        if stream == 'ir':
            if self._irs and (interval_ns := stamp_ns - self._irs[-1][0]) > 0:
                self._ir_intervals_ns.append(interval_ns)
            self._irs.append((stamp_ns, frame))
            return self.flush()
        pairs = self.flush()
        if self._rgb_ns is not None and -self._max_skew_ns <= stamp_ns - self._rgb_ns <= 0:
            self._drop('rgb', stamp_ns, 'out_of_order')
            return pairs
        self._rgb_ns = stamp_ns
        self._waiting = stamp_ns, frame
        return pairs if self._ir_is_due(stamp_ns) else pairs + self.flush()

    def flush(self) -> list[PolicyPair]:
        if self._waiting is None:
            return []
        (rgb_ns, rgb), self._waiting = self._waiting, None
        if self._irs:
            ir_ns, ir = min(self._irs, key=lambda entry: abs(entry[0] - rgb_ns))
            if abs(ir_ns - rgb_ns) <= self._max_age_ns:
                return [PolicyPair(rgb, ir, ir_ns - rgb_ns)]
        self._drop('rgb', rgb_ns, 'no_partner')
        return []

    def _ir_is_due(self, rgb_ns: int) -> bool:
        """Return whether the next ir frame is due within the skew of this rgb frame."""
        if len(self._ir_intervals_ns) < 3 or abs(self._irs[-1][0] - rgb_ns) <= self._max_skew_ns:
            return False
        due_ns = self._irs[-1][0] + median(self._ir_intervals_ns)
        return abs(due_ns - rgb_ns) <= self._max_skew_ns
