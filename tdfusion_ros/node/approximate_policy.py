"""Pairing by message_filters, for the same pairs as other nodes that use it."""

from types import SimpleNamespace
from typing import Any

from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.pairing_policy import PairingPolicy
from tdfusion_ros.core.pairing_policy import PolicyPair


class ApproximatePolicy(PairingPolicy):
    """
    The policy ``approximate``: ``message_filters.ApproximateTimeSynchronizer``.

    It pairs the first frames within the slop instead of the nearest ones, does not report what it
    drops, and loses most pairs of a looping bag. ConfigError if message_filters is not installed.
    """

    def __init__(self, config: SyncConfig) -> None:
        try:
            import message_filters
        except ImportError as error:
            raise ConfigError(
                "sync.policy 'approximate' needs the ROS package message_filters; "
                f"install it or use 'nearest' ({error})"
            ) from None
        super().__init__(config)
        self._package = message_filters
        self._config = config
        self._pairs: list[PolicyPair] = []
        self.reset()

    def reset(self, cause: str = 'reset') -> None:
        """Discard all waiting frames; message_filters does not report how many."""
        self._filters = {stream: self._package.SimpleFilter() for stream in ('rgb', 'ir')}
        self._sync = self._package.ApproximateTimeSynchronizer(
            list(self._filters.values()),
            self._config.queue_size,
            self._config.max_skew_ms / 1e3 + 1e-9,  # the slop itself is excluded there
        )
        self._sync.registerCallback(self._matched)

    def push(self, stream: str, stamp_ns: int, frame: Any) -> list[PolicyPair]:
        from builtin_interfaces.msg import Time

        stamp_ns += self._offsets_ns[stream]
        sec, nanosec = divmod(stamp_ns, 1_000_000_000)
        header = SimpleNamespace(stamp=Time(sec=sec, nanosec=nanosec))
        self._filters[stream].signalMessage(
            SimpleNamespace(header=header, frame=frame, stamp_ns=stamp_ns)
        )
        pairs, self._pairs = self._pairs, []
        return pairs

    def _matched(self, rgb: Any, ir: Any) -> None:
        # Called inside the synchronizer's lock: only record, raise nothing.
        self._pairs.append(PolicyPair(rgb.frame, ir.frame, ir.stamp_ns - rgb.stamp_ns))
