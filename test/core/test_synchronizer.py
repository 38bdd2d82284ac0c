"""What results are made of while both cameras work, and while one of them stalls."""

from collections import Counter

import cv2
import numpy as np
import pytest

from tdfusion_ros.core.config import from_mapping
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.synchronizer import Synchronizer

NS = 1_000_000  # in a millisecond
PERIOD_MS = 50
RNG = np.random.default_rng(0)
SOFT = [cv2.resize(RNG.integers(0, 256, (6, 8)).astype(np.uint8), (160, 120)) for _ in range(7)]
COLOR = [np.dstack([soft] * 3) for soft in SOFT]
FLAT = np.zeros((120, 160), np.uint8)


def frame(stream, ms, picture=None):
    pictures = SOFT if stream == 'ir' else COLOR
    pixels = pictures[ms // PERIOD_MS % 7] if picture is None else picture
    return Frame(pixels, ms * NS, f'{stream}_optical_frame')


def drive(synchronizer, until_ms, *, without=(), frozen=(), flat=(), start_ms=0):
    """Send both cameras at 20 Hz but for one's fault; return (time, match) of each result."""
    found = []
    for ms in range(start_ms, until_ms, PERIOD_MS):
        for stream in ('rgb', 'ir'):
            if stream in without:
                continue
            picture = None
            if stream in frozen:
                picture = (SOFT if stream == 'ir' else COLOR)[start_ms // PERIOD_MS % 7 - 1]
            if stream in flat:
                picture = FLAT
            found += [(ms, m) for m in synchronizer.push(stream, frame(stream, ms, picture))]
    return found


def modes(found):
    return Counter(match.mode for _, match in found)


def make_synchronizer(**settings):
    return Synchronizer(from_mapping(settings))


def test_pairing_of_another_package_is_refused_not_replaced_by_ours_without_a_word():
    with pytest.raises(ConfigError, match=r"'approximate' .* works in the live node only"):
        make_synchronizer(**{'sync.policy': 'approximate'})


def test_while_both_cameras_work_every_pair_is_fused_without_a_mark():
    synchronizer = make_synchronizer()
    found = drive(synchronizer, 2000)
    assert modes(found) == {'fused': 40}
    assert {match.warning for _, match in found} == {''}
    assert all(match.reference is match.rgb for _, match in found)
    assert synchronizer.faults == {}


FAULTS = {'without': 'NO IR', 'frozen': 'IR STALLED', 'flat': 'IR FLAT'}


@pytest.mark.parametrize('fault', FAULTS)
def test_while_ir_stalls_rgb_alone_goes_on_with_a_mark_and_the_pairs_return(fault):
    synchronizer = make_synchronizer(**{'ir.on_stall': 'rgb_only'})
    drive(synchronizer, 1000)
    during = drive(synchronizer, 2000, start_ms=1000, **{fault: ('ir',)})
    alone = [(ms, m) for ms, m in during if m.mode == 'rgb_only']
    assert len(alone) >= 14  # of 20: the first 200 ms tell nothing, or are still pairs
    assert all(m.ir is None and m.warning.startswith(FAULTS[fault]) for _, m in alone)
    assert all(m.reference is m.rgb for _, m in alone)
    lasted = float(alone[-1][1].warning.split()[-2])
    assert lasted == pytest.approx(1.0, abs=0.11)
    assert 'rgb_only' in synchronizer.faults['ir']
    after = drive(synchronizer, 3000, start_ms=2000)
    assert modes(after)['fused'] >= 19
    assert after[-1][1].warning == ''
    assert synchronizer.faults == {}


def test_no_pair_of_a_frozen_ir_picture_is_fused_once_it_counts_as_frozen():
    synchronizer = make_synchronizer()
    drive(synchronizer, 1000)
    during = drive(synchronizer, 2000, start_ms=1000, frozen=('ir',))
    late = [(m.mode, bool(m.warning)) for ms, m in during if ms > 1000 + 200 + PERIOD_MS]
    assert set(late) == {('held', True), ('rgb_only', True)}


def test_rgb_frames_that_went_out_alone_do_not_come_again_when_ir_comes_late():
    synchronizer = make_synchronizer()
    drive(synchronizer, 1000)
    alone = drive(synchronizer, 1600, start_ms=1000, without=('ir',))
    late = drive(synchronizer, 1600, start_ms=1000, without=('rgb',))
    rest = drive(synchronizer, 2000, start_ms=1600)
    stamps = [m.reference.stamp_ns for _, m in [*alone, *late, *rest]]
    assert stamps == sorted(set(stamps))
    assert synchronizer.dropped['too_late'] > 0


def test_hold_fuses_the_last_good_ir_picture_up_to_its_age_and_then_goes_on_alone():
    synchronizer = make_synchronizer(**{'sync.max_age_ms': 600.0})
    before = drive(synchronizer, 1000)
    during = drive(synchronizer, 2000, start_ms=1000, flat=('ir',))
    held = [m for _, m in during if m.mode == 'held']
    assert all(m.ir is before[-1][1].ir and m.warning for m in held)
    ages_ms = [-m.skew_ns / NS for m in held]
    assert ages_ms == list(range(50, 601, 50))
    assert modes(during)['rgb_only'] == 20 - len(held)


def test_a_held_picture_is_as_old_as_the_first_of_the_equal_ones():
    synchronizer = make_synchronizer()
    drive(synchronizer, 1000)
    during = drive(synchronizer, 2000, start_ms=1000, frozen=('ir',))
    held = [(ms, m) for ms, m in during if m.mode == 'held']
    assert held
    for ms, match in held:
        assert match.skew_ns == (950 - ms) * NS  # the picture of 950 ms was sent again and again
        assert ms <= 1450


def test_drop_publishes_nothing_and_counts():
    synchronizer = make_synchronizer(**{'ir.on_stall': 'drop'})
    drive(synchronizer, 1000)
    assert drive(synchronizer, 2000, start_ms=1000, flat=('ir',)) == []
    assert synchronizer.dropped['ir_stalled'] == 20


@pytest.mark.parametrize('fault', ['without', 'frozen'])
def test_while_rgb_stalls_ir_alone_goes_on_on_the_rgb_grid(fault):
    synchronizer = make_synchronizer()
    drive(synchronizer, 1000)
    during = drive(synchronizer, 2000, start_ms=1000, **{fault: ('rgb',)})
    alone = [m for _, m in during if m.mode == 'ir_only']
    assert len(alone) >= 14
    for match in alone:
        assert match.rgb is None
        assert match.warning.startswith(('NO RGB', 'RGB STALLED'))
        assert match.reference.stamp_ns == match.ir.stamp_ns
        assert match.reference.frame_id == 'rgb_optical_frame'
        assert match.reference.size_hw == (120, 160)
    assert modes(drive(synchronizer, 3000, start_ms=2000))['fused'] >= 19


def test_without_any_rgb_image_ir_keeps_its_own_header():
    found = drive(make_synchronizer(), 4000, without=('rgb',))
    assert modes(found).keys() == {'ir_only'}
    assert all(m.reference is m.ir for _, m in found)


def test_rgb_stall_can_publish_nothing():
    synchronizer = make_synchronizer(**{'rgb.on_stall': 'drop'})
    drive(synchronizer, 1000)
    assert drive(synchronizer, 2000, start_ms=1000, without=('rgb',)) == []
    assert synchronizer.dropped['rgb_stalled'] > 10


def test_with_both_cameras_stalled_nothing_is_published():
    synchronizer = make_synchronizer()
    drive(synchronizer, 1000)
    found = drive(synchronizer, 3000, start_ms=1000, flat=('ir',), without=('rgb',))
    assert found == []
    assert synchronizer.dropped['both_stalled'] > 10
    assert set(synchronizer.faults) == {'rgb', 'ir'}


@pytest.mark.parametrize('mode', ['paired', 'rgb_hold'])
def test_stamps_of_results_never_repeat_or_go_back_whatever_stalls(mode):
    synchronizer = make_synchronizer(**{'sync.mode': mode})
    found, ms = [], 0
    for fault in ({}, {'without': ('ir',)}, {'frozen': ('ir',)}, {}, {'without': ('rgb',)}, {}):
        found += drive(synchronizer, ms + 1000, start_ms=ms, **fault)
        ms += 1000
    stamps = [m.reference.stamp_ns for _, m in found]
    assert stamps == sorted(set(stamps))
    assert len(stamps) > 80


def test_a_clock_that_is_an_hour_off_is_no_stall():
    synchronizer = make_synchronizer()
    for ms in range(0, 3000, PERIOD_MS):
        assert synchronizer.push('rgb', frame('rgb', ms)) == []
        assert synchronizer.push('ir', frame('ir', ms + 3_600_000)) == []
    assert synchronizer.faults == {}


def test_looping_bag_gives_the_same_results_each_time_with_a_stall_in_it():
    def loop(synchronizer):
        found = drive(synchronizer, 1000)
        found += drive(synchronizer, 2000, start_ms=1000, without=('ir',))
        found += drive(synchronizer, 3000, start_ms=2000)
        return [(m.reference.stamp_ns, m.mode) for _, m in found]

    synchronizer = make_synchronizer()
    first = loop(synchronizer)
    assert loop(synchronizer) == first
    assert loop(synchronizer) == first


def test_a_reset_forgets_the_stall_and_the_good_image_but_not_the_grid_of_rgb():
    synchronizer = make_synchronizer(**{'sync.max_age_ms': 60_000.0})
    drive(synchronizer, 1000)
    assert set(modes(drive(synchronizer, 3000, flat=('ir',), start_ms=1000))) == {'held'}
    synchronizer.reset()
    assert synchronizer.faults == {}
    assert modes(drive(synchronizer, 4000, flat=('ir',), start_ms=3000)) == {'rgb_only': 20}
    assert modes(drive(synchronizer, 5000, start_ms=4000)) == {'fused': 20}
    synchronizer.reset()
    alone = drive(synchronizer, 10_000, without=('rgb',), start_ms=5000)
    assert set(modes(alone)) == {'ir_only'}
    assert {match.reference.frame_id for _, match in alone} == {'rgb_optical_frame'}


def test_a_reset_counts_what_waited():
    synchronizer = make_synchronizer()
    synchronizer.push('rgb', frame('rgb', 0))
    synchronizer.reset()
    assert synchronizer.dropped == {'reset': 1}
    assert synchronizer.push('ir', frame('ir', 0)) == []
