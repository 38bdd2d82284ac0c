"""The numbers of a report, from what was recorded; what is missing is None, never guessed."""

from collections import Counter
from collections import defaultdict
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.tools.view.recording import Health
from tdfusion_ros.tools.view.recording import Recording
from tdfusion_ros.tools.view.recording import Track


@dataclass(frozen=True, eq=False)
class Input:
    """
    What became of the rgb images.

    :param stamps_ns: (N,) int64 of every rgb image, in the order of recording.
    :param fused: (N,) bool, whether there is a result of this stamp.
    :param alone: (N,) bool, without a result and without an ir partner; None where no ir images
        were recorded.
    :param before: number of the others without a result that are older than the first result.
    :param after: likewise, newer than the last.
    :param orphans: number of results whose rgb image was not recorded.
    """

    stamps_ns: np.ndarray
    fused: np.ndarray
    alone: np.ndarray | None
    before: int
    after: int
    orphans: int

    @property
    def lost(self) -> np.ndarray:
        """(N,) bool, whether an image that might have become a result did not."""
        return ~self.fused if self.alone is None else ~self.fused & ~self.alone


@dataclass(frozen=True, eq=False)
class Samples:
    """
    A value over time.

    :param times_ns: (N,) int64.
    :param values: (N,) float64.
    """

    times_ns: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class ClassFacts:
    """Count, images that show one, and scores of one class; color is an index."""

    name: str
    color: int
    count: int
    images: int
    low: float
    median: float
    high: float


def stamps(track: Track) -> np.ndarray:
    """Return the stamps of a topic, (N,) int64 [ns]."""
    return np.array(track.stamps_ns, np.int64)


def results(recording: Recording) -> Track:
    """Return the topic that tells when there was a result: fused images, else detections."""
    fused = recording.track('fused')
    return fused if fused.stamps_ns else recording.track('detections')


def rate_hz(track: Track) -> float | None:
    """Return messages per second between the first and the last one of the topic [Hz]."""
    if len(track.times_ns) < 2:
        return None
    span_ns = max(track.times_ns) - min(track.times_ns)
    return (len(track.times_ns) - 1) / (span_ns / 1e9) if span_ns else None


def span_ns(recording: Recording) -> tuple[int, int] | None:
    """Return the times of the first and the last message of the bag [ns]."""
    times = [track.times_ns for track in recording.tracks.values() if track.times_ns]
    return (min(map(min, times)), max(map(max, times))) if times else None


def input_facts(rgb: Track, ir: Track, result: Track) -> Input | None:
    """Return what became of the rgb images, None where none were recorded."""
    if not rgb.stamps_ns or not result.stamps_ns:
        return None
    left = Counter(result.stamps_ns)  # a looped bag has the same stamps again
    fused = np.zeros(len(rgb.stamps_ns), bool)
    for index, stamp in enumerate(rgb.stamps_ns):
        if left[stamp]:
            left[stamp] -= 1
            fused[index] = True
    its, first, last = stamps(rgb), min(result.stamps_ns), max(result.stamps_ns)
    alone = ~fused & ~has_partner(its, stamps(ir)) if ir.stamps_ns else None
    lost = its[~fused if alone is None else ~fused & ~alone]
    return Input(
        stamps_ns=its,
        fused=fused,
        alone=alone,
        before=int(np.sum(lost < first)),
        after=int(np.sum(lost > last)),
        orphans=sum(left.values()),
    )


def has_partner(rgb_ns: np.ndarray, ir_ns: np.ndarray) -> np.ndarray:
    """
    Tell which rgb images have an ir image: each other's nearest, within the default skew.

    :returns: (N,) bool.
    """
    skews_ns = nearest_ns(rgb_ns, ir_ns)
    back_ns = nearest_ns(rgb_ns + skews_ns, rgb_ns)
    near = np.abs(skews_ns) <= SyncConfig().max_skew_ms * 1e6
    return near & (np.abs(back_ns) == np.abs(skews_ns))


