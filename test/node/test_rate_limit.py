"""What a limit on pairs a second lets through."""

from itertools import pairwise
import random

import pytest

from tdfusion_ros.node.rate_limit import RateLimit


def admitted(rate_hz, times):
    """Return which of these times pass [s]."""
    now = iter(times)
    limit = RateLimit(rate_hz, lambda: current)
    passed = []
    for current in now:
        if limit.admit():
            passed.append(current)
    return passed


def stream(hz, seconds, jitter_s=0.0):
    rng = random.Random(0)
    return [k / hz + rng.uniform(-jitter_s, jitter_s) for k in range(round(hz * seconds))]


def test_zero_admits_everything_and_a_camera_at_the_limit_loses_nothing():
    assert len(admitted(0.0, stream(100.0, 3.0))) == 300
    assert len(admitted(10.0, stream(10.0, 60.0, 0.02))) == 600


@pytest.mark.parametrize('limit_hz', [1.0, 5.0, 9.0, 10.0])
def test_never_more_than_the_limit_and_nearly_as_much(limit_hz):
    passed = admitted(limit_hz, stream(30.0, 60.0, 0.01))
    assert len(passed) <= 60 * limit_hz + 1
    assert len(passed) >= 0.95 * 60 * limit_hz


def test_a_pause_does_not_save_up_for_a_burst():
    times = [0.0, *(100.0 + k / 100 for k in range(100))]
    passed = [t for t in admitted(10.0, times) if t >= 100.0]
    assert len(passed) <= 11
    assert all(b - a >= 0.049 for a, b in pairwise(passed))
