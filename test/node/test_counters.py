"""What is said of counters, without ROS: levels, and who is to blame."""

from collections import Counter

import pytest

from tdfusion_ros.node.counters import Counters
from tdfusion_ros.node.counters import ERROR
from tdfusion_ros.node.counters import OK
from tdfusion_ros.node.counters import STALE
from tdfusion_ros.node.counters import WARN
from tdfusion_ros.node.diagnostics import idle
from tdfusion_ros.node.diagnostics import judge

SUBJECTS = ('rgb stream', 'ir stream', 'sync', 'inference')


class Scene:
    """Counters with a clock of their own, and what is said of them."""

    def __init__(self):
        self.now = 0.0
        self.counters = Counters(lambda: self.now)
        self.drops = Counter()

    def go(self, seconds, *names, hz=10.0):
        """Let these tick for some time."""
        for _ in range(round(seconds * hz)):
            self.now += 1 / hz
            for name in names:
                self.counters.tick(name)
            if 'paired' in names:
                self.counters.sample('ir_age_ms', 2.0)
                self.counters.sample('skew_ms', -2.0)
                self.counters.sample('abs_skew_ms', 2.0)

    def statuses(self):
        said = judge(self.counters, self.drops, 2.0, {'backend': 'cpu', 'engine_said': 'hm'})
        return {status.name: status for status in said}

    def levels(self):
        return tuple(status.level for status in self.statuses().values())


@pytest.fixture
def scene():
    return Scene()


def test_each_subject_has_a_status_and_every_value_is_in_one_of_them(scene):
    scene.go(6.0, 'rgb', 'ir', 'paired', 'pairs')
    scene.counters.count('dropped.ir.truncated')
    scene.counters.count('dropped.busy')
    scene.drops['no_partner'] = 3
    found = scene.statuses()
    assert tuple(found) == SUBJECTS
    assert scene.levels() == (OK, OK, OK, OK)
    assert found['ir stream'].values['dropped.ir.truncated'] == '1'
    assert found['sync'].values['dropped.no_partner'] == '3'
    assert found['sync'].values['skew_ms_p50'] == '-2.000'
    assert found['inference'].values['dropped.busy'] == '1'
    assert 'ir_age_ms_p50' in found['sync'].values
    assert found['sync'].values['sync.ir_time_offset_ms.hint'].startswith('+2.0 more')
    assert found['inference'].values['backend'] == 'cpu'
    whole = scene.counters.values(scene.drops)
    parts = [s.values for s in found.values()]
    assert sum(len(p) for p in parts) == len(whole) + 3  # the engine's two, and the hint
    assert all(any(key in p for p in parts) for key in whole)


@pytest.mark.parametrize(('burst', 'level'), [(2, OK), (20, WARN)])
def test_images_that_the_transport_loses_are_named_with_their_remedy(scene, burst, level):
    scene.go(6.0, 'rgb', 'ir', 'paired', 'pairs')
    scene.counters.tick('dropped.ir.transport', burst)
    assert scene.levels()[1] == level
    status = scene.statuses()['ir stream']
    assert status.values['dropped.ir.transport'] == str(burst)
    if level == WARN:
        assert '20 of 71 ir images were lost on the way' in status.message
        assert 'fastdds_profile.xml' in status.message
    scene.go(6.0, 'rgb', 'ir', 'paired', 'pairs')
    assert scene.levels() == (OK, OK, OK, OK)


def test_a_camera_that_stops_is_an_error_and_what_waits_for_it_is_stale(scene):
    scene.go(6.0, 'rgb', 'ir', 'paired', 'pairs')
    scene.go(3.0, 'rgb')
    assert scene.levels() == (OK, ERROR, STALE, STALE)
    assert 'no usable ir image for 3.0 s' in scene.statuses()['ir stream'].message


def test_cameras_that_never_came_are_a_warning(scene):
    assert scene.levels() == (WARN, WARN, STALE, STALE)


def test_images_without_pairs_are_blamed_on_the_pairing(scene):
    scene.go(3.0, 'rgb', 'ir')
    assert scene.levels() == (OK, OK, WARN, STALE)


