"""
Pair rgb and ir frames that are each other's nearest in time.

A pair is final when no later frame can be nearer. When the newer frame of a pair arrives, only one
later frame can be nearer to it: the next one of the older frame's stream, one period after the
older frame. If the gap of the pair is at most half a period, the next frame cannot be nearer, and
the pair is returned at once. So at equal rates a pair is returned when its later frame arrives; at
different rates it waits for at most one more frame of the faster stream.

Only stamps count, not arrival times: a bag gives the same pairs live, looped and offline.
"""

from collections import Counter
from collections import deque
from dataclasses import dataclass
from dataclasses import field
from statistics import median
from typing import Any

from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.pairing_policy import OTHER
from tdfusion_ros.core.pairing_policy import PolicyPair

# A pair whose gap is up to this share of a period is final at once. It is above one half, so that
# two cameras of one rate, half a period apart, lose no frames to the jitter of their stamps.
FINAL_GAP = 0.55


@dataclass(frozen=True)
class _Waiting:
    """A frame without a partner; later frames must not change the period used for it."""

    stamp_ns: int
    frame: Any
    period_ns: float | None


@dataclass
class _Stream:
    """What is known of one stream; ``abandoned_ns``: latest before the other jumped back."""

    waiting: deque[_Waiting] = field(default_factory=deque)
    intervals_ns: deque[int] = field(default_factory=lambda: deque(maxlen=15))
    latest_ns: int | None = None
    abandoned_ns: int | None = None

    def append(self, stamp_ns: int, frame: Any) -> None:
        if self.latest_ns is not None:
            self.intervals_ns.append(stamp_ns - self.latest_ns)
        period_ns = median(self.intervals_ns) if len(self.intervals_ns) >= 3 else None
        self.waiting.append(_Waiting(stamp_ns, frame, period_ns))
        self.latest_ns = stamp_ns


class NearestPolicy:
    """
    The policy ``nearest``, see :class:`tdfusion_ros.core.pairing_policy.PairingPolicy`.

    Causes of ``dropped``: ``no_partner`` (none within the skew), ``too_old``, ``queue_full``,
    ``out_of_order`` (older than the frame before), ``time_jump`` (waiting when time jumped back,
    as in a looping bag), ``reset``.
    """

    def __init__(self, config: SyncConfig) -> None:
        self._max_skew_ns = round(config.max_skew_ms * 1e6)
        self._max_age_ns = round(config.max_age_ms * 1e6)
        self._queue_size = config.queue_size
        self._offsets_ns = config.offsets_ns
        self._streams = {'rgb': _Stream(), 'ir': _Stream()}
        self.dropped: Counter[str] = Counter()

    def push(self, stream: str, stamp_ns: int, frame: Any) -> list[PolicyPair]:
        """Take the next frame of a stream and return the pairs that are final now."""
        stamp_ns += self._offsets_ns[stream]
        if self._drop_abandoned(stream, stamp_ns):
            return []
        pairs: list[PolicyPair] = []
        latest_ns = self._streams[stream].latest_ns
        if latest_ns is not None and stamp_ns <= latest_ns:
            if latest_ns - stamp_ns <= self._max_skew_ns:
                self.dropped['out_of_order'] += 1
                return []
            pairs = self._restart(OTHER[stream])
        own = self._streams[stream]
        own.append(stamp_ns, frame)
        # An overdue frame takes the partner that it has: a nearer one may never come.
        pairs += self._take_final_pairs(flush=self._overdue(own) != '')
        while cause := self._overdue(own):
            self._drop(own, cause)
        return pairs

    def flush(self) -> list[PolicyPair]:
        """Return the pairs that wait for a nearer partner."""
        return self._take_final_pairs(flush=True)

    def reset(self, cause: str = 'reset') -> None:
        """Forget the rates and all waiting frames, which are counted under the cause."""
        self.dropped[cause] += sum(len(stream.waiting) for stream in self._streams.values())
        self._streams = {'rgb': _Stream(), 'ir': _Stream()}

    def _restart(self, other: str) -> list[PolicyPair]:
        """Start again at an earlier time; frames of the other stream may still be from before."""
        pairs, abandoned_ns = self.flush(), self._streams[other].latest_ns
        self.reset('time_jump')
        self._streams[other].abandoned_ns = abandoned_ns
        return pairs

    def _drop_abandoned(self, stream: str, stamp_ns: int) -> bool:
        """Drop a frame that is still from before the other stream jumped back; return whether."""
        own, other = self._streams[stream], self._streams[OTHER[stream]]
        if own.abandoned_ns is None:
            return False
        caught_up = (other.latest_ns or 0) >= own.abandoned_ns - self._max_skew_ns
        if stamp_ns >= own.abandoned_ns and not caught_up:
            self.dropped['time_jump'] += 1
            return True
        own.abandoned_ns = None
        return False

    def _take_final_pairs(self, *, flush: bool) -> list[PolicyPair]:
        """Remove and return the final pairs; if ``flush``, wait for no nearer partner."""
        rgb, ir = self._streams['rgb'].waiting, self._streams['ir'].waiting
        pairs = []
        while rgb and ir:
            older, newer = (rgb, ir) if rgb[0].stamp_ns <= ir[0].stamp_ns else (ir, rgb)
            gap_ns, period_ns = newer[0].stamp_ns - older[0].stamp_ns, older[0].period_ns
            near = period_ns is not None and gap_ns <= FINAL_GAP * period_ns
            # From the newer frame to the next one of the older frame's stream.
            next_ns = older[1].stamp_ns - newer[0].stamp_ns if len(older) > 1 else None
            nearer = next_ns is not None and (next_ns <= 0 or (next_ns < gap_ns and not near))
            if gap_ns > self._max_skew_ns or nearer:
                older.popleft()
                self.dropped['no_partner'] += 1
            elif near or flush or next_ns is not None:
                first_rgb, first_ir = rgb.popleft(), ir.popleft()
                skew_ns = first_ir.stamp_ns - first_rgb.stamp_ns
                pairs.append(PolicyPair(first_rgb.frame, first_ir.frame, skew_ns))
            else:
                break
        return pairs

    def _overdue(self, stream: _Stream) -> str:
        """Return why the oldest waiting frame must leave; empty if it need not."""
        waiting = stream.waiting
        if len(waiting) > self._queue_size:
            return 'queue_full'
        too_old = waiting and waiting[-1].stamp_ns - waiting[0].stamp_ns > self._max_age_ns
        return 'too_old' if too_old else ''

    def _drop(self, stream: _Stream, cause: str) -> None:
        stream.waiting.popleft()
        self.dropped[cause] += 1
