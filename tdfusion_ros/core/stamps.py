"""What the stamps of two cameras say about their drivers and clocks; the same live and offline."""

from collections.abc import Mapping
from collections.abc import MutableSequence
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
import math

import numpy as np

from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.errors import FrameError

STAMP_IT = 'make the driver stamp its images at exposure'
# Longer delays between exposure and arrival do not occur; the clocks differ.
MAX_DELAY_MS = 1000.0
MAX_LOST_SHARE = 0.05
SOON = 0.3  # of a period: an image that arrives so soon after another one was sent with it
MAX_WAIT_MS = 5000.0  # no frame can wait longer for one that is late
END_NS = 2**31 * 1_000_000_000  # the time of a message in ROS ends in 2038


@dataclass
class CameraTimes:
    """Stamps of one camera, and when its images arrived or were recorded (empty: unknown) [ns]."""

    stamps_ns: MutableSequence[int] = field(default_factory=list)
    arrivals_ns: MutableSequence[int] = field(default_factory=list)


def check_stamp(stamp_ns: int) -> None:
    """Raise FrameError for an image whose stamp is 0 (not stamped), negative, or after 2038."""
    if stamp_ns == 0:
        raise FrameError('no_stamp', f'the stamp of the image is 0: {STAMP_IT}')
    if stamp_ns < 0:
        raise FrameError(
            'negative_stamp', f'the stamp of the image is {stamp_ns / 1e9:.3f} s, expected above 0'
        )
    if stamp_ns >= END_NS:
        raise FrameError('late_stamp', f'the stamp of the image is after 2038: {STAMP_IT}')


def nearest_ns(stamps_ns: np.ndarray, others_ns: np.ndarray) -> np.ndarray:
    """Return the nearest of the others minus the stamp, for each stamp, (N,) int64 [ns]."""
    ordered = np.sort(others_ns)
    right = np.searchsorted(ordered, stamps_ns)
    before = ordered[np.maximum(right - 1, 0)] - stamps_ns
    after = ordered[np.minimum(right, len(ordered) - 1)] - stamps_ns
    return np.where(np.abs(before) <= np.abs(after), before, after)


def mutual_nearest(rgb_ns: np.ndarray, ir_ns: np.ndarray, limit_ns: float) -> np.ndarray:
    """
    Return the pairs of stamps that are each other's nearest, at most the limit apart.

    :returns: (N, 2) int64: indices of rgb and of ir, each at most once, in the order of rgb.
    """
    if not len(rgb_ns) or not len(ir_ns):
        return np.zeros((0, 2), np.int64)
    order = np.argsort(ir_ns, kind='stable')
    skews_ns = nearest_ns(rgb_ns, ir_ns)
    back_ns = nearest_ns(rgb_ns + skews_ns, rgb_ns)
    rgb = np.flatnonzero((np.abs(skews_ns) <= limit_ns) & (np.abs(back_ns) == np.abs(skews_ns)))
    wanted_ns = rgb_ns[rgb] + skews_ns[rgb]
    # Of several rgb images with one nearest stamp (a loop, or a stamp in the middle), each takes
    # the next image of that stamp, if there is one.
    by_stamp = np.argsort(wanted_ns, kind='stable')
    ordered_ns = wanted_ns[by_stamp]
    number = np.empty_like(rgb)
    number[by_stamp] = np.arange(len(rgb)) - np.searchsorted(ordered_ns, ordered_ns)
    place = np.searchsorted(ir_ns[order], wanted_ns) + number
    is_there = place < np.searchsorted(ir_ns[order], wanted_ns, side='right')
    return np.stack((rgb[is_there], order[place[is_there]]), axis=1)


def skews_ms(rgb_stamps_ns: Sequence[int], ir_stamps_ns: Sequence[int]) -> np.ndarray:
    """
    Return the stamp of each ir frame minus that of its nearest rgb frame [ms].

    Without ir frames before the first or after the last rgb frame: their partner may be missing.
    """
    rgb, ir = (np.sort(np.array(s, np.int64)) for s in (rgb_stamps_ns, ir_stamps_ns))
    if len(rgb) < 2 or len(ir) < 2:
        return np.zeros(0)
    overlapping = ir[(ir >= rgb[0]) & (ir <= rgb[-1])]
    return -nearest_ns(overlapping if len(overlapping) else ir, rgb) / 1e6


