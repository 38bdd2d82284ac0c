"""A slow ir camera with a fast rgb camera: each rgb frame is fused. Times are in ms."""

from collections import Counter

import numpy as np
import pytest

from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.rgb_hold_policy import RgbHoldPolicy

NS = 1_000_000  # in a millisecond


def policy_of(**settings):
    return RgbHoldPolicy(SyncConfig(mode='rgb_hold', **settings))


def by_arrival(rgb, ir, ir_delay=0.0):
    arrivals = [(ms, 'rgb', ms) for ms in rgb] + [(ms + ir_delay, 'ir', ms) for ms in ir]
    return [(stream, ms) for _, stream, ms in sorted(arrivals)]


def run(policy, arrivals):
    """Return (rgb, ir, when it left) of each pair."""
    found = []
    for stream, ms in arrivals:
        found += [(p.rgb, p.ir, ms) for p in policy.push(stream, round(ms * NS), ms)]
    return [*found, *((p.rgb, p.ir, None) for p in policy.flush())]


def rates(phase, seconds=10.0):
    """Return the stamps of 30 Hz rgb and 9 Hz ir."""
    rgb = np.arange(0, seconds * 1000, 1000 / 30)
    return rgb.tolist(), (np.arange(0, seconds * 1000, 1000 / 9) + phase).tolist()


@pytest.mark.parametrize('phase', [0.0, 7.6, 21.3])
@pytest.mark.parametrize('ir_delay', [0.0, 5.0])
def test_hold_mode_fuses_every_rgb_frame_with_the_nearest_ir_that_can_be_there(phase, ir_delay):
    rgb, ir = rates(phase)
    pairs = run(policy_of(), by_arrival(rgb, ir, ir_delay))
    settled = [pair for pair in pairs if pair[0] > 600]  # the rate is known after four ir frames
    assert [r for r, _, _ in settled] == [ms for ms in rgb if ms > 600]
    for r, i, _ in settled:
        # Past frames, and the next one within the skew, for which it waited.
        candidates = [ms for ms in ir if ms + ir_delay <= r or abs(ms - r) <= 20]
        assert abs(r - i) <= min(abs(r - ms) for ms in candidates) + 1.0
    assert max(abs(r - i) for r, i, _ in settled) <= 1000 / 9 + ir_delay


def test_an_rgb_frame_waits_for_ir_at_most_until_the_next_one():
    pairs = run(policy_of(), by_arrival(*rates(7.6)))
    waits = [left - r for r, _, left in pairs if left is not None]
    assert max(waits) <= 1000 / 30 + 1e-6
    assert np.mean([wait == 0 for wait in waits]) > 0.5


def test_each_loop_of_a_bag_keeps_all_pairs_except_the_first_frame_before_any_ir():
    rgb, ir = ([1000 + ms for ms in stamps] for stamps in rates(7.6, seconds=4.0))
    policy = policy_of()
    found = Counter(r for r, _, _ in run(policy, by_arrival(rgb, ir) * 4))
    assert {found[r] for r in rgb[1:]} == {4}
    assert policy.dropped == Counter(no_partner=4)


def test_ir_that_is_too_old_is_not_used():
    policy = policy_of(hold_max_age_ms=100.0)
    found = run(policy, by_arrival(rgb=range(0, 301, 50), ir=(0,)))
    assert [(r, i) for r, i, _ in found] == [(0, 0), (50, 0), (100, 0)]
    assert policy.dropped == Counter(no_partner=4)


@pytest.mark.parametrize('stamp', [100, 90])
def test_an_rgb_frame_out_of_order_is_counted(stamp):
    policy = policy_of()
    run(policy, [('ir', 99), ('rgb', 100), ('rgb', stamp)])
    assert policy.dropped == Counter(out_of_order=1)


def test_time_offset_is_applied():
    policy = policy_of(ir_time_offset_ms=-45.0)
    policy.push('ir', 145 * NS, 'ir')
    (pair,) = policy.push('rgb', 100 * NS, 'rgb')
    assert pair.skew_ns == 0


def test_reset_forgets_ir_frames_and_counts_the_waiting_rgb_frame():
    policy = policy_of()
    for ms in range(0, 500, 100):  # the next ir frame is due at 500 ms
        policy.push('ir', ms * NS, 'ir')
    assert policy.push('rgb', 495 * NS, 'rgb') == []
    policy.reset()
    assert policy.dropped == {'reset': 1}
    assert policy.flush() == []
    assert policy.push('rgb', 500 * NS, 'rgb') == []
    assert policy.dropped == {'reset': 1, 'no_partner': 1}