def nearest_ns(stamps_ns: np.ndarray, others_ns: np.ndarray) -> np.ndarray:
    """Return the nearest of the others minus the stamp, for each stamp, (N,) int64 [ns]."""
    ordered = np.sort(others_ns)
    right = np.searchsorted(ordered, stamps_ns)
    before = ordered[np.maximum(right - 1, 0)] - stamps_ns
    after = ordered[np.minimum(right, len(ordered) - 1)] - stamps_ns
    return np.where(np.abs(before) < np.abs(after), before, after)


def skews(rgb: Track, ir: Track, result: Track) -> Samples | None:
    """
    Return the stamp of the nearest ir image minus that of the rgb image, for each pair [ms].

    With results these are the rgb images that became one, else all.
    """
    of = stamps(result if result.stamps_ns else rgb)
    if not ir.stamps_ns or not len(of):
        return None
    return Samples(of, nearest_ns(of, stamps(ir)) / 1e6)


def is_offline(result: Track) -> bool:
    """Tell whether the results were written at their own stamps, as ``tdfusion fuse`` does."""
    return bool(result.stamps_ns) and result.stamps_ns == result.times_ns


def latencies(rgb: Track, result: Track) -> Samples | None:
    """
    Return the time from the recording of an rgb image to that of its result [ms].

    None where either is missing, or where the times are no times of recording.
    """
    if not rgb.stamps_ns or not result.stamps_ns or is_offline(result):
        return None
    came: Mapping[int, list[int]] = defaultdict(list)
    for stamp, time in zip(rgb.stamps_ns, rgb.times_ns, strict=True):
        came[stamp].append(time)
    times, values = [], []
    for stamp, time in zip(result.stamps_ns, result.times_ns, strict=True):
        earlier = [begin for begin in came.get(stamp, ()) if begin <= time]
        if earlier:
            times.append(time)
            values.append((time - max(earlier)) / 1e6)
    if not times:
        return None
    return Samples(np.array(times, np.int64), np.array(values))


def from_health(health: Health, name: str) -> Samples | None:
    """Return one value of the diagnostics over time, None where it never came."""
    if name not in health.series:
        return None
    values = np.array(health.series[name])
    known = np.isfinite(values)
    if not known.any():
        return None
    return Samples(np.array(health.times_ns, np.int64)[known], values[known])


def rises(health: Health, prefix: str) -> dict[str, tuple[int, int]]:
    """
    Return how far counters rose while the bag was recorded, and where they stood at its end.

    What was counted before the first message is not in the first figure; a counter that falls
    has begun anew from zero.
    """
    out = {}
    for name in sorted(health.series):
        if not name.startswith(prefix):
            continue
        values = np.array(health.series[name])
        # A cause that is not named has not happened yet.
        values = np.where(np.isfinite(values), values, 0.0)
        steps = np.diff(values)
        rise = float(np.where(steps < 0, values[1:], steps).sum())
        out[name] = (round(rise), round(float(values[-1])))
    return out


def names(recording: Recording) -> list[str]:
    """Return the names of all classes in the order of their colors, as the overlay has them."""
    return [*recording.labels, *(n for n in recording.found.names if n not in recording.labels)]


def classes(recording: Recording) -> list[ClassFacts]:
    """Return the classes that were detected, the most frequent first."""
    found = recording.found
    frame, kind = np.array(found.frame, np.int64), np.array(found.kind, np.int64)
    score = np.array(found.score, np.float64)
    colors = names(recording)
    out = []
    for index, name in enumerate(found.names):
        own = kind == index
        known = score[own & np.isfinite(score)]
        low, middle, high = (
            np.percentile(known, (0, 50, 100)) if len(known) else (float('nan'),) * 3
        )
        out.append(
            ClassFacts(
                name=name,
                color=colors.index(name),
                count=int(own.sum()),
                images=len(np.unique(frame[own])),
                low=float(low),
                median=float(middle),
                high=float(high),
            )
        )
    return sorted(out, key=lambda c: (-c.count, c.name))


def per_bin(
    times_s: np.ndarray, edges_s: np.ndarray, weights: Sequence[float] | None = None
) -> np.ndarray:
    """Return how many times fall between each two edges, (N - 1,) float64."""
    return np.histogram(times_s, edges_s, weights=weights)[0].astype(np.float64)
