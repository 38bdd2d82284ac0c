"""What diagnostics make of stamps and skews, without a node."""

from collections import Counter

import pytest

from tdfusion_ros.node.counters import Counters
from tdfusion_ros.node.counters import OK
from tdfusion_ros.node.counters import WARN
from tdfusion_ros.node.diagnostics import clock_difference
from tdfusion_ros.node.diagnostics import judge
from tdfusion_ros.node.diagnostics import steady_skew


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def counted(rgb_age_ms=5.0, ir_age_ms=5.0, skews_ms=(), ir_every=1):
    """Return the counters of 60 frames of each camera, 20 Hz."""
    clock = Clock()
    counters = Counters(clock)
    for i in range(60):
        clock.now += 0.05
        counters.tick('rgb')
        counters.sample('rgb_stamp_age_ms', rgb_age_ms)
        if i % ir_every == 0:
            counters.tick('ir')
            counters.sample('ir_stamp_age_ms', ir_age_ms)
    for skew in skews_ms:
        counters.sample('skew_ms', skew)
    return counters


@pytest.mark.parametrize(
    ('ages', 'said'),
    [
        ({}, ''),
        # A bag of last year: both clocks are off alike, which nobody has to mend.
        ({'rgb_age_ms': 3e10, 'ir_age_ms': 3e10}, ''),
        ({'ir_age_ms': 3_600_005.0}, '3600 s behind those of rgb: set the clocks'),
        ({'rgb_age_ms': 3_600_005.0}, '3600 s ahead of those of rgb: set the clocks'),
        ({'ir_age_ms': 125.0}, r'0.12 s behind those of rgb (sync.ir_time_offset_ms about +120'),
        (
            {'rgb_age_ms': 125.0},
            r'0.12 s ahead of those of rgb (sync.ir_time_offset_ms about -120',
        ),
    ],
)
def test_clocks_that_differ_are_named_with_the_remedy(ages, said):
    found = clock_difference(counted(**ages))
    assert said in found
    assert bool(found) == bool(said)


def test_clocks_are_named_where_no_pair_is_found():
    counters = counted(ir_age_ms=3_600_005.0)
    sync = judge(counters, Counter(), 2.0, {})[2]
    assert (sync.name, sync.level) == ('sync', WARN)
    assert 'images arrive but no pair' in sync.message
    assert '3600 s behind' in sync.message
    counters.tick('paired')
    counters.sample('abs_skew_ms', 1.0)
    assert judge(counters, Counter(), 2.0, {})[2].level == OK


def test_a_clock_that_changes_is_named_at_once_and_forgotten_at_once():
    counters = counted()
    for age_ms, said in ((3_600_005.0, '3600 s behind'), (5.0, '')):
        for _ in range(20):  # a second
            counters.sample('rgb_stamp_age_ms', 5.0)
            counters.sample('ir_stamp_age_ms', age_ms)
        assert said in clock_difference(counters)
        assert bool(clock_difference(counters)) == bool(said)


def test_a_steady_skew_at_equal_rates_is_hinted_at_as_what_to_add():
    hint = steady_skew(counted(skews_ms=[12.0, 12.5, 11.5] * 20))
    assert hint['sync.ir_time_offset_ms.hint'].startswith('-12.0 more, if both cameras')


@pytest.mark.parametrize(
    'facts',
    [
        {'skews_ms': [12.0] * 10},  # too few
        {'skews_ms': [2.0, 12.0, -9.0] * 20},  # free-running
        {'skews_ms': [0.2] * 60},  # nothing to gain
        {'skews_ms': [12.0] * 60, 'ir_every': 3},  # another rate: the phase runs through
    ],
)
def test_no_offset_is_made_up_where_stamps_do_not_show_one(facts):
    assert steady_skew(counted(**facts)) == {}
