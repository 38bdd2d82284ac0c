"""Parameters that are set while the node runs, through its parameter services."""

from time import monotonic

import numpy as np
import pytest
from rcl_interfaces.msg import ParameterType
from rig import pictures
from rig.lifecycle import Manager
from rig.stage import ROOT

from tdfusion_ros.core.config import settings
from tdfusion_ros.formats.bags import BagReader

pytestmark = pytest.mark.ros

LIVE = {name for name, _, facts in settings() if facts['live']}


@pytest.fixture(scope='module')
def client(shared_stage):
    """Return a client of a node that sees the first pair of the demo."""
    shared_stage.start_node()
    client = shared_stage.client()
    client.offer('rgb', 'ir')
    client.listen('detections', 'ir_registered/image_raw')
    client.warm_up(real_pair)
    return client


@pytest.fixture(scope='module')
def manager(client):
    """Return who sets the parameters."""
    return Manager(client)


@pytest.fixture(autouse=True)
def defaults_again(manager):
    """Set every live parameter back after each test."""
    yield
    defaults = {name: default for name, default, facts in settings() if facts['live']}
    assert manager.set_all(defaults | {'class_filter': ['']}) == ''


def real_pair(stamp_ns):
    """Return a real pair with people and cars; infrared as 16 bits."""
    rgb, ir = REAL
    return (
        pictures.image(rgb, 'rgb8', pictures.header(stamp_ns, 'rgb')),
        pictures.image(ir.astype(np.uint16) * 64, 'mono16', pictures.header(stamp_ns, 'ir')),
    )


def load_real():
    """Return one frame of each camera of the demo bag."""
    from tdfusion_ros.core.config import FusionConfig
    from tdfusion_ros.formats.sources import BagSource

    with BagReader(ROOT / 'demo' / 'msrs_drive') as reader:
        pair = next(iter(BagSource(reader, reader.find(), FusionConfig())))
    return pair.rgb.pixels, pair.ir.pixels


REAL = load_real()


def next_result(client):
    return client.fuse(*real_pair(client.next_stamp_ns()))


def names(result):
    return [d.results[0].hypothesis.class_id for d in result['detections'].detections]


def scores(result):
    return [d.results[0].hypothesis.score for d in result['detections'].detections]


def test_thresholds_and_filter_take_effect_at_the_next_pair(client, manager):
    found = scores(next_result(client))
    assert len(found) >= 3
    between = (found[1] + found[2]) / 2
    assert manager.set('score_threshold', between) == ''
    assert scores(next_result(client)) == pytest.approx(found[:2])
    assert manager.set('score_threshold', 0.3) == ''
    assert manager.set('max_detections', 1) == ''
    assert scores(next_result(client)) == pytest.approx(found[:1])
    assert manager.set('max_detections', 100) == ''
    assert manager.set('class_filter', ['car']) == ''
    assert set(names(next_result(client))) == {'car'}


def test_thermal_scaling_takes_effect_at_the_next_pair(client, manager):
    before = pictures.pixels(next_result(client)['ir_registered/image_raw'])
    assert manager.set('ir.invert', True) == ''
    after = pictures.pixels(next_result(client)['ir_registered/image_raw'])
    np.testing.assert_allclose(255 - before.astype(int), after, atol=1)
    fixed = {'ir.normalization': 'fixed', 'ir.range_min': 0.0, 'ir.range_max': 64.0 * 255}
    assert manager.set_all(fixed | {'ir.invert': False}) == ''
    seen = pictures.pixels(next_result(client)['ir_registered/image_raw'])
    np.testing.assert_allclose(seen, REAL[1], atol=1)


def test_a_fraction_stays_one_whatever_is_set_so_that_tools_offer_the_right_type(client, manager):
    if hasattr(client.node, 'add_pre_set_parameters_callback'):  # not in Humble
        assert manager.set('ir.range_max', 1000) == ''
        assert type(manager.get('ir.range_max')) is float
        assert manager.type_of('ir.range_max') == ParameterType.PARAMETER_DOUBLE
    assert 'must be of type float' in manager.set('ir.range_max', 'many')
    assert manager.type_of('ir.range_max') == ParameterType.PARAMETER_DOUBLE


