"""What stamps say about drivers and clocks."""

import re

import numpy as np
import pytest

from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.stamps import advise_waiting
from tdfusion_ros.core.stamps import CameraTimes
from tdfusion_ros.core.stamps import check_stamp
from tdfusion_ros.core.stamps import clock_difference_ms
from tdfusion_ros.core.stamps import describe_stamps
from tdfusion_ros.core.stamps import lag_ms
from tdfusion_ros.core.stamps import rate_hz
from tdfusion_ros.core.stamps import skews_ms

MS = 1_000_000
START = 1_700_000_000_000 * MS


def camera(offset_ms, *, hz=10.0, count=60, delay_ms=5.0, known=True):
    """Return the times of a camera whose clock is ahead by an offset."""
    taken = [START + round(k * 1000 / hz) * MS for k in range(count)]
    rng = np.random.default_rng(0)
    arrivals = [t + round((delay_ms + rng.uniform(0, 3)) * MS) for t in taken]
    return CameraTimes([t + round(offset_ms * MS) for t in taken], arrivals if known else [])


@pytest.mark.parametrize('known', [True, False])
@pytest.mark.parametrize('offset_ms', [37_000.0, -37_000.0, 3_600_000.0, -1.7e12 + 5e4, 12_345.0])
def test_difference_between_clocks_is_that_of_the_same_moments(offset_ms, known):
    rgb, ir = camera(0, known=known), camera(offset_ms, delay_ms=45, known=known)
    assert clock_difference_ms(rgb, ir) == pytest.approx(offset_ms, abs=0.001)
    assert clock_difference_ms(ir, rgb) == pytest.approx(-offset_ms, abs=0.001)


def test_small_differences_of_clocks_are_told_by_the_arrivals_but_not_from_one_stamp():
    assert clock_difference_ms(camera(0), camera(3000.0)) == pytest.approx(3000.0, abs=0.001)
    assert clock_difference_ms(camera(0), camera(0, count=1)) is None


@pytest.mark.parametrize(('hz', 'delay_ms'), [(10, 300), (9, 60), (30, 90)])
def test_delays_and_other_rates_are_no_difference_between_clocks(hz, delay_ms):
    difference = clock_difference_ms(camera(0, hz=30), camera(4, hz=hz, delay_ms=delay_ms))
    assert abs(difference) <= 1000 / 30 / 2


@pytest.mark.parametrize(
    ('delay_ms', 'sync', 'advice'),
    [
        (205.0, SyncConfig(), ''),
        (
            205.0,
            SyncConfig(queue_size=10),
            'ir images .* sync.max_age_ms to 500 and sync.queue_size to 19',
        ),
        (605.0, SyncConfig(), 'ir images .* sync.max_age_ms to 900 and sync.queue_size to 54'),
        (-595.0, SyncConfig(), 'rgb images .* sync.max_age_ms to 900 and sync.queue_size to 30'),
        (605.0, SyncConfig(mode='rgb_hold'), ''),
        (3_600_000.0, SyncConfig(), ''),
    ],
)
def test_frames_can_be_made_to_wait_for_a_camera_that_is_late(delay_ms, sync, advice):
    rgb, ir = camera(0, hz=60), camera(0, hz=9, delay_ms=delay_ms)
    late_ms = lag_ms(rgb, ir)
    assert late_ms == pytest.approx(delay_ms - 5, abs=3)
    rates_hz = {'rgb': rate_hz(rgb), 'ir': rate_hz(ir)}
    found = advise_waiting(round(late_ms, -1), rates_hz, sync)
    assert re.search(advice, found)
    assert bool(found) == bool(advice)


def test_skew_of_a_long_recording_needs_little_memory():
    stamps = range(START, START + 200_000 * MS, MS)
    assert np.all(skews_ms(list(stamps), list(stamps)) == 0)


@pytest.mark.parametrize(
    ('stamps', 'words'),
    [
        ([START, START + 1], []),
        ([0, 0, 0], ['all 3 stamps of ir are 0: make the driver stamp']),
        ([-5, 0, 7], ['1 of 3 stamps of ir are 0', '1 of 3 stamps of ir are negative']),
        ([7, 7, 7, 8], ['2 of 4 stamps of ir repeat']),
        ([7, 8, 3], ['1 of 3 stamps of ir are before']),
    ],
)
def test_wrong_stamps_are_counted_by_kind(stamps, words):
    found = describe_stamps('ir', stamps)
    assert len(found) == len(words)
    assert all(line.startswith(word) for line, word in zip(found, words, strict=True))


def test_frame_without_a_time_is_refused_by_cause():
    check_stamp(1)
    for stamp, cause in ((0, 'no_stamp'), (-1, 'negative_stamp'), (2**31 * 10**9, 'late_stamp')):
        with pytest.raises(FrameError) as caught:
            check_stamp(stamp)
        assert caught.value.cause == cause
