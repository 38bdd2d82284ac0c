"""What was seen of one image topic while listening."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sighting:
    """
    One image topic.

    :param kind: ``Image`` or ``CompressedImage``.
    :param publishers: names of the nodes that publish it.
    :param best_effort: whether one of them offers no more than that.
    :param stamps_ns: of the messages that came, in the order of arrival [ns].
    :param clock_ns: the robot's clock at each arrival [ns].
    :param encoding: of the last message.
    :param size_hw: of the last message, where it could be read.
    :param fault: why the last message could not be read, empty if it could.
    :param info: size and focal length of the latest camera info beside it, None before the first.
    """

    topic: str
    kind: str
    publishers: tuple[str, ...] = ()
    best_effort: bool = False
    stamps_ns: tuple[int, ...] = ()
    clock_ns: tuple[int, ...] = ()
    encoding: str = ''
    size_hw: tuple[int, int] | None = None
    fault: str = ''
    info: tuple[tuple[int, int], float] | None = None

    @property
    def rate_hz(self) -> float:
        """Messages a second, by arrival; 0 for fewer than two [Hz]."""
        if len(self.clock_ns) < 2:
            return 0.0
        return (len(self.clock_ns) - 1) * 1e9 / max(self.clock_ns[-1] - self.clock_ns[0], 1)

    def __str__(self) -> str:
        what = f'{self.kind}, {"best effort" if self.best_effort else "reliable"}'
        if not self.stamps_ns:
            return f'{what}, nothing came, from {", ".join(self.publishers)}'
        size = f' {self.size_hw[1]}x{self.size_hw[0]}' if self.size_hw else ''
        return (
            f'{what}, {self.rate_hz:.1f} Hz, {self.encoding}{size}, from '
            f'{", ".join(self.publishers)}'
        )


def skews_ms(rgb: Sighting, ir: Sighting) -> np.ndarray:
    """
    Return the stamp of each ir frame minus that of its nearest rgb frame [ms].

    Frames at both ends are left out: their partner may have been missed.
    """
    others = np.sort(np.array(rgb.stamps_ns, np.int64))
    own = np.sort(np.array(ir.stamps_ns, np.int64))
    if len(others) < 2 or len(own) < 2:
        return np.zeros(0)
    inside = own[(own >= others[0]) & (own <= others[-1])]
    chosen = inside if len(inside) else own
    nearest = others[np.abs(chosen[:, None] - others[None]).argmin(1)]
    return (chosen - nearest) / 1e6
