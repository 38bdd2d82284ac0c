"""Pairing compared with brute force, in other orders of arrival, and in looping bags."""

from hypothesis import assume
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.nearest_policy import NearestPolicy

NS = 1_000_000  # in a millisecond
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
        ms = 1000 + period * (
            rng.random() + np.arange(count) + rng.uniform(-jitter, jitter, count)
        )
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
