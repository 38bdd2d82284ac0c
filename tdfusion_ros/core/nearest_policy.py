"""
Pair rgb and ir frames that are each other's nearest in time.

A pair is final when no later frame can be nearer. When the newer frame of a pair arrives, only one
later frame can be nearer to it: the next one of the older frame's stream, one period after the
older frame. If the gap of the pair is a small part of a period, the next frame cannot be nearer,
and the pair is returned at once; else it waits for that frame. At equal rates the part is
a little above one half, so a pair is returned when its later frame arrives.

Only stamps count, not arrival times: a bag gives the same pairs live, looped and offline.
"""

from collections import deque
from dataclasses import dataclass
from dataclasses import field
from statistics import median
from typing import Any

from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.pairing_policy import OTHER
from tdfusion_ros.core.pairing_policy import PairingPolicy
from tdfusion_ros.core.pairing_policy import PolicyPair

# A pair whose gap is up to this share of the shortest recent interval is final at once: stamps
# that jitter by a sixth of a period do not bring the next frame nearer.
FINAL_GAP = 0.3
# The same for two cameras of one rate, of their period. It is above one half, so that cameras half
# a period apart lose no frames to the jitter of their stamps.
FINAL_GAP_OF_EQUALS = 0.55
EQUAL = 1.05  # largest ratio of equal rates


@dataclass(frozen=True)
class _Waiting:
    """
    A frame without a partner.

    Median and least of the recent intervals of its stream are as it arrived, 0 if not known: later
    frames must not change the outcome.
    """

    stamp_ns: int
    frame: Any
    period_ns: float
    shortest_ns: int


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
        known = self.intervals_ns if len(self.intervals_ns) >= 3 else (0,)
        self.waiting.append(_Waiting(stamp_ns, frame, median(known), min(known)))
        self.latest_ns = stamp_ns


class NearestPolicy(PairingPolicy):
    """
    The policy ``nearest``.

    Causes of ``dropped``: ``no_partner`` (none within the skew), ``too_old``, ``queue_full``,
    ``out_of_order`` (older than the frame before), ``time_jump`` (waiting when time jumped back,
    as in a looping bag), ``reset``.
    """

    def __init__(self, config: SyncConfig) -> None:
        super().__init__(config)
        self._max_age_ns = round(config.max_age_ms * 1e6)
        self._queue_size = config.queue_size
        self._streams = {'rgb': _Stream(), 'ir': _Stream()}

    def push(self, stream: str, stamp_ns: int, frame: Any) -> list[PolicyPair]:
        stamp_ns += self._offsets_ns[stream]
        if self._drop_abandoned(stream, stamp_ns):
            return []
        pairs: list[PolicyPair] = []
        latest_ns = self._streams[stream].latest_ns
        if latest_ns is not None and stamp_ns <= latest_ns:
            if latest_ns - stamp_ns <= self._max_skew_ns:
                self._drop(stream, stamp_ns, 'out_of_order')
                return []
            pairs = self._restart(OTHER[stream])
        own = self._streams[stream]
        own.append(stamp_ns, frame)
        # An overdue frame takes the partner that it has: a nearer one may never come.
        pairs += self._take_final_pairs(flush=self._overdue(own) != '')
        while cause := self._overdue(own):
            self._drop(stream, own.waiting.popleft().stamp_ns, cause)
        return pairs

    def flush(self) -> list[PolicyPair]:
        return self._take_final_pairs(flush=True)

    def reset(self, cause: str = 'reset') -> None:
        for name, stream in self._streams.items():
            for frame in stream.waiting:
                self._drop(name, frame.stamp_ns, cause)
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
            self._drop(stream, stamp_ns, 'time_jump')
            return True
        own.abandoned_ns = None
        return False

    def _take_final_pairs(self, *, flush: bool) -> list[PolicyPair]:
        """Remove and return the final pairs; if ``flush``, wait for no nearer partner."""
        waiting = {stream: own.waiting for stream, own in self._streams.items()}
        rgb, ir = waiting['rgb'], waiting['ir']
        pairs = []
        while rgb and ir:
            stream = 'rgb' if rgb[0].stamp_ns <= ir[0].stamp_ns else 'ir'
            older, newer = waiting[stream], waiting[OTHER[stream]]
            gap_ns = newer[0].stamp_ns - older[0].stamp_ns
            near = gap_ns <= _final_gap_ns(older[0], newer[0])
            # From the newer frame to the next one of the older frame's stream.
            next_ns = older[1].stamp_ns - newer[0].stamp_ns if len(older) > 1 else None
            nearer = next_ns is not None and (next_ns <= 0 or (next_ns < gap_ns and not near))
            if gap_ns > self._max_skew_ns or nearer:
                self._drop(stream, older.popleft().stamp_ns, 'no_partner')
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


def _final_gap_ns(older: _Waiting, newer: _Waiting) -> float:
    """Return the gap up to which no later frame of the older one's stream can be nearer [ns]."""
    periods = sorted((older.period_ns, newer.period_ns))
    shortest = sorted((older.shortest_ns, newer.shortest_ns))
    # If images are lost, the medians of two rates may be equal.
    if 0 < periods[1] <= EQUAL * periods[0] and shortest[1] <= 1.5 * shortest[0]:
        return FINAL_GAP_OF_EQUALS * older.period_ns
    return FINAL_GAP * older.shortest_ns
