"""Pairing by message_filters, for those who want what the rest of their robot does."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.pairing_policy import PolicyPair


class ApproximatePolicy:
    """
    ``message_filters.ApproximateTimeSynchronizer`` with the face of ``NearestPolicy``.

    It pairs the first frames within the slop, not the nearest, does not say what it drops, and
    loses most pairs of a looping bag; ``nearest`` is the better choice unless results must equal
    another node's.

    :raises ConfigError: where message_filters is not installed.
    """

    def __init__(self, config: SyncConfig) -> None:
        try:
            import message_filters
        except ImportError as error:
            raise ConfigError(
                "sync.policy 'approximate' needs the ROS package message_filters; "
                f"install it or use 'nearest' ({error})"
            ) from None
        self._filters_of = message_filters
        self._config = config
        self.dropped: Counter[str] = Counter()
        self._offset_ns = {
            'rgb': round(config.rgb_time_offset_ms * 1e6),
            'ir': round(config.ir_time_offset_ms * 1e6),
        }
        self._pairs: list[PolicyPair] = []
        self.reset()

    def reset(self) -> None:
        """Forget all waiting frames; message_filters does not say how many."""
        package = self._filters_of
        self._filters = {stream: package.SimpleFilter() for stream in ('rgb', 'ir')}
        self._sync = package.ApproximateTimeSynchronizer(
            [self._filters['rgb'], self._filters['ir']],
            self._config.queue_size,
            self._config.max_skew_ms / 1e3 + 1e-9,  # the slop itself is too far apart there
        )
        self._sync.registerCallback(self._matched)

    def push(self, stream: str, stamp_ns: int, frame: Any) -> list[PolicyPair]:
        """Take the next frame of a stream and return the pairs that it completes."""
        sec, nanosec = divmod(stamp_ns + self._offset_ns[stream], 1_000_000_000)
        stamp = _time(sec, nanosec)
        self._filters[stream].signalMessage(
            SimpleNamespace(
                header=SimpleNamespace(stamp=stamp),
                frame=frame,
                stamp_ns=stamp_ns + self._offset_ns[stream],
            )
        )
        pairs, self._pairs = self._pairs, []
        return pairs

    def flush(self) -> list[PolicyPair]:
        """Return nothing: no pair waits here."""
        return []

    def _matched(self, rgb: Any, ir: Any) -> None:
        # Called inside the synchronizer's lock: only take note, raise nothing.
        self._pairs.append(PolicyPair(rgb.frame, ir.frame, ir.stamp_ns - rgb.stamp_ns))


def _time(sec: int, nanosec: int) -> Any:
    from builtin_interfaces.msg import Time

    return Time(sec=sec, nanosec=nanosec)
