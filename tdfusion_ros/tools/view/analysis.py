"""Compute the figures of a report; what is not known is None, never guessed."""

from collections import Counter
from collections import defaultdict
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.data import ZERO_CELSIUS_K
from tdfusion_ros.core.errors import BagError
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.pair_counts import unpaired
from tdfusion_ros.core.stamps import nearest_ns
from tdfusion_ros.formats.messages import MEASUREMENTS
from tdfusion_ros.formats.messages import to_frame
from tdfusion_ros.tools.view.recording import NodeStatus
from tdfusion_ros.tools.view.recording import Recording
from tdfusion_ros.tools.view.recording import TopicTimes

MAX_EXAMINED = 200  # lost pairs whose images are read to find out why


@dataclass(frozen=True, eq=False)
class Samples:
    """A value over time: (N,) int64 times [ns] and (N,) float64 values, N > 0."""

    times_ns: np.ndarray
    values: np.ndarray

    def percentile(self, percent: float) -> float:
        return float(np.percentile(self.values, percent))

    def absolute(self) -> 'Samples':
        """Return the samples without the signs of the values."""
        return Samples(self.times_ns, np.abs(self.values))


@dataclass(frozen=True, eq=False)
class RgbImages:
    """
    What happened to the rgb images.

    :param stamps_ns: (N,) int64 of every rgb image, in the order of recording.
    :param fused: (N,) bool, whether there is a result of both cameras with this stamp.
    :param single: (N,) bool, a result of one camera or of an older ir image, during a stall.
    :param unpaired: (N,) bool, none of the others.
    :param lost: (N,) bool, could have become a result of both cameras and did not.
    :param lost_ns: (M, 2) int64, the stamps of rgb and ir of each lost pair.
    :param lost_before, lost_after: lost images before the first and after the last result.
    :param orphans: number of results whose rgb image was not recorded.
    """

    stamps_ns: np.ndarray
    fused: np.ndarray
    single: np.ndarray
    unpaired: np.ndarray
    lost: np.ndarray
    lost_ns: np.ndarray
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
    ids: int
    scores: Sequence[float]


def rate_hz(times: TopicTimes) -> float | None:
    """Return the mean rate between the first and the last message of a topic [Hz]."""
    span_ns = max(times.times_ns, default=0) - min(times.times_ns, default=0)
    return (len(times.times_ns) - 1) / (span_ns / 1e9) if span_ns else None


def is_offline(results: TopicTimes) -> bool:
    """Return whether the results were recorded at their own stamps, as ``tdfusion fuse`` does."""
    return bool(results.stamps_ns) and results.stamps_ns == results.times_ns


def classify_rgb_images(
    rgb: TopicTimes, ir: TopicTimes, results: TopicTimes, sync: SyncConfig, alone: Collection[int]
) -> RgbImages | None:
    """
    Return what happened to the rgb images, None if none or no results were recorded.

    :param sync: how they were paired.
    :param alone: stamps of results that were made while a camera stalled.
    """
    if not rgb.stamps_ns or not results.stamps_ns:
        return None
    stamps_ns, ir_ns = np.array(rgb.stamps_ns), np.array(ir.stamps_ns)
    made = _used(rgb.stamps_ns, results.stamps_ns)
    single = made & np.isin(stamps_ns, list(alone))
    fused, lost, lost_ns = made & ~single, ~made, np.zeros((0, 2), np.int64)
    if len(ir_ns):
        pairs = _lost_pairs(stamps_ns, ir_ns, fused, sync)
        lost = np.isin(np.arange(len(made)), pairs[:, 0])
        lost_ns = np.stack((stamps_ns[pairs[:, 0]], ir_ns[pairs[:, 1]]), axis=1)
    return RgbImages(
        stamps_ns,
        fused=fused,
        single=single,
        unpaired=~(made | lost),
        lost=lost,
        lost_ns=lost_ns,
        lost_before=int(np.sum(stamps_ns[lost] < min(results.stamps_ns))),
        lost_after=int(np.sum(stamps_ns[lost] > max(results.stamps_ns))),
        orphans=len(results.stamps_ns) - int(made.sum()),
    )


