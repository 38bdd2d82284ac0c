"""
Every rgb frame with the ir frame nearest to it: for a slow thermal camera beside a fast rgb one.

An 8.6 Hz core beside 30 Hz rgb gives 8.6 pairs a second. Here each rgb frame is fused, with the ir
frame nearest in time among the last ones, up to ``sync.hold_max_age_ms`` away. An rgb frame leaves
at once, but for the one that an ir frame is about to join within ``sync.max_skew_ms``: it waits
for that, at most until the next rgb frame.
"""

from collections import Counter
from collections import deque
from statistics import median
from typing import Any

from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.nearest_policy import PolicyPair

KEPT = 4  # ir frames; the stream that begins a loop of a bag first still finds the old ones


class RgbHoldPolicy:
    """
    Give every rgb frame an ir frame, with the face of ``NearestPolicy``.

    ``dropped`` counts rgb frames only, as ir frames are there to be used several times:
    ``no_partner`` (no ir frame is near enough), ``out_of_order``, ``reset`` (waiting when
    somebody asked for that).
    """

    def __init__(self, config: SyncConfig) -> None:
        self._max_skew_ns = round(config.max_skew_ms * 1e6)
        self._max_age_ns = round(config.hold_max_age_ms * 1e6)
        self._offset_ns = {
            'rgb': round(config.rgb_time_offset_ms * 1e6),
            'ir': round(config.ir_time_offset_ms * 1e6),
        }
        self._irs: deque[tuple[int, Any]] = deque(maxlen=KEPT)
        self._steps_ns: deque[int] = deque(maxlen=15)
        self._waiting: tuple[int, Any] | None = None
        self._rgb_ns: int | None = None
        self.dropped: Counter[str] = Counter()

    def reset(self) -> None:
        """Forget all frames, and what is known of the rate of ir."""
        self.dropped['reset'] += self._waiting is not None
        self._irs.clear()
        self._steps_ns.clear()
        self._waiting = self._rgb_ns = None

    def push(self, stream: str, stamp_ns: int, frame: Any) -> list[PolicyPair]:
        """
        Take the next frame of a stream and return the pairs that leave now, oldest first.

        :param stream: ``rgb`` or ``ir``.
        :param stamp_ns: its stamp, before the stream's time offset [ns].
        :param frame: anything; it comes back in the pair.
        """
        stamp_ns += self._offset_ns[stream]
        if stream == 'ir':
            return self._take_ir(stamp_ns, frame)
        pairs = self.flush()
        if self._rgb_ns is not None and -self._max_skew_ns <= stamp_ns - self._rgb_ns <= 0:
            self.dropped['out_of_order'] += 1
            return pairs
        self._rgb_ns = stamp_ns
        self._waiting = stamp_ns, frame
        return pairs if self._is_expected(stamp_ns) else pairs + self.flush()

    def flush(self) -> list[PolicyPair]:
        """Return the pair of the rgb frame that waits for an ir frame, if any does."""
        if self._waiting is None:
            return []
        (rgb_ns, rgb), self._waiting = self._waiting, None
        if self._irs:
            ir_ns, ir = min(self._irs, key=lambda one: abs(one[0] - rgb_ns))
            if abs(ir_ns - rgb_ns) <= self._max_age_ns:
                return [PolicyPair(rgb, ir, ir_ns - rgb_ns)]
        self.dropped['no_partner'] += 1
        return []

    def _take_ir(self, stamp_ns: int, frame: Any) -> list[PolicyPair]:
        if self._irs and (step_ns := stamp_ns - self._irs[-1][0]) > 0:
            self._steps_ns.append(step_ns)
        self._irs.append((stamp_ns, frame))
        return self.flush()

    def _is_expected(self, rgb_ns: int) -> bool:
        """Tell whether the next ir frame is due within the skew of this rgb frame."""
        if len(self._steps_ns) < 3 or abs(self._irs[-1][0] - rgb_ns) <= self._max_skew_ns:
            return False
        due_ns = self._irs[-1][0] + median(self._steps_ns)
        return abs(due_ns - rgb_ns) <= self._max_skew_ns
