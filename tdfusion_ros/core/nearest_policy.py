"""
Pairs of rgb and ir frames that belong together in time.

A pair is two frames that are each other's nearest, closer than the largest skew. The older of the
two knows its nearest partner as soon as the newer one is there. Whether the newer one would find
a still nearer partner is known when the next frame of the older one's stream arrives; as that
frame is one period away, a gap of up to half a period need not wait for it. So at equal rates a
pair leaves with its later frame, and at unequal ones after at most one frame of the faster stream.

Stamps decide, not arrival times: the same bag gives the same pairs, live, looped and offline.
"""

from collections import Counter
from collections import deque
from dataclasses import dataclass
from dataclasses import field
from statistics import median
from typing import Any

from tdfusion_ros.core.config import SyncConfig

# A gap this share of a period counts as nearest at once. Above one half, so that two cameras of
# the same rate half a period apart do not lose frames to the jitter of their stamps.
HALF_PERIOD = 0.55


@dataclass(frozen=True)
class PolicyPair:
    """
    Two frames that belong together.

    :param skew_ns: stamp of ir minus stamp of rgb, offsets applied [ns].
    """

    rgb: Any
    ir: Any
    skew_ns: int


@dataclass(frozen=True)
class _Waiting:
    """A frame, and its stream's period as known when it came: later frames must not decide."""

    stamp_ns: int
    frame: Any
    period_ns: float | None


@dataclass
class _Stream:
    offset_ns: int
    waiting: deque[_Waiting] = field(default_factory=deque)
    latest_ns: int | None = None
    intervals_ns: deque[int] = field(default_factory=lambda: deque(maxlen=15))
    left_behind_ns: int | None = None  # where it stood when the other stream jumped back

    def reset(self) -> None:
        self.waiting.clear()
        self.intervals_ns.clear()
        self.latest_ns = None
        self.left_behind_ns = None

    @property
    def period_ns(self) -> float | None:
        return median(self.intervals_ns) if len(self.intervals_ns) >= 3 else None


class NearestPolicy:
    """
    Find pairs among frames as they arrive; count every frame that ends without a partner.

    ``dropped`` counts by cause: ``no_partner`` (none within the skew), ``too_old``,
    ``queue_full``, ``out_of_order`` (older than its predecessor), ``time_jump`` (waiting when
    time jumped back, as in a looping bag), ``reset`` (waiting when somebody asked for that).
    """

    def __init__(self, config: SyncConfig) -> None:
        self._max_skew_ns = round(config.max_skew_ms * 1e6)
        self._max_age_ns = round(config.max_age_ms * 1e6)
        self._queue_size = config.queue_size
        self._streams = {
            'rgb': _Stream(round(config.rgb_time_offset_ms * 1e6)),
            'ir': _Stream(round(config.ir_time_offset_ms * 1e6)),
        }
        self.dropped: Counter[str] = Counter()

    def push(self, stream: str, stamp_ns: int, frame: Any) -> list[PolicyPair]:
        """
        Take the next frame of a stream and return the pairs that are certain now, oldest first.

        :param stream: ``rgb`` or ``ir``.
        :param stamp_ns: its stamp, before the stream's time offset [ns].
        :param frame: anything; it comes back in the pair.
        """
        own = self._streams[stream]
        other = self._streams['ir' if stream == 'rgb' else 'rgb']
        stamp_ns += own.offset_ns
        if self._is_left_behind(own, other, stamp_ns):
            self.dropped['time_jump'] += 1
            return []
        pairs: list[PolicyPair] = []
        if own.latest_ns is not None:
            step_ns = stamp_ns - own.latest_ns
            if -self._max_skew_ns <= step_ns <= 0:
                self.dropped['out_of_order'] += 1
                return []
            if step_ns < 0:
                pairs = self._jump_back(other)
            else:
                own.intervals_ns.append(step_ns)
        own.latest_ns = stamp_ns
        own.waiting.append(_Waiting(stamp_ns, frame, own.period_ns))
        # Rather a pair that might have had a nearer partner than a frame given up for nothing.
        pairs += self._certain(flush=self._is_overdue(own))
        while self._is_overdue(own):
            full = len(own.waiting) > self._queue_size
            self._drop(own, 'queue_full' if full else 'too_old')
        return pairs

    def flush(self) -> list[PolicyPair]:
        """Return the pairs that only wait for a still nearer partner: no more frames come."""
        return self._certain(flush=True)

    def reset(self, cause: str = 'reset') -> None:
        """Forget all waiting frames, counted by the cause, and what is known of the rates."""
        for stream in self._streams.values():
            self.dropped[cause] += len(stream.waiting)
            stream.reset()

    def _jump_back(self, other: _Stream) -> list[PolicyPair]:
        """Begin anew at an earlier time; what the other stream still sends of the old is late."""
        pairs = self.flush()
        behind_ns = other.latest_ns
        self.reset('time_jump')
        other.left_behind_ns = behind_ns
        return pairs

    def _is_left_behind(self, own: _Stream, other: _Stream, stamp_ns: int) -> bool:
        """Tell whether a frame still belongs to the time before the other stream jumped back."""
        if own.left_behind_ns is None:
            return False
        reached_ns = own.left_behind_ns - self._max_skew_ns
        if stamp_ns >= own.left_behind_ns and (other.latest_ns or 0) < reached_ns:
            return True
        own.left_behind_ns = None
        return False

    def _certain(self, *, flush: bool) -> list[PolicyPair]:
        rgb, ir = self._streams['rgb'], self._streams['ir']
        pairs = []
        while rgb.waiting and ir.waiting:
            rgb_first, ir_first = rgb.waiting[0], ir.waiting[0]
            older, newer = (rgb, ir) if rgb_first.stamp_ns <= ir_first.stamp_ns else (ir, rgb)
            newer_ns, period_ns = newer.waiting[0].stamp_ns, older.waiting[0].period_ns
            gap_ns = newer_ns - older.waiting[0].stamp_ns
            near = period_ns is not None and gap_ns <= HALF_PERIOD * period_ns
            after_ns = older.waiting[1].stamp_ns - newer_ns if len(older.waiting) > 1 else None
            outdone = after_ns is not None and (after_ns <= 0 or (after_ns < gap_ns and not near))
            if gap_ns > self._max_skew_ns or outdone:
                self._drop(older, 'no_partner')
            elif near or flush or after_ns is not None:
                pairs.append(
                    PolicyPair(
                        rgb_first.frame, ir_first.frame, ir_first.stamp_ns - rgb_first.stamp_ns
                    )
                )
                rgb.waiting.popleft()
                ir.waiting.popleft()
            else:
                break
        return pairs

    def _is_overdue(self, stream: _Stream) -> bool:
        """Tell whether the oldest waiting frame must go: too many wait, or it is too old."""
        waiting = stream.waiting
        if not waiting:
            return False
        age_ns = waiting[-1].stamp_ns - waiting[0].stamp_ns
        return len(waiting) > self._queue_size or age_ns > self._max_age_ns

    def _drop(self, stream: _Stream, cause: str) -> None:
        stream.waiting.popleft()
        self.dropped[cause] += 1
