"""The base of pairing policies: they find the rgb and ir frames that belong together."""

from abc import ABC
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tdfusion_ros.core.config import SyncConfig

OTHER = {'rgb': 'ir', 'ir': 'rgb'}


@dataclass(frozen=True)
class PolicyPair:
    """Two frames that a policy paired; ``skew_ns``: ir minus rgb, time offsets added [ns]."""

    rgb: Any
    ir: Any
    skew_ns: int


class PairingPolicy(ABC):
    """
    Pair frames as they arrive, by their stamps; ``dropped`` counts the others by cause.

    ``on_drop`` is called with the stream, the stamp (time offset added) and the cause of each.
    """

    def __init__(self, config: SyncConfig) -> None:
        self._max_skew_ns = round(config.max_skew_ms * 1e6)
        self._offsets_ns = config.offsets_ns
        self.dropped: Counter[str] = Counter()
        self.on_drop: Callable[[str, int, str], object] = lambda stream, stamp_ns, cause: None

    @abstractmethod
    def push(self, stream: str, stamp_ns: int, frame: Any) -> list[PolicyPair]:
        """
        Take the next frame of ``rgb`` or ``ir``; return the pairs that are final now, in order.

        :param stamp_ns: its stamp, without the stream's time offset. ``frame``: any object.
        """

    def flush(self) -> list[PolicyPair]:
        """Return the pairs that wait for a nearer partner, because no more frames come."""
        return []

    @abstractmethod
    def reset(self, cause: str = 'reset') -> None:
        """Forget the rates and all waiting frames, which are counted under the cause."""

    def _drop(self, stream: str, stamp_ns: int, cause: str) -> None:
        self.dropped[cause] += 1
        self.on_drop(stream, stamp_ns, cause)
