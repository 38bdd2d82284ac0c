"""Compute the figures of a report; what is not known is None, never guessed."""

from collections import Counter
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.stamps import nearest_ns
from tdfusion_ros.tools.view.recording import Recording
from tdfusion_ros.tools.view.recording import TopicTimes


@dataclass(frozen=True, eq=False)
class Samples:
    """A value over time: (N,) int64 times [ns] and (N,) float64 values, N > 0."""

    times_ns: np.ndarray
    values: np.ndarray

    def percentile(self, percent: float) -> float:
        """Return a percentile of the values."""
        return float(np.percentile(self.values, percent))

    def absolute(self) -> 'Samples':
        """Return the samples without the signs of the values."""
        return Samples(self.times_ns, np.abs(self.values))


@dataclass(frozen=True, eq=False)
class RgbImages:
    """
    What happened to the rgb images.

    :param stamps_ns: (N,) int64 of every rgb image, in the order of recording.
    :param fused: (N,) bool, whether there is a result with this stamp.
    :param unpaired: (N,) bool, neither a result nor an ir partner; all False without ir images.
    :param lost: (N,) bool, could have become a result and did not.
    :param lost_before, lost_after: lost images before the first and after the last result.
    :param orphans: number of results whose rgb image was not recorded.
    """

    stamps_ns: np.ndarray
    fused: np.ndarray
    unpaired: np.ndarray
    lost: np.ndarray
    lost_before: int
    lost_after: int
    orphans: int


@dataclass(frozen=True)
class ClassSummary:
    """Detections of one class; ``scores`` are the lowest, median and highest (NaN: none)."""

    name: str
    color: int
    count: int
    images: int
    scores: Sequence[float]


def rate_hz(times: TopicTimes) -> float | None:
    """Return the mean rate between the first and the last message of a topic [Hz]."""
    span_ns = max(times.times_ns, default=0) - min(times.times_ns, default=0)
    return (len(times.times_ns) - 1) / (span_ns / 1e9) if span_ns else None


def is_offline(results: TopicTimes) -> bool:
    """Return whether the results were recorded at their own stamps, as ``tdfusion fuse`` does."""
    return bool(results.stamps_ns) and results.stamps_ns == results.times_ns


def has_partner(rgb_ns: np.ndarray, ir_ns: np.ndarray) -> np.ndarray:
    """Return which rgb images have an ir image, each other's nearest within the default skew."""
    skews_ns = nearest_ns(rgb_ns, ir_ns)
    back_ns = nearest_ns(rgb_ns + skews_ns, rgb_ns)
    near = np.abs(skews_ns) <= SyncConfig().max_skew_ms * 1e6
    return near & (np.abs(back_ns) == np.abs(skews_ns))


def classify_rgb_images(rgb: TopicTimes, ir: TopicTimes, results: TopicTimes) -> RgbImages | None:
    """Return what happened to the rgb images, None if none or no results were recorded."""
    if not rgb.stamps_ns or not results.stamps_ns:
        return None
    remaining = Counter(results.stamps_ns)  # the stamps of a looped bag repeat
    fused = np.zeros(len(rgb.stamps_ns), bool)
    for index, stamp in enumerate(rgb.stamps_ns):
        if remaining[stamp]:
            remaining[stamp] -= 1
            fused[index] = True
    stamps_ns, unpaired = np.array(rgb.stamps_ns), np.zeros_like(fused)
    if ir.stamps_ns:
        unpaired = ~fused & ~has_partner(stamps_ns, np.array(ir.stamps_ns))
    lost = ~fused & ~unpaired
    before = int(np.sum(stamps_ns[lost] < min(results.stamps_ns)))
    after = int(np.sum(stamps_ns[lost] > max(results.stamps_ns)))
    return RgbImages(stamps_ns, fused, unpaired, lost, before, after, sum(remaining.values()))


def measure_skew(rgb: TopicTimes, ir: TopicTimes, results: TopicTimes) -> Samples | None:
    """Return nearest ir stamp minus rgb stamp, of results or else of all rgb images [ms]."""
    stamps_ns = np.array(results.stamps_ns or rgb.stamps_ns)
    if not ir.stamps_ns or not len(stamps_ns):
        return None
    return Samples(stamps_ns, nearest_ns(stamps_ns, np.array(ir.stamps_ns)) / 1e6)


def measure_latency(rgb: TopicTimes, results: TopicTimes) -> Samples | None:
    """
    Return the time from the recording of an rgb image to that of its result [ms].

    None if either is missing, or if the results were not recorded when they were made.
    """
    if is_offline(results):
        return None
    arrivals: dict[int, list[int]] = defaultdict(list)
    for stamp, time in zip(rgb.stamps_ns, rgb.times_ns, strict=True):
        arrivals[stamp].append(time)
    found = [
        (time, (time - max(earlier)) / 1e6)
        for stamp, time in zip(results.stamps_ns, results.times_ns, strict=True)
        if (earlier := [arrival for arrival in arrivals.get(stamp, ()) if arrival <= time])
    ]
    times, values = zip(*found, strict=True) if found else ((), ())
    return Samples(np.array(times, np.int64), np.array(values)) if found else None


def summarize_classes(recording: Recording, most: int) -> list[ClassSummary]:
    """Return a summary of the most frequent classes, the most frequent first."""
    columns, colors = recording.detections, recording.class_names
    image, class_index = np.array(columns.image), np.array(columns.class_index)
    score, count = np.array(columns.score, np.float64), Counter(columns.class_index)
    summaries = []
    for name, index in sorted(columns.names.items(), key=lambda c: (-count[c[1]], c[0]))[:most]:
        own = class_index == index
        known = score[own & np.isfinite(score)]
        scores = np.percentile(known if len(known) else np.nan, (0, 50, 100)).tolist()
        images = len(np.unique(image[own]))
        summaries.append(ClassSummary(name, colors.index(name), count[index], images, scores))
    return summaries
