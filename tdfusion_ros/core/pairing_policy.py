"""The interface of pairing policies: they find the rgb and ir frames that belong together."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from typing import Protocol

OTHER = {'rgb': 'ir', 'ir': 'rgb'}


@dataclass(frozen=True)
class PolicyPair:
    """Two frames that a policy paired; ``skew_ns``: ir minus rgb, time offsets added [ns]."""

    rgb: Any
    ir: Any
    skew_ns: int


class PairingPolicy(Protocol):
    """
    Pair frames as they arrive, by their stamps; ``dropped`` counts the others by cause.

    ``on_drop`` is called with the stream, the stamp (time offset added) and the cause of each.
    """

    dropped: Counter[str]
    on_drop: Callable[[str, int, str], object]

    def push(self, stream: str, stamp_ns: int, frame: Any) -> list[PolicyPair]:
        """
        Take the next frame of ``rgb`` or ``ir``; return the pairs that are final now, in order.

        :param stamp_ns: its stamp, without the stream's time offset. ``frame``: any object.
        """

    def flush(self) -> list[PolicyPair]:
        """Return the pairs that wait for a nearer partner, because no more frames come."""

    def reset(self, cause: str = 'reset') -> None:
        """Forget the rates and all waiting frames, which are counted under the cause."""
