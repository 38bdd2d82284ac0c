"""A slow ir camera beside a fast rgb camera: each rgb frame is fused. Times are in ms."""

from collections import Counter

import numpy as np
import pytest

from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.nearest_policy import NearestPolicy
from tdfusion_ros.core.rgb_hold_policy import RgbHoldPolicy

NS = 1_000_000  # in a millisecond
HOLD = SyncConfig(mode='rgb_hold')


def by_arrival(rgb, ir, ir_delay=0.0):
    arrivals = [(ms, 'rgb', ms) for ms in rgb] + [(ms + ir_delay, 'ir', ms) for ms in ir]
    return [(stream, ms) for _, stream, ms in sorted(arrivals)]


def run(policy, arrivals):
    """Return (rgb, ir, when it left) of each pair."""
    found = []
    for stream, ms in arrivals:
        pairs = policy.push(stream, round(ms * NS), (stream, ms))
        found += [(pair.rgb[1], pair.ir[1], ms) for pair in pairs]
    return [*found, *((p.rgb[1], p.ir[1], None) for p in policy.flush())]


def rates(phase, seconds=10.0):
    """Return the stamps of 30 Hz rgb and 9 Hz ir."""
    rgb = np.arange(0, seconds * 1000, 1000 / 30)
    return rgb.tolist(), (np.arange(0, seconds * 1000, 1000 / 9) + phase).tolist()


@pytest.mark.parametrize('phase', [0.0, 7.6, 21.3])
def test_paired_mode_at_30_and_9_hz_comes_within_a_millisecond_of_the_nearest_possible(phase):
    rgb, ir = rates(phase)
    pairs = run(NearestPolicy(SyncConfig()), by_arrival(rgb, ir))
    skew = [abs(r - i) for r, i, _ in pairs]
    possible = [np.abs(np.subtract(rgb, ms)).min() for ms in ir]
    possible = [ms for ms in possible if ms <= 20]
    assert len(pairs) >= 0.98 * len(possible)
    assert abs(np.mean(skew) - np.mean(possible)) < 1.0


@pytest.mark.parametrize('phase', [0.0, 7.6, 21.3])
@pytest.mark.parametrize('ir_delay', [0.0, 5.0])
def test_hold_mode_fuses_every_rgb_frame_with_the_nearest_ir_that_can_be_there(phase, ir_delay):
    rgb, ir = rates(phase)
    pairs = run(RgbHoldPolicy(HOLD), by_arrival(rgb, ir, ir_delay))
    settled = [pair for pair in pairs if pair[0] > 600]  # the rate is known after four ir frames
    assert [r for r, _, _ in settled] == [ms for ms in rgb if ms > 600]
    for r, i, _ in settled:
        # Past frames, and the one to come within the skew, for which it waited.
        there = [ms for ms in ir if ms + ir_delay <= r or abs(ms - r) <= 20]
        best = min(abs(r - ms) for ms in there)
        assert abs(r - i) <= best + 1.0
    assert max(abs(r - i) for r, i, _ in settled) <= 1000 / 9 + ir_delay


def test_an_rgb_frame_waits_for_ir_at_most_until_the_next_one():
    rgb, ir = rates(7.6)
    pairs = run(RgbHoldPolicy(HOLD), by_arrival(rgb, ir))
    waits = [left - r for r, _, left in pairs if left is not None]
    assert max(waits) <= 1000 / 30 + 1e-6
    assert np.mean([wait == 0 for wait in waits]) > 0.5


def test_hold_mode_keeps_all_pairs_of_every_loop_of_a_bag_but_the_first_frame_before_any_ir():
    rgb, ir = rates(7.6, seconds=4.0)
    loop = by_arrival([1000 + ms for ms in rgb], [1000 + ms for ms in ir])
    policy = RgbHoldPolicy(HOLD)
    found = run(policy, loop * 4)
    for r in (1000 + ms for ms in rgb[1:]):
        assert sum(pair[0] == r for pair in found) == 4
    assert policy.dropped == Counter(no_partner=4)


def test_ir_that_is_too_old_is_not_used():
    policy = RgbHoldPolicy(SyncConfig(mode='rgb_hold', hold_max_age_ms=100.0))
    found = run(policy, by_arrival(rgb=range(0, 301, 50), ir=(0,)))
    assert [(r, i) for r, i, _ in found] == [(0, 0), (50, 0), (100, 0)]
    assert policy.dropped == Counter(no_partner=4)


@pytest.mark.parametrize('stamp', [100, 90])
def test_an_rgb_frame_out_of_order_is_counted(stamp):
    policy = RgbHoldPolicy(HOLD)
    run(policy, [('ir', 99), ('rgb', 100), ('rgb', stamp)])
    assert policy.dropped == Counter(out_of_order=1)


def test_time_offset_is_applied():
    policy = RgbHoldPolicy(SyncConfig(mode='rgb_hold', ir_time_offset_ms=-45.0))
    policy.push('ir', 145 * NS, 'ir')
    (pair,) = policy.push('rgb', 100 * NS, 'rgb')
    assert pair.skew_ns == 0


def test_a_reset_forgets_held_images_and_counts_what_waited():
    policy = RgbHoldPolicy(HOLD)
    for ms in range(0, 500, 100):  # the next ir image is due at 500 ms
        policy.push('ir', ms * NS, 'ir')
    assert policy.push('rgb', 495 * NS, 'rgb') == []
    policy.reset()
    assert policy.dropped == {'reset': 1}
    assert policy.flush() == []
    assert policy.push('rgb', 500 * NS, 'rgb') == []
    assert policy.dropped == {'reset': 1, 'no_partner': 1}
