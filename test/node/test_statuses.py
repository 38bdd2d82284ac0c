"""Evaluate counters without ROS: levels, messages, and which status names the cause."""

import re

import pytest
import yaml

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.node.counters import Counters
from tdfusion_ros.node.diagnostics import clock_offset
from tdfusion_ros.node.diagnostics import ERROR
from tdfusion_ros.node.diagnostics import evaluate
from tdfusion_ros.node.diagnostics import not_receiving
from tdfusion_ros.node.diagnostics import OK
from tdfusion_ros.node.diagnostics import STALE
from tdfusion_ros.node.diagnostics import steady_skew
from tdfusion_ros.node.diagnostics import WARN

SUBJECTS = ('rgb stream', 'ir stream', 'sync', 'inference')
ALL = ('rgb', 'ir', 'paired', 'pairs')


class Scene:
    """Counters with a simulated clock."""

    def __init__(self):
        self.now = 0.0
        self.counters = Counters(lambda: self.now)
        self.config = FusionConfig()
        self.engine_said = 'hm'

    def run(self, seconds, *names, hz=10.0):
        """Let these names tick for some time."""
        for _ in range(round(seconds * hz)):
            self.now += 1 / hz
            for name in names:
                self.counters.tick(name)
            if 'paired' in names:
                self.counters.sample('ir_age_ms', 2.0)
                self.counters.sample('skew_ms', -2.0)
                self.counters.sample('abs_skew_ms', 2.0)

    def statuses(self):
        backend = {'backend': 'cpu', 'engine_said': self.engine_said}
        return {s.name: s for s in evaluate(self.counters, self.config, backend)}

    def levels(self):
        return tuple(status.level for status in self.statuses().values())


@pytest.fixture
def scene():
    return Scene()


@pytest.fixture
def working(scene):
    """Return a scene in which everything has worked for some time."""
    scene.run(6.0, *ALL)
    return scene


def test_every_value_belongs_to_exactly_one_status(working):
    working.counters.count('dropped.ir.truncated')
    working.counters.count('dropped.busy')
    working.counters.tick('dropped.no_partner', 3)
    found = working.statuses()
    assert tuple(found) == SUBJECTS
    assert working.levels() == (OK, OK, OK, OK)
    assert found['ir stream'].values['dropped.ir.truncated'] == '1'
    assert found['sync'].values['dropped.no_partner'] == '3'
    assert found['sync'].values['skew_ms_p50'] == '-2.000'
    assert found['inference'].values['dropped.busy'] == '1'
    assert 'ir_age_ms_p50' in found['sync'].values
    assert found['inference'].values['backend'] == 'cpu'
    whole = working.counters.values()
    parts = [s.values for s in found.values()]
    assert sum(len(p) for p in parts) == len(whole) + 3  # two of the backend, and the hint
    assert all(any(key in p for p in parts) for key in whole)


@pytest.mark.parametrize(('burst', 'level'), [(2, OK), (20, WARN)])
def test_images_lost_by_dds_are_reported_with_the_remedy(working, burst, level):
    working.counters.tick('dropped.ir.transport', burst)
    assert working.levels()[1] == level
    status = working.statuses()['ir stream']
    assert status.values['dropped.ir.transport'] == str(burst)
    if level == WARN:
        assert 'DDS lost 20 of 71 ir images' in status.message
        assert 'fastdds_profile.xml' in status.message
    working.run(6.0, *ALL)
    assert working.levels() == (OK, OK, OK, OK)


@pytest.mark.parametrize(
    ('ticks', 'message'),
    [
        ({'lost.queue_full': 2}, ''),
        ({'lost.rgb_stalled': 20, 'lost.no_partner': 20, 'lost.too_late': 20}, ''),
        (
            {'lost.queue_full': 10, 'lost.too_old': 9},
            r'19 of 51 .*\(queue_full 10, too_old 9\)',
        ),
        ({'lost.queue_full': 10}, 'only arrive late, set sync.max_age_ms to 1346 .* to 30'),
        ({'lost.ir.truncated': 4, 'lost.time_jump': 1}, 'do about dropped.ir.truncated'),
        ({'dropped.time_jump': 3}, ''),  # a looping bag
        ({'dropped.time_jump': 30}, '30 of 102 images .*a second publisher, or a clock'),
    ],
)
def test_many_pairs_lost_before_inference_are_a_warning_with_the_remedy(working, ticks, message):
    working.counters.tick('possible', 51)
    for i in range(20):
        working.counters.sample('rgb_stamp_age_ms', 5.0)
        working.counters.sample('ir_stamp_age_ms', 50.0 * i)
    for name, number in ticks.items():
        working.counters.tick(name, number)
    status = working.statuses()['sync']
    assert status.level == (WARN if message else OK)
    assert re.search(message, status.message)
    working.run(6.0, *ALL)
    assert working.levels() == (OK, OK, OK, OK)


