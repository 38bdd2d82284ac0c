"""
Count the pairs that were possible, and why some were lost: the same live, offline and in reports.

Possible are the pairs that were made, and besides them two images that are each other's nearest,
at most the largest skew apart, and both in no pair. In mode rgb_hold an ir image serves several
pairs, so each rgb image counts that has an ir image of the permitted age. So possible = paired +
lost.
"""

from collections import Counter

import numpy as np

from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.stamps import mutual_nearest

WINDOW = 500  # images of a camera that may still change the counts
PAIRED, WAITING = 'paired', 'waiting'  # what became of an image; else why it is in no pair
NO_PARTNER = 'no_partner'
UNKNOWN = (PAIRED, WAITING, NO_PARTNER)  # the cause of the partner says more


def unpaired(
    stamps_ns: dict[str, np.ndarray], paired: dict[str, np.ndarray], sync: SyncConfig
) -> np.ndarray:
    """
    Return the possible pairs that were not made.

    :param stamps_ns: of the rgb and the ir images, (N,) int64, time offsets added.
    :param paired: (N,) bool of each, whether it is in a pair.
    :returns: (M, 2) int64, indices of rgb and of ir.
    """
    rgb_ns, ir_ns = stamps_ns['rgb'], stamps_ns['ir']
    if sync.mode == 'rgb_hold' and len(ir_ns):
        order = np.argsort(ir_ns, kind='stable')
        before = order[np.maximum(np.searchsorted(ir_ns[order], rgb_ns, side='right') - 1, 0)]
        found = np.stack((np.arange(len(rgb_ns)), before), axis=1)
        ages_ns = rgb_ns - ir_ns[before]
        found = found[(ages_ns >= 0) & (ages_ns <= sync.limit_ms * 1e6)]
        return found[~paired['rgb'][found[:, 0]]]
    found = mutual_nearest(rgb_ns, ir_ns, sync.limit_ms * 1e6)
    return found[~paired['rgb'][found[:, 0]] & ~paired['ir'][found[:, 1]]]


class PairCounts:
    """Count as images arrive; only the last ``WINDOW`` of a camera are kept."""

    def __init__(self, sync: SyncConfig) -> None:
        self._sync = sync
        self._fates: dict[str, dict[int, str]] = {'rgb': {}, 'ir': {}}  # by stamp, offset added
        self._latest_ns: dict[str, int] = {}
        self._since_ns: int | None = None  # pairs of earlier rgb images are counted
        self._made = 0
        self._lost: Counter[str] = Counter()  # pairs that were made, by cause
        self._missed: Counter[str] = Counter()  # pairs that were not made, of forgotten images

    @property
    def lost(self) -> Counter[str]:
        """Return the number of lost pairs by cause."""
        return self._lost + self._missed + self._missed_recently()

    @property
    def possible(self) -> int:
        return self._made + self._missed.total() + self._missed_recently().total()

    def see(self, stream: str, stamp_ns: int, cause: str = WAITING) -> None:
        """Record an image with a stamp [ns]; the cause says why it cannot be used."""
        stamp_ns += self._sync.offsets_ns[stream]
        own, latest_ns = self._fates[stream], self._latest_ns.get(stream, stamp_ns)
        if stamp_ns < latest_ns - self._sync.limit_ms * 1e6:  # as in a looping bag
            self._forget(None, waiting=True)
        elif len(own) >= WINDOW:
            self._forget(sorted(own)[WINDOW // 2], waiting=False)
        self._latest_ns[stream] = stamp_ns
        if own.get(stamp_ns, WAITING) == WAITING:
            own[stamp_ns] = cause

    def drop(self, stream: str, stamp_ns: int, cause: str) -> None:
        """Record why the policy left an image unpaired; stamp with the offset [ns]."""
        if self._fates[stream].get(stamp_ns) == WAITING:
            self._fates[stream][stamp_ns] = cause

    def pair(self, rgb_ns: int, ir_ns: int) -> None:
        """Record a pair, made of the images with these stamps [ns]."""
        self._made += 1
        for stream, stamp_ns in (('rgb', rgb_ns), ('ir', ir_ns)):
            own, stamp_ns = self._fates[stream], stamp_ns + self._sync.offsets_ns[stream]
            if stamp_ns in own:  # else it is from before the stamps jumped back
                own[stamp_ns] = PAIRED

    def lose(self, cause: str) -> None:
        """Record why a pair that was made gave no result of both cameras."""
        self._lost[cause] += 1

    def _forget(self, before_ns: int | None, *, waiting: bool) -> None:
        """Forget the images before a stamp (None: all); the counts of these are final."""
        self._missed += self._missed_recently(before_ns, waiting=waiting)
        self._since_ns = before_ns
        # The nearest images of those that stay may be this much older.
        keep_ns = before_ns and before_ns - 2 * self._sync.limit_ms * 1e6
        for stream, own in self._fates.items():
            kept = {ns: fate for ns, fate in own.items() if keep_ns and ns >= keep_ns}
            self._fates[stream] = kept

    def _missed_recently(
        self, before_ns: int | None = None, *, waiting: bool = True
    ) -> Counter[str]:
        """
        Return the possible pairs that were not made of the images in memory, by cause.

        :param before_ns: only pairs of earlier rgb images.
        :param waiting: whether an image that waits may still be paired.
        """
        stamps = {stream: list(own) for stream, own in self._fates.items()}
        fates = {stream: list(own.values()) for stream, own in self._fates.items()}
        busy = (PAIRED, WAITING) if waiting else (PAIRED,)
        found: Counter[str] = Counter()
        for rgb, ir in unpaired(
            {stream: np.array(ns, np.int64) for stream, ns in stamps.items()},
            {stream: np.isin(own, busy) for stream, own in fates.items()},
            self._sync,
        ):
            at_ns = stamps['rgb'][rgb]
            if (before_ns or at_ns + 1) > at_ns >= (self._since_ns or at_ns):
                causes = fates['rgb'][rgb], fates['ir'][ir]
                found[next((c for c in causes if c not in UNKNOWN), NO_PARTNER)] += 1
        return found