def test_the_latched_labels_tell_the_new_threshold(client, manager, shared_stage):
    other = shared_stage.client()
    other.listen('label_info')
    other.wait_until(lambda: other.received['label_info'], 'labels')
    assert manager.set('score_threshold', 0.7) == ''
    next_result(client)
    other.wait_until(
        lambda: other.received['label_info'][-1].threshold == pytest.approx(0.7), 'new labels'
    )


@pytest.mark.parametrize(
    ('values', 'reason'),
    [
        ({'score_threshold': 0.9, 'nms_threshold': 7.0}, 'nms_threshold'),
        ({'score_threshold': 0.9, 'ir.percentile_low': 99.5}, 'ir.percentile_low must be below'),
        ({'score_threshold': 0.9, 'class_filter': ['horse']}, 'class_filter names horse'),
        ({'score_threshold': 0.9, 'max_detections': 'many'}, 'max_detections must be of type int'),
        ({'score_threshold': 0.9, 'model': 'other'}, 'model cannot change while the node is conf'),
    ],
)
def test_of_a_set_with_one_bad_value_nothing_is_taken(client, manager, values, reason):
    before = scores(next_result(client))
    assert reason in manager.set_all(values)
    assert scores(next_result(client)) == pytest.approx(before)
    assert manager.get('score_threshold') == 0.3


def test_values_that_only_fit_together_are_taken_together(client, manager):
    both = {'ir.percentile_low': 99.5, 'ir.percentile_high': 99.9}
    assert 'must be below' in manager.set('ir.percentile_low', 99.5)
    assert manager.set_all(both) == ''
    next_result(client)


@pytest.mark.parametrize('name', sorted({n for n, _, _ in settings()} - LIVE))
def test_whatever_is_not_live_says_how_it_can_be_changed(client, manager, name):
    now = manager.get(name)
    other = (not now) if isinstance(now, bool) else now + (1 if type(now) in (int, float) else 'x')
    if type(now) is str:
        other = {'SENSOR_DATA': 'AUTO'}.get(now, 'SENSOR_DATA')
    reason = manager.set(name, other)
    assert reason.startswith(f'{name} cannot change while the node is configured')
    assert 'clean up' in reason
    assert manager.set(name, now) == ''  # a parameter file that is loaded again does no harm


def test_a_parameter_cannot_be_deleted(client, manager):
    assert 'cannot be deleted' in manager.set('score_threshold', None)
    next_result(client)


def test_the_rate_is_held_and_what_is_left_out_is_counted(client, manager):
    next_result(client)
    assert manager.set('max_rate_hz', 4.0) == ''
    before = client.status().values
    client.forget()
    begun, sent = monotonic(), 0
    while monotonic() < begun + 3.0:
        for stream, message in zip(('rgb', 'ir'), real_pair(client.next_stamp_ns()), strict=True):
            client.send(stream, message)
        sent += 1
        client.watch(begun + sent * 0.05)
    client.watch(monotonic() + 0.5)
    after = client.status().values
    limited, busy, fused = (
        int(after.get(name, 0)) - int(before.get(name, 0))
        for name in ('dropped.rate', 'dropped.busy', 'pairs')
    )
    assert 8 <= fused <= 14
    assert limited + busy + fused == sent
    assert len(client.received['detections']) == fused


def test_while_unconfigured_everything_may_be_set(client, manager):
    assert manager.change('deactivate')
    assert 'cannot change' in manager.set('sync.max_skew_ms', 30.0)
    assert manager.change('cleanup')
    assert manager.set('sync.max_skew_ms', 30.0) == ''
    assert manager.change('configure')
    assert manager.change('activate')
    client.warm_up(real_pair)