@pytest.mark.parametrize(
    ('phases', 'levels'),
    [
        ([], (WARN, WARN, STALE, STALE)),
        ([(6.0, ALL), (3.0, ('rgb',))], (OK, ERROR, STALE, STALE)),
        ([(3.0, ('rgb', 'ir'))], (OK, OK, WARN, STALE)),
        ([(0.1, ('rgb', 'ir'))], (OK, OK, STALE, STALE)),  # too early for a pair
        ([(1.1, ('rgb', 'ir'))], (OK, OK, STALE, STALE)),
        ([(1.1, ('rgb', 'ir')), (1.0, ALL[:3])], (OK, OK, OK, STALE)),
        ([(3.0, ALL[:3])], (OK, OK, OK, WARN)),  # the engine may still be being built
        ([(4.0, ALL), (3.0, ALL[:3])], (OK, OK, OK, ERROR)),
        # After a pause of both cameras pairs and results get time again.
        ([(6.0, ALL), (3.0, ()), (0.1, ('rgb', 'ir'))], (OK, OK, STALE, STALE)),
        ([(6.0, ALL), (3.0, ()), (0.1, ALL[:3])], (OK, OK, OK, STALE)),
        ([(6.0, ALL), (3.0, ()), (0.1, ALL)], (OK, OK, OK, OK)),
        ([(6.0, ALL), (3.0, ()), (3.0, ('rgb', 'ir'))], (OK, OK, WARN, STALE)),
    ],
)
def test_the_first_step_that_does_not_work_is_reported(scene, phases, levels):
    for seconds, names in phases:
        scene.run(seconds, *names)
    assert scene.levels() == levels


def test_messages_name_the_silent_camera_and_quote_the_backend(working):
    working.run(3.0, 'ir', 'paired')
    found = working.statuses()
    assert 'no usable rgb image for 3.0 s' in found['rgb stream'].message
    assert found['inference'].message.endswith('backend: hm')
    working.engine_said = ''
    assert working.statuses()['inference'].message == 'no pair was fused for 3.0 s'


@pytest.mark.parametrize(
    ('camera', 'mode'), [('ir', 'rgb_only'), ('ir', 'held'), ('rgb', 'ir_only')]
)
def test_a_stall_is_a_warning_of_its_stream_its_mode_one_of_inference(working, camera, mode):
    working.counters.set_problem(f'stalled.{camera}', 'the ir image has not changed for 3.0 s')
    working.counters.count(f'stalls.{camera}')
    working.counters.set_text(f'{camera}.picture', 'frozen')
    for cause in (f'{camera}_stalled', 'both_stalled', 'too_late'):
        working.counters.tick(f'dropped.{cause}')
    working.run(3.0, 'rgb', 'ir', mode)
    found = working.statuses()
    stream, inference = found[f'{camera} stream'], found['inference']
    assert (stream.level, stream.message) == (WARN, 'the ir image has not changed for 3.0 s')
    assert found[f'{"rgb" if camera == "ir" else "ir"} stream'].level == OK
    assert found['sync'].level == STALE
    assert inference.level == WARN
    assert inference.message.startswith(f'{mode}: ')
    assert inference.message.endswith('10.00 per second')
    assert inference.values[mode] == '30'
    assert stream.values[f'stalls.{camera}'] == '1'
    assert stream.values[f'{camera}.picture'] == 'frozen'
    for cause in (f'{camera}_stalled', 'both_stalled', 'too_late'):
        assert found['sync'].values[f'dropped.{cause}'] == '1'
    working.counters.set_problem(f'stalled.{camera}', '')
    working.run(0.1, *ALL)
    assert working.levels() == (OK, OK, OK, OK)


def test_a_missing_camera_is_an_error_while_the_other_one_is_used(working):
    working.counters.set_problem('stalled.ir', 'no ir image')
    working.run(3.0, 'rgb', 'rgb_only')
    assert working.levels() == (OK, ERROR, STALE, WARN)


def test_a_gap_that_began_before_a_pause_is_ignored(working):
    working.now += 100.0
    working.counters.restart_rates()
    assert 'no usable rgb image yet' in working.statuses()['rgb stream'].message
    assert working.counters.total('rgb') == 60


