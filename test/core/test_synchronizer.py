"""What results are made of while both cameras work, and while one of them stalls. Times in ms."""

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
IMAGES = {'ir': SOFT, 'rgb': [np.dstack([soft] * 3) for soft in SOFT]}


class Rig:
    """Two cameras of 20 Hz and a synchronizer."""

    def __init__(self, **settings):
        self.synchronizer = Synchronizer(from_mapping(settings))
        self.ms = 0

    def run(self, until_ms, *, without='', frozen='', flat=''):
        """Send until a time, one camera perhaps with a fault; return (time, pair) of each."""
        start, pairs = self.ms // PERIOD_MS, []
        for i in range(start, until_ms // PERIOD_MS):
            for stream in ('rgb', 'ir'):
                if stream == without:
                    continue
                pixels = IMAGES[stream][(start - 1 if stream == frozen else i) % 7]
                pixels = np.zeros((120, 160), np.uint8) if stream == flat else pixels
                frame = Frame(pixels, i * PERIOD_MS * NS, f'{stream}_optical_frame')
                pairs += [(i * PERIOD_MS, p) for p in self.synchronizer.push(stream, frame)]
        self.ms = until_ms
        return pairs


@pytest.fixture
def rig():
    """Return a function that makes a rig which has worked for a second."""

    def make(**settings):
        made = Rig(**settings)
        made.before = made.run(1000)
        return made

    return make


def modes(pairs):
    return Counter(pair.mode for _, pair in pairs)


def stamps(pairs):
    return [pair.reference.stamp_ns for _, pair in pairs]


def test_policy_of_another_package_is_refused():
    with pytest.raises(ConfigError, match="'approximate' works in the live node only"):
        Rig(**{'sync.policy': 'approximate'})


def test_while_both_cameras_work_every_pair_is_fused_without_a_warning():
    rig = Rig()
    pairs = rig.run(2000)
    assert modes(pairs) == {'fused': 40}
    assert {pair.warning for _, pair in pairs} == {''}
    assert all(pair.reference is pair.rgb for _, pair in pairs)
    assert rig.synchronizer.faults == {}


@pytest.mark.parametrize('late', ['rgb', 'ir'])
def test_a_camera_whose_driver_sends_five_images_at_once_is_not_missing(late):
    synchronizer, kept, pairs = Synchronizer(from_mapping({})), [], []
    for i in range(100):
        for stream in ('rgb', 'ir'):
            frame = Frame(IMAGES[stream][i % 7], i * 90 * NS)
            kept += [frame] if stream == late else []
            sent = [frame] if stream != late else kept if i % 5 == 4 else []
            pairs += [(0, pair) for one in sent for pair in synchronizer.push(stream, one)]
        kept = kept if i % 5 < 4 else []
    assert modes(pairs) == {'fused': 100}
    assert synchronizer.dropped.total() == 0


FAULTS = {'without': 'NO IR', 'frozen': 'IR STALLED', 'flat': 'IR FLAT'}


@pytest.mark.parametrize('fault', FAULTS)
def test_while_ir_stalls_rgb_continues_alone_with_a_warning_until_ir_is_back(rig, fault):
    rig = rig(**{'ir.on_stall': 'rgb_only'})
    alone = [pair for _, pair in rig.run(2000, **{fault: 'ir'}) if pair.mode == 'rgb_only']
    assert len(alone) >= 14  # of 20: the first 200 ms show no fault, or are still pairs
    assert all(pair.ir is None and pair.warning.startswith(FAULTS[fault]) for pair in alone)
    assert all(pair.reference is pair.rgb for pair in alone)
    assert float(alone[-1].warning.split()[-2]) == pytest.approx(1.0, abs=0.11)
    assert 'rgb_only' in rig.synchronizer.faults['ir']
    after = rig.run(3000)
    assert modes(after)['fused'] >= 19
    assert after[-1][1].warning == ''
    assert rig.synchronizer.faults == {}


def test_no_pair_with_a_frozen_ir_image_is_fused_after_the_stall_time(rig):
    during = rig().run(2000, frozen='ir')
    late = [(pair.mode, bool(pair.warning)) for ms, pair in during if ms > 1200 + PERIOD_MS]
    assert set(late) == {('held', True), ('rgb_only', True)}


def test_rgb_frames_that_left_alone_do_not_leave_again_when_ir_comes_late(rig):
    rig = rig()
    alone = rig.run(1600, without='ir')
    rig.ms = 1000
    pairs = [*alone, *rig.run(1600, without='rgb'), *rig.run(2000)]
    assert stamps(pairs) == sorted(set(stamps(pairs)))
    assert rig.synchronizer.dropped['too_late'] > 0


def test_hold_uses_the_last_good_ir_image_up_to_its_age_and_then_rgb_alone(rig):
    rig = rig(**{'sync.max_age_ms': 600.0})
    during = rig.run(2000, flat='ir')
    held = [pair for _, pair in during if pair.mode == 'held']
    assert all(pair.ir is rig.before[-1][1].ir and pair.warning for pair in held)
    assert [-pair.skew_ns / NS for pair in held] == list(range(50, 601, 50))
    assert modes(during)['rgb_only'] == 20 - len(held)


def test_held_image_is_as_old_as_the_first_of_the_repeated_ones(rig):
    held = [(ms, pair) for ms, pair in rig().run(2000, frozen='ir') if pair.mode == 'held']
    assert held
    for ms, pair in held:
        assert pair.skew_ns == (950 - ms) * NS  # the image of 950 ms was repeated
        assert ms <= 1450


@pytest.mark.parametrize('fault', ['without', 'frozen'])
def test_while_rgb_stalls_ir_continues_alone_on_the_rgb_grid(rig, fault):
    rig = rig()
    alone = [p for _, p in rig.run(2000, **{fault: 'rgb'}) if p.mode == 'ir_only']
    assert len(alone) >= 14
    for pair in alone:
        assert pair.rgb is None
        assert pair.warning.startswith(('NO RGB', 'RGB STALLED'))
        assert pair.reference.stamp_ns == pair.ir.stamp_ns
        assert pair.reference.frame_id == 'rgb_optical_frame'
        assert pair.reference.size_hw == (120, 160)
    assert modes(rig.run(3000))['fused'] >= 19


def test_before_any_rgb_image_ir_keeps_its_own_header():
    pairs = Rig().run(4000, without='rgb')
    assert modes(pairs).keys() == {'ir_only'}
    assert all(pair.reference is pair.ir for _, pair in pairs)


@pytest.mark.parametrize(
    ('settings', 'fault', 'cause', 'faulty'),
    [
        ({'ir.on_stall': 'drop'}, {'flat': 'ir'}, 'ir_stalled', {'ir'}),
        ({'rgb.on_stall': 'drop'}, {'without': 'rgb'}, 'rgb_stalled', {'rgb'}),
        ({}, {'flat': 'ir', 'without': 'rgb'}, 'both_stalled', {'rgb', 'ir'}),
    ],
)
def test_nothing_is_published_if_asked_or_if_both_stall(rig, settings, fault, cause, faulty):
    rig = rig(**settings)
    assert rig.run(3000, **fault) == []
    assert rig.synchronizer.dropped[cause] > 10
    assert set(rig.synchronizer.faults) == faulty


@pytest.mark.parametrize('mode', ['paired', 'rgb_hold'])
def test_stamps_of_results_never_repeat_or_go_back_during_stalls(mode):
    rig, pairs = Rig(**{'sync.mode': mode}), []
    faults = ({}, {'without': 'ir'}, {'frozen': 'ir'}, {}, {'without': 'rgb'}, {})
    for second, fault in enumerate(faults, start=1):
        pairs += rig.run(1000 * second, **fault)
    assert stamps(pairs) == sorted(set(stamps(pairs)))
    assert len(pairs) > 80


def test_clock_that_is_an_hour_off_is_no_stall():
    synchronizer = Rig().synchronizer
    for i in range(60):
        for stream, offset_ms in (('rgb', 0), ('ir', 3_600_000)):
            frame = Frame(IMAGES[stream][i % 7], (i * PERIOD_MS + offset_ms) * NS)
            assert synchronizer.push(stream, frame) == []
    assert synchronizer.faults == {}


def test_looping_bag_with_a_stall_gives_the_same_results_each_time():
    rig, loops = Rig(), []
    for _ in range(3):
        rig.ms = 0
        pairs = [*rig.run(1000), *rig.run(2000, without='ir'), *rig.run(3000)]
        loops.append([(pair.reference.stamp_ns, pair.mode) for _, pair in pairs])
    assert loops[0] == loops[1] == loops[2]


def test_reset_forgets_the_stall_but_not_the_grid_and_counts_waiting_frames(rig):
    rig = rig(**{'sync.max_age_ms': 60_000.0})
    assert set(modes(rig.run(3000, flat='ir'))) == {'held'}
    rig.synchronizer.reset()
    assert rig.synchronizer.faults == {}
    assert modes(rig.run(4000, flat='ir')) == {'rgb_only': 20}
    assert modes(rig.run(5000)) == {'fused': 20}
    rig.synchronizer.reset()
    alone = rig.run(10_000, without='rgb')
    assert set(modes(alone)) == {'ir_only'}
    assert {pair.reference.frame_id for _, pair in alone} == {'rgb_optical_frame'}
    rig = Rig()
    rig.run(PERIOD_MS, without='ir')
    rig.synchronizer.reset()
    assert rig.synchronizer.dropped == {'reset': 1}
    rig.ms = 0
    assert rig.run(PERIOD_MS, without='rgb') == []
