"""The interface of pairing policies: they find the rgb and ir frames that belong together."""

from collections import Counter
from dataclasses import dataclass
from typing import Any
from typing import Protocol

OTHER = {'rgb': 'ir', 'ir': 'rgb'}


@dataclass(frozen=True)
class PolicyPair:
    """
    Two frames that a policy paired.

    :param skew_ns: stamp of ir minus stamp of rgb, time offsets added [ns].
    """

    rgb: Any
    ir: Any
    skew_ns: int


class PairingPolicy(Protocol):
    """
    Pair frames as they arrive, by their stamps.

    :param dropped: the number of frames that were not paired, by cause.
    """

    dropped: Counter[str]

    def push(self, stream: str, stamp_ns: int, frame: Any) -> list[PolicyPair]:
        """
        Take the next frame of a stream and return the pairs that are final now, oldest first.

        :param stream: ``rgb`` or ``ir``.
        :param stamp_ns: its stamp, without the stream's time offset [ns].
        :param frame: any object; the pair returns it.
        """

    def flush(self) -> list[PolicyPair]:
        """Return the pairs that wait for a nearer partner, because no more frames come."""

    def reset(self) -> None:
        """Forget all waiting frames."""