def _lost_pairs(
    rgb_ns: np.ndarray, ir_ns: np.ndarray, fused: np.ndarray, sync: SyncConfig
) -> np.ndarray:
    """Return (M, 2) int64, the indices of rgb and ir that could have been a pair."""
    times = {'rgb': rgb_ns + sync.offsets_ns['rgb'], 'ir': ir_ns + sync.offsets_ns['ir']}
    fused_ns = times['rgb'][fused]
    taken_ns = fused_ns + nearest_ns(fused_ns, times['ir'])
    taken = _used(times['ir'].tolist(), taken_ns.tolist())
    return unpaired(times, {'rgb': fused, 'ir': taken}, sync)


def _used(stamps_ns: Iterable[int], used_ns: Iterable[int]) -> np.ndarray:
    """Return (N,) bool, which stamps are used; the stamps of a looped bag repeat."""
    remaining, found = Counter(used_ns), []
    for stamp in stamps_ns:
        found.append(remaining[stamp] > 0)
        remaining[stamp] -= 1
    return np.array(found, bool)


def causes_of_loss(source: Recording, rgb: RgbImages, node: NodeStatus) -> Counter[str]:
    """
    Return why pairs were lost, by cause; of more than MAX_EXAMINED only the first.

    Where the images say nothing, as where the node was busy, the counts of the node do.
    """
    found: Counter[str] = Counter()
    stalled = set(rgb.stamps_ns[rgb.single].tolist())
    for stamps in rgb.lost_ns[:MAX_EXAMINED].tolist():
        cause = 'a camera stalled' if stamps[0] in stalled else 'no result'
        for role, stamp in zip(('rgb', 'ir'), stamps, strict=True):
            try:
                to_frame(source.message(role, stamp))
            except FrameError as error:
                cause = f'{role}.{error.cause}'
            except BagError:
                cause = f'{role}.unreadable'
        found[cause] += 1
    for cause in sorted(node.lost.keys() - found.keys()):
        found[cause] = min(node.lost[cause], found['no result'])
        found['no result'] -= found[cause]
    return +found


def measure_skew(rgb: TopicTimes, ir: TopicTimes, results: TopicTimes) -> Samples | None:
    """Return nearest ir stamp minus rgb stamp, of results or else of all rgb images [ms]."""
    stamps_ns = np.array(results.stamps_ns or rgb.stamps_ns)
    if not ir.stamps_ns or not len(stamps_ns):
        return None
    return Samples(stamps_ns, nearest_ns(stamps_ns, np.array(ir.stamps_ns)) / 1e6)


def measure_latency(rgb: TopicTimes, results: TopicTimes) -> Samples | None:
    """Return the time from recording rgb to recording its result [ms], None if made offline."""
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
        numbers = count[index], len(np.unique(image[own])), len(columns.ids[name])
        summaries.append(ClassSummary(name, colors.index(name), *numbers, scores))
    return summaries


def summarize_temperatures(recording: Recording) -> list[tuple[str, int, list[str]]]:
    """Return by class: how many were measured, and the lowest, median and highest, with unit."""
    summaries = []
    for name, columns in recording.temperatures.items():
        found = np.array(columns).reshape(-1, len(MEASUREMENTS))
        counts, celsius = found[:, :3], found[:, 3:] - ZERO_CELSIUS_K
        celsius = celsius[np.isfinite(celsius).all(1)]
        known, form = (celsius, '{:.1f} °C') if len(celsius) else (counts, '{:g}')
        values = known[:, 0].min(), np.median(known[:, 1]), known[:, 2].max()
        summaries.append((name, len(found), [form.format(value) for value in values]))
    return sorted(summaries, key=lambda one: (-one[1], one[0]))
