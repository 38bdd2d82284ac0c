"""Which frames belong together, what is dropped and why. Times are in ms."""

from collections import Counter

from hypothesis import assume
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


def test_policy_returns_the_nearest_frame_also_of_an_irregular_stream():
    many, one = (0, 33, 66, 100, 133), (95,)
    for rgb, ir, expected in ((many, one, (100, 95)), (one, many, (95, 100))):
        policy = NearestPolicy(SyncConfig(max_skew_ms=50))
        feed(policy, by_time(rgb, ir))
        assert [(pair.rgb, pair.ir) for pair in policy.flush()] == [expected]
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


@pytest.mark.parametrize('offset', [{'ir_time_offset_ms': -45.0}, {'rgb_time_offset_ms': 45.0}])
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
        (None, {'max_age_ms': 100, 'queue_size': 2}, [('rgb', 0), ('rgb', 100)]),
    ],
)
def test_policy_counts_a_lost_frame_by_its_cause(cause, config, arrivals):
    policy = NearestPolicy(SyncConfig(**config))
    assert feed(policy, arrivals) == []
    assert policy.dropped == ({cause: 1} if cause else {})


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


RGB_MS = 1000 / 30
# Room for the rgb frames of a second, so that no row of lost ir frames fills the queue.
ROOMY = SyncConfig(queue_size=30, max_age_ms=1000)


def run(policy, arrivals):
    pairs = [p for stream, ns in arrivals for p in policy.push(stream, ns, ns)]
    return [(p.rgb, p.ir) for p in [*pairs, *policy.flush()]]


def drive(rng, ir_ms, jitter, lost):
    """Return the stamps [ns] of two seconds, each camera with its own phase, jitter, losses."""
    stamps = {}
    for stream, period in (('rgb', RGB_MS), ('ir', ir_ms)):
        count = int(2000 / period)
        ms = 1e3 + period * (rng.random() + np.arange(count) + rng.uniform(-jitter, jitter, count))
        stamps[stream] = (ms[rng.random(count) >= lost] * NS).astype(np.int64)
    return stamps


def arrive(rng, stamps):
    """Return the frames in an order in which they may arrive: each stream has its own delay."""
    arrivals = []
    for stream, ns in stamps.items():
        delay_ns = (rng.uniform(0, 60) + rng.uniform(0, 15, len(ns))) * NS
        at = np.maximum.accumulate(ns + delay_ns)
        arrivals += zip(at.tolist(), [stream] * len(ns), ns.tolist(), strict=True)
    return [(stream, ns) for _, stream, ns in sorted(arrivals, key=lambda a: a[0])]


drives = st.builds(
    lambda seed, **facts: (rng := np.random.default_rng(seed), drive(rng, **facts)),
    seed=st.integers(0, 2**32 - 1),
    ir_ms=st.sampled_from((RGB_MS, 40.0, 1000 / 9)),
    jitter=st.floats(0, 0.15),
    lost=st.floats(0, 0.25),
)


@given(drives)
def test_policy_finds_the_same_pairs_in_each_loop_of_a_bag_as_offline(drawn):
    rng, stamps = drawn
    once = run(NearestPolicy(ROOMY), arrive(rng, stamps))
    loops = [frame for _ in range(3) for frame in arrive(rng, stamps)]
    assert run(NearestPolicy(ROOMY), loops) == once * 3


@given(drives)
def test_pairs_depend_on_stamps_not_on_the_order_of_arrival(drawn):
    rng, stamps = drawn
    orders = [arrive(rng, stamps) for _ in range(2)]
    first, second = (run(NearestPolicy(ROOMY), order) for order in orders)
    assert first == second


@pytest.mark.parametrize('late', [1, 2, 5])
@pytest.mark.parametrize('ahead', ['rgb', 'ir'])
def test_a_stream_that_restarts_first_costs_only_the_frames_in_flight(ahead, late):
    behind = 'ir' if ahead == 'rgb' else 'rgb'
    ms = range(1000, 4000, 100)
    loop = [(stream, at * NS) for at in ms for stream in (ahead, behind)]
    # The last frames of the stream that is behind arrive when the other is in the next loop.
    rest = [frame for frame in loop if frame[0] == behind][-late:]
    first = [frame for frame in loop if frame not in rest]
    policy = NearestPolicy(SyncConfig())
    pairs = run(policy, first + loop[:1] + rest + loop[1:])
    every = [(at * NS, at * NS) for at in ms]
    assert pairs == every[: len(every) - late] + every
    assert policy.dropped == {'time_jump': 2 * late}


def test_one_stamp_from_the_future_costs_less_than_half_a_second():
    good = [(stream, at * NS) for at in range(1000, 6000, 100) for stream in ('rgb', 'ir')]
    policy = NearestPolicy(SyncConfig())
    pairs = run(policy, [*good[:40], ('rgb', 10**6 * NS), *good[40:]])
    assert len(pairs) >= len(good) // 2 - 5


def brute_force(rgb, ir, max_skew):
    """Return all pairs of stamps that are each other's nearest."""
    gaps = np.abs(np.subtract.outer(rgb, ir))
    return {
        (rgb[i], ir[j])
        for i, j in np.argwhere(gaps <= max_skew)
        if gaps[i].argmin() == j and gaps[:, j].argmin() == i
    }


# With at most three frames of a stream its rate is unknown, so the definition applies exactly.
few = st.lists(st.integers(0, 300), min_size=1, max_size=3, unique=True).map(sorted)


@given(rgb=few, ir=few)
def test_policy_finds_all_pairs_of_brute_force_and_each_frame_is_in_one_pair_in_order(rgb, ir):
    gaps = np.abs(np.subtract.outer(rgb, ir)).ravel()
    assume(len(set(gaps.tolist())) == gaps.size)  # a tie has no nearest
    arrivals = sorted([(ms * NS, 'rgb') for ms in rgb] + [(ms * NS, 'ir') for ms in ir])
    policy = NearestPolicy(SyncConfig(max_skew_ms=150))
    pairs = run(policy, [(stream, ns) for ns, stream in arrivals])
    pairs = [(r // NS, i // NS) for r, i in pairs]
    assert brute_force(rgb, ir, 150) <= set(pairs)
    for stamps in zip(*pairs, strict=True):
        assert list(stamps) == sorted(set(stamps))