def clock_difference_ms(rgb: CameraTimes, ir: CameraTimes) -> float | None:
    """
    Return how far the ir stamps are ahead of the rgb stamps of the same moments [ms].

    The nearest stamps count, unless the arrivals show that the clocks differ by more than the
    delay of an image; without arrivals, unless the stamps do not overlap at all. The delays of
    both cameras must be equal within half a period for the result to be exact.

    :returns: None for fewer than two stamps of a camera.
    """
    if min(len(rgb.stamps_ns), len(ir.stamps_ns)) < 2:
        return None
    rgb_ns, ir_ns = (np.array(one.stamps_ns, np.int64) for one in (rgb, ir))
    base_ns = int(rgb_ns[0])  # a float is too coarse for the time since 1970
    leads_ns = [_median_lead_ns(one) for one in (rgb, ir)]
    if leads_ns != [0, 0]:
        difference_ns = leads_ns[1] - leads_ns[0]
    elif ir_ns.min() > rgb_ns.max() or ir_ns.max() < rgb_ns.min():
        difference_ns = round(np.median(ir_ns - base_ns) - np.median(rgb_ns - base_ns))
    else:
        difference_ns = 0
    if abs(difference_ns) <= MAX_DELAY_MS * 1e6:
        difference_ns = 0
    residual_ms = skews_ms(rgb_ns.tolist(), (ir_ns - difference_ns).tolist())
    return difference_ns / 1e6 + (float(np.median(residual_ms)) if len(residual_ms) else 0.0)


def lag_ms(rgb: CameraTimes, ir: CameraTimes) -> float:
    """Return how much longer after its stamp ir arrives than rgb [ms]; 0 if not known."""
    return (_median_lead_ns(rgb) - _median_lead_ns(ir)) / 1e6


def is_lossy(lost: int, sent: int) -> bool:
    """Return whether DDS lost so many of the images sent that it is worth a warning."""
    return lost > max(1, MAX_LOST_SHARE * sent)


def rate_hz(times: CameraTimes) -> float:
    """Return the rate of a camera by its stamps; 0 if not known [Hz]."""
    steps = np.diff(np.array(times.stamps_ns, np.int64))
    return 1e9 / float(np.median(steps)) if len(steps) and np.median(steps) > 0 else 0.0


def images_at_once(times: CameraTimes) -> float:
    """Return how many images of a camera arrive together on average; 1 if each arrives alone."""
    gaps_ns, rate = np.diff(np.array(times.arrivals_ns, np.int64)), rate_hz(times)
    if not len(gaps_ns) or not rate:
        return 1.0
    return len(times.arrivals_ns) / (1 + np.count_nonzero(gaps_ns > int(SOON / rate * 1e9)))


def advise_waiting(late_ms: float, rates_hz: Mapping[str, float], sync: SyncConfig) -> str:
    """
    Return how to make frames wait for a camera that arrives late; empty: they wait long enough.

    :param late_ms: as of :func:`lag_ms`; a clock that is behind looks the same.
    :param rates_hz: of both cameras, by stream.
    """
    late, early = ('ir', 'rgb') if late_ms > 0 else ('rgb', 'ir')
    wait_ms, per_ms = abs(late_ms), rates_hz[early] / 1e3
    waits = wait_ms < sync.max_age_ms and wait_ms * per_ms < sync.queue_size - 1
    if waits or wait_ms > MAX_WAIT_MS or sync.mode == 'rgb_hold':
        return ''
    age_ms, frames = 1.5 * wait_ms, math.ceil(1.5 * wait_ms * per_ms) + 1
    return (
        f'if the stamps are right and {late} images only arrive late, set sync.max_age_ms to '
        f'{max(age_ms, sync.max_age_ms):.0f} and sync.queue_size to '
        f'{max(frames, sync.queue_size)}'
    )


def _median_lead_ns(times: CameraTimes) -> int:
    """Return how far the stamps are ahead of the arrivals; 0 if those are not known [ns]."""
    if not len(times.arrivals_ns):
        return 0
    leads_ns = np.array(times.stamps_ns, np.int64) - np.array(times.arrivals_ns, np.int64)
    first_ns = int(leads_ns[0])
    return first_ns + round(float(np.median(leads_ns - first_ns)))


def describe_difference(ms: float) -> str:
    """Return a sentence about a difference between the clocks; positive: ir is ahead."""
    direction = 'ahead of' if ms > 0 else 'behind'
    return f'the ir stamps are {abs(ms) / 1e3:.3f} s {direction} the rgb stamps'


def describe_stamps(stream: str, stamps_ns: Sequence[int]) -> list[str]:
    """Return what is wrong with the stamps of a camera; empty if nothing is."""
    stamps = np.array(stamps_ns, np.int64)
    steps = np.diff(stamps[stamps > 0])
    found = (
        (stamps == 0, f'are 0: {STAMP_IT}'),
        (stamps < 0, 'are negative, as if the clock began after the exposure'),
        (steps == 0, 'repeat the one before: look for a second publisher or a clock that stopped'),
        (steps < 0, 'are before the one before: a looping bag, or a clock that jumps'),
    )
    return [
        f'{"all" if count == len(stamps) else f"{count} of"} {len(stamps)} stamps of {stream} '
        f'{meaning}'
        for where, meaning in found
        if (count := int(np.count_nonzero(where)))
    ]
