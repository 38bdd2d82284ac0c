"""What the checks of the fault tests accept, and what they reject."""

from dataclasses import replace

import pytest

pytest.importorskip('rclpy')

from faults import FAULTS
from live import Record
from observation import first_fresh_s
from observation import leaks
from observation import Observation
from observation import reaction_problems
from observation import timing_problems

pytestmark = pytest.mark.ros
RESOURCES = {'memory_mib': 240.0, 'threads': 21, 'descriptors': 26, 'shared_mib': 68.0}
BY_NAME = {fault.name: fault.expected for fault in FAULTS}
GOOD = Observation(
    fault='ir image frozen',
    state='active',
    hz_before=20.0,
    hz_during=19.0,
    modes={'pairs': 4, 'held': 6, 'rgb_only': 50},
    warnings=('ir stream: the ir image has not changed for 2.9 s (shutter): rgb_only',),
    counted={'stalls.ir': 1},
    recovery_s=0.2,
    found_s=0.0,
    steady_s=0.1,
    oldest_ms=90.0,
    before=RESOURCES,
    after=RESOURCES,
)


def problems(name='ir image frozen', **changes):
    seen, expected = replace(GOOD, **changes), BY_NAME[name]
    return reaction_problems(expected, seen) + timing_problems(expected, seen)


def test_expected_reaction_is_accepted():
    assert problems() == []


@pytest.mark.parametrize(
    ('changes', 'text'),
    [
        ({'state': 'inactive'}, 'state inactive'),
        ({'recovery_s': None, 'steady_s': None}, 'no pair was fused'),
        ({'recovery_s': 2.5}, 'the first pair came after 2.5 s'),
        ({'steady_s': None}, 'rate before was not reached'),
        ({'steady_s': 6.0}, 'rate before was not reached'),
        ({'oldest_ms': 2500.0}, 'a result was 2500 ms old'),
        ({'hz_during': 8.0}, '8.0 results per second, expected 50% of 20.0'),
        ({'modes': {'pairs': 3}}, 'mostly nothing, expected rgb_only'),
        ({'modes': {'pairs': 60}}, 'mostly pairs, expected rgb_only'),
        ({'warnings': ('ir stream: no ir image for 1 s',)}, 'no warning like'),
        ({'counted': {}}, 'stalls.ir did not rise'),
    ],
)
def test_each_other_reaction_is_one_problem(changes, text):
    (found,) = problems(**changes)
    assert text in found


def test_time_that_dds_takes_to_find_a_camera_does_not_count():
    assert problems(recovery_s=2.5, found_s=2.4) == []


def test_result_of_images_that_do_not_belong_together_is_a_problem():
    hour = {
        'name': 'ir clock off by an hour',
        'warnings': ('sync: the ir stamps are 3600.004 s behind the rgb stamps: set the clocks',),
        'counted': {'dropped.time_jump': 9},
    }
    assert problems(**hour, modes={'pairs': 2}) == []
    assert problems(**hour) == ['results: mostly rgb_only, expected nothing']


@pytest.mark.parametrize(
    ('name', 'more', 'leak'),
    [
        ('threads', 1, True),
        ('descriptors', 1, True),
        ('descriptors', -1, False),
        ('memory_mib', 30, False),
        ('memory_mib', 300, True),
    ],
)
def test_resources_that_grow_over_all_faults_are_leaks(name, more, leak):
    assert bool(leaks(RESOURCES, {**RESOURCES, name: RESOURCES[name] + more})) == leak


def test_recovery_is_the_first_fresh_pair_of_images_sent_after_the_fault():
    record = Record()
    record.sent['rgb'] |= {1: 10.0, 2: 11.0, 3: 12.0}
    record.fresh += [(10.1, 1), (11.3, 2), (12.1, 3)]
    assert first_fresh_s(record, since=10.5) == 11.3
    assert first_fresh_s(record, since=12.5) is None
