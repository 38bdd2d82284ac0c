"""Which frames belong together, what is dropped and why. Times are in ms."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.nearest_policy import NearestPolicy

NS = 1_000_000  # in a millisecond


def push(policy, stream, ms):
    return [(pair.rgb, pair.ir) for pair in policy.push(stream, round(ms * NS), ms)]


def feed(policy, arrivals):
    return [pair for stream, ms in arrivals for pair in push(policy, stream, ms)]


def by_time(rgb, ir):
    return sorted([('rgb', ms) for ms in rgb] + [('ir', ms) for ms in ir], key=lambda a: a[1])


def test_policy_returns_the_nearest_frame_not_the_first_within_the_skew():
    many, one = (0, 33, 66, 100, 133), (95,)
    for rgb, ir, expected in ((many, one, (100, 95)), (one, many, (95, 100))):
        policy = NearestPolicy(SyncConfig(max_skew_ms=50))
        feed(policy, by_time(rgb, ir))
        assert [(pair.rgb, pair.ir) for pair in policy.flush()] == [expected]


def test_irregular_frame_is_paired_if_it_is_the_nearest():
    policy = NearestPolicy(SyncConfig(max_skew_ms=50))
    rgb = (0, 100, 200, 300, 340)
    assert feed(policy, by_time(rgb, ir=(345,))) + push(policy, 'rgb', 440) == [(340, 345)]


@pytest.mark.parametrize(('skew_ns', 'pairs'), [(20 * NS, 1), (20 * NS + 1, 0)])
def test_largest_skew_is_still_a_pair_and_one_nanosecond_more_is_not(skew_ns, pairs):
    policy = NearestPolicy(SyncConfig(max_skew_ms=20))
    policy.push('rgb', 0, None)
    policy.push('ir', skew_ns, None)
    assert len(policy.flush()) == pairs


def test_at_equal_rates_a_pair_leaves_with_its_later_frame():
    policy = NearestPolicy(SyncConfig())
    feed(policy, by_time(rgb=range(0, 400, 100), ir=range(8, 400, 100)))
    for ms in range(400, 1000, 100):
        assert push(policy, 'rgb', ms) == []
        assert push(policy, 'ir', ms + 8) == [(ms, ms + 8)]


def test_at_30_and_9_hz_every_ir_frame_gets_its_nearest_rgb_frame_within_one_rgb_period():
    rgb, ir = np.arange(300) * 1000 / 30, np.arange(2, 88) * 1000 / 9 + 7.6
    policy, left_at = NearestPolicy(SyncConfig()), {}
    for stream, ms in by_time(rgb, ir):
        left_at |= dict.fromkeys(push(policy, stream, ms), ms)
    assert list(left_at) == [(rgb[np.abs(rgb - ms).argmin()], ms) for ms in ir]
    waits = [at - ms for (_, ms), at in left_at.items()]
    assert max(waits[4:]) <= 1000 / 30  # the rates are known after four frames


@pytest.mark.parametrize('share', [0.48, 0.5, 0.52])
def test_cameras_half_a_period_apart_keep_nearly_all_frames_despite_jitter(share):
    rng, period, count = np.random.default_rng(0), 1000 / 30, 600
    rgb, ir = (
        np.arange(count) * period + shift + rng.normal(0, 0.01 * period, count)
        for shift in (0, share * period)
    )
    assert len(feed(NearestPolicy(SyncConfig()), by_time(rgb, ir))) > 0.95 * count


@pytest.mark.parametrize(
    'offset', [{'ir_time_offset_ms': -45.0}, {'rgb_time_offset_ms': 45.0}], ids=str
)
def test_time_offset_of_either_stream_undoes_a_constant_delay(offset):
    arrivals = by_time(rgb=range(0, 1000, 100), ir=range(45, 1000, 100))
    assert feed(NearestPolicy(SyncConfig()), arrivals) == []
    policy = NearestPolicy(SyncConfig(**offset))
    pairs = [p for stream, ms in arrivals for p in policy.push(stream, ms * NS, ms)]
    pairs += policy.flush()
    assert [(p.rgb, p.ir) for p in pairs] == [(ms, ms + 45) for ms in range(0, 1000, 100)]
    assert {p.skew_ns for p in pairs} == {0}


@pytest.mark.parametrize(
    ('cause', 'config', 'arrivals'),
    [
        ('no_partner', {}, [('rgb', 0), ('ir', 50)]),
        ('too_old', {'max_age_ms': 100}, [('rgb', 0), ('rgb', 101)]),
        ('queue_full', {'queue_size': 2}, [('rgb', 0), ('rgb', 10), ('rgb', 20)]),
        ('out_of_order', {}, [('rgb', 100), ('rgb', 90)]),
        ('out_of_order', {}, [('rgb', 100), ('rgb', 100)]),
        ('time_jump', {}, [('rgb', 1000), ('rgb', 0)]),
    ],
)
def test_policy_counts_a_lost_frame_by_its_cause(cause, config, arrivals):
    policy = NearestPolicy(SyncConfig(**config))
    assert feed(policy, arrivals) == []
    assert policy.dropped == Counter({cause: 1})


def test_nothing_is_dropped_that_may_still_find_a_partner():
    policy = NearestPolicy(SyncConfig(max_age_ms=100, queue_size=2))
    feed(policy, [('rgb', 0), ('rgb', 100)])
    assert not policy.dropped


def test_reset_forgets_the_waiting_frames_and_counts_them():
    policy = NearestPolicy(SyncConfig())
    push(policy, 'rgb', 0)
    policy.reset()
    assert push(policy, 'ir', 0) == []
    assert policy.flush() == []
    assert policy.dropped == Counter(reset=1)


@given(
    arrivals=st.lists(st.tuples(st.sampled_from(('rgb', 'ir')), st.integers(0, 300))),
    max_age_ms=st.sampled_from((30, 500)),
    queue_size=st.integers(1, 10),
)
def test_every_frame_is_paired_or_counted_for_any_arrivals(arrivals, max_age_ms, queue_size):
    policy = NearestPolicy(SyncConfig(max_age_ms=max_age_ms, queue_size=queue_size))
    pairs = feed(policy, arrivals) + [(p.rgb, p.ir) for p in policy.flush()]
    policy.reset()  # counts the waiting frames
    assert 2 * len(pairs) + policy.dropped.total() == len(arrivals)
    assert all(abs(rgb - ir) <= 20 for rgb, ir in pairs)
    assert min(policy.dropped.values(), default=0) >= 0


def test_a_pair_that_waits_for_a_nearer_partner_leaves_before_its_frame_is_dropped():
    policy = NearestPolicy(SyncConfig(queue_size=3, max_age_ms=1000))
    # After 100 ir sends nothing: whether it has a nearer partner than 105 remains unknown.
    assert feed(policy, by_time(rgb=(105, 138, 171, 204, 237), ir=(100,))) == [(105, 100)]
    assert policy.dropped == Counter(queue_full=1)