def test_no_pair_is_missed_before_one_could_be_there(scene):
    scene.go(0.1, 'rgb', 'ir')
    assert scene.levels() == (OK, OK, STALE, STALE)
    scene.go(1.0, 'rgb', 'ir')
    assert scene.levels() == (OK, OK, STALE, STALE)
    scene.go(1.0, 'rgb', 'ir', 'paired')
    assert scene.levels() == (OK, OK, OK, STALE)


@pytest.mark.parametrize(
    ('camera', 'mode'), [('ir', 'rgb_only'), ('ir', 'held'), ('rgb', 'ir_only')]
)
def test_a_stalled_camera_is_told_with_its_stream_and_the_mode_with_the_inference(
    scene, camera, mode
):
    scene.go(6.0, 'rgb', 'ir', 'paired', 'pairs')
    scene.counters.note(f'stalled.{camera}', 'the picture stands still for 3.0 s')
    scene.counters.count(f'stalls.{camera}')
    scene.counters.tell(f'{camera}.picture', 'frozen')
    scene.drops.update([f'{camera}_stalled', 'both_stalled', 'too_late'])
    scene.go(3.0, 'rgb', 'ir', mode)
    found = scene.statuses()
    stream, inference = found[f'{camera} stream'], found['inference']
    assert (stream.level, stream.message) == (WARN, 'the picture stands still for 3.0 s')
    assert found[f'{"rgb" if camera == "ir" else "ir"} stream'].level == OK
    assert found['sync'].level == STALE
    assert inference.level == WARN
    assert inference.message.startswith(f'{mode}: ')
    assert inference.message.endswith('10.00 a second')
    assert inference.values[mode] == '30'
    assert stream.values[f'stalls.{camera}'] == '1'
    assert stream.values[f'{camera}.picture'] == 'frozen'
    for cause in (f'{camera}_stalled', 'both_stalled', 'too_late'):
        assert found['sync'].values[f'dropped.{cause}'] == '1'
    scene.counters.note(f'stalled.{camera}', '')
    scene.go(0.1, 'rgb', 'ir', 'paired', 'pairs')
    assert scene.levels() == (OK, OK, OK, OK)


def test_of_a_camera_that_stopped_the_stream_is_an_error_while_the_other_is_searched(scene):
    scene.go(6.0, 'rgb', 'ir', 'paired', 'pairs')
    scene.counters.note('stalled.ir', 'no ir image')
    scene.go(3.0, 'rgb', 'rgb_only')
    assert scene.levels() == (OK, ERROR, STALE, WARN)


def test_pairs_that_nobody_fuses_are_blamed_on_the_engine_with_its_words(scene):
    scene.go(3.0, 'rgb', 'ir', 'paired')
    assert scene.levels() == (OK, OK, OK, WARN)  # it may be building
    scene.go(1.0, 'rgb', 'ir', 'paired', 'pairs')
    scene.go(3.0, 'rgb', 'ir', 'paired')
    assert scene.levels() == (OK, OK, OK, ERROR)
    assert scene.statuses()['inference'].message.endswith('the engine said: hm')


def test_cameras_that_are_back_are_given_time_to_pair_before_stamps_or_engine_are_blamed(scene):
    scene.go(6.0, 'rgb', 'ir', 'paired', 'pairs')
    scene.go(3.0)
    scene.go(0.1, 'rgb', 'ir')
    assert scene.levels() == (OK, OK, STALE, STALE)
    scene.go(0.1, 'rgb', 'ir', 'paired')
    assert scene.levels() == (OK, OK, OK, STALE)
    scene.go(0.1, 'rgb', 'ir', 'paired', 'pairs')
    assert scene.levels() == (OK, OK, OK, OK)
    scene.go(3.0, 'rgb', 'ir')
    assert scene.levels() == (OK, OK, WARN, STALE)


def test_a_pause_is_no_silence(scene):
    scene.go(6.0, 'rgb', 'ir', 'paired', 'pairs')
    scene.now += 100.0
    scene.counters.begin()
    assert 'no usable rgb image yet' in scene.statuses()['rgb stream'].message
    assert scene.counters.total('rgb') == 60


def test_a_node_that_does_not_receive_says_why_under_the_same_names():
    found = idle(ERROR, 'cannot start: no model', {'backend': 'cpu'})
    assert tuple(status.name for status in found) == SUBJECTS
    assert [status.level for status in found] == [OK, OK, OK, ERROR]
    assert found[-1].message == 'cannot start: no model'