def test_the_rate_of_a_stopped_stream_falls(working):
    assert working.counters.rate_hz('ir') == pytest.approx(10.0)
    working.run(2.0, 'rgb')
    assert 5.0 < working.counters.rate_hz('ir') < 7.0
    working.run(4.0, 'rgb')
    assert working.counters.rate_hz('ir') == 0.0


def test_a_node_that_does_not_receive_reports_why_under_the_same_names():
    found = not_receiving(ERROR, 'cannot start: no model', {'backend': 'cpu'})
    assert tuple(status.name for status in found) == SUBJECTS
    assert [status.level for status in found] == [OK, OK, OK, ERROR]
    assert found[-1].message == 'cannot start: no model'


def sampled(rgb_age_ms=5.0, ir_age_ms=5.0, skews_ms=(), ir_every=1):
    """Return a scene with 60 rgb frames at 20 Hz."""
    scene = Scene()
    for i in range(60):
        scene.run(0.05, *(('rgb', 'ir') if i % ir_every == 0 else ('rgb',)), hz=20.0)
        scene.counters.sample('rgb_stamp_age_ms', rgb_age_ms)
        scene.counters.sample('ir_stamp_age_ms', ir_age_ms)
    for skew in skews_ms:
        scene.counters.sample('skew_ms', skew)
    return scene


@pytest.mark.parametrize(
    ('ages', 'message'),
    [
        ({}, ''),
        ({'rgb_age_ms': 3e10, 'ir_age_ms': 3e10}, ''),  # a bag of last year
        ({'ir_age_ms': 3_600_005.0}, '3600.000 s behind the rgb stamps: set the clocks'),
        ({'rgb_age_ms': 3_600_005.0}, '3600.000 s ahead of the rgb stamps: set the clocks'),
        ({'ir_age_ms': 125.0}, 'or sync.ir_time_offset_ms to about +120'),
        ({'rgb_age_ms': 125.0}, 'or sync.ir_time_offset_ms to about -120'),
        ({'ir_age_ms': 805.0}, 'ir images only arrive late, set sync.max_age_ms to 1200'),
    ],
)
def test_an_offset_of_the_clocks_is_reported_with_the_remedy_if_no_frames_match(ages, message):
    scene = sampled(**ages)
    found = clock_offset(scene.counters, SyncConfig())
    assert message in found
    assert ('only arrive late' in found) == (ages.get('ir_age_ms') == 805.0)
    assert bool(found) == bool(message)
    sync = scene.statuses()['sync']
    assert sync.level == WARN
    assert 'no frames match within sync.max_skew_ms' in sync.message
    assert found in sync.message
    for _ in range(20):  # the clocks are set: forgotten within a second
        for stream in ('rgb', 'ir'):
            scene.counters.sample(f'{stream}_stamp_age_ms', 5.0)
    assert clock_offset(scene.counters, SyncConfig()) == ''


@pytest.mark.parametrize(
    ('frames', 'hint'),
    [
        ({'skews_ms': [12.0, 12.5, 11.5] * 20}, 'add -12.0 if both cameras are triggered'),
        ({'skews_ms': [12.0] * 10}, ''),  # too few
        ({'skews_ms': [2.0, 12.0, -9.0] * 20}, ''),  # free-running cameras
        ({'skews_ms': [0.2] * 60}, ''),  # nothing to gain
        ({'skews_ms': [12.0] * 60, 'ir_every': 3}, ''),  # another rate
    ],
)
def test_a_time_offset_is_only_suggested_for_a_steady_skew_at_equal_rates(frames, hint):
    found = steady_skew(sampled(**frames).counters).get('sync.ir_time_offset_ms.hint', '')
    assert found.startswith(hint)
    assert bool(found) == bool(hint)


def test_pairs_without_a_subscriber_are_no_fault(working):
    working.run(3.0, 'rgb', 'ir', 'paired', 'unsubscribed')
    assert working.levels() == (OK,) * 4
    assert 'without a subscriber' in working.statuses()['inference'].message


def test_the_analyzer_takes_the_statuses_of_the_node(root):
    text = (root / 'config' / 'diagnostic_aggregator.yaml').read_text(encoding='utf-8')
    analyzer = yaml.safe_load(text)['/**']['ros__parameters']['tdfusion']
    status = f'/tdfusion: {SUBJECTS[0]}'  # as node/diagnostics_publisher.py names it
    assert [status.startswith(prefix) for prefix in analyzer['startswith']] == [True]
    assert analyzer['timeout'] > FusionConfig().diagnostics_period_s
    (prefix,) = analyzer['remove_prefix']
    assert status.removeprefix(prefix) == SUBJECTS[0]
