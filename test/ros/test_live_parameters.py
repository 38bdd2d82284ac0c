"""Parameters that are set while the node runs, through its parameter services."""

import numpy as np
import pytest
from rcl_interfaces.msg import ParameterType
from rig import pictures
from rig.lifecycle import Manager
from rig.stage import ROOT

from tdfusion_ros.core.config import settings
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.messages import results_by_name

LIVE = {name for name, _, facts in settings() if facts['live']}


@pytest.fixture(scope='module')
def client(shared_stage):
    """Return a client of a node that fuses the first pair of the demo."""
    topics = 'detections', 'detections/temperature'
    return shared_stage.run(listen=topics, make_pair=real_pair)


@pytest.fixture(scope='module')
def manager(client):
    return Manager(client)


@pytest.fixture(autouse=True)
def start_with_the_same_parameters(manager):
    """Set every live parameter; results depend on their pair alone, with some detections."""
    defaults = {name: default for name, default, facts in settings() if facts['live']}
    own = {'class_filter': [''], 'score_threshold': 0.45, 'tracker': 'none'}
    assert manager.set_all(defaults | own) == ''


def real_pair(stamp_ns):
    """Return a real pair with people and cars; infrared as 16 bits."""
    rgb, ir = REAL
    return (
        pictures.image(rgb, 'rgb8', pictures.header(stamp_ns, 'rgb')),
        pictures.image(ir.astype(np.uint16) * 64, 'mono16', pictures.header(stamp_ns, 'ir')),
    )


def load_real():
    from tdfusion_ros.core.config import FusionConfig
    from tdfusion_ros.formats.sources import BagSource

    with BagReader(ROOT / 'demo' / 'm3svd_smoke') as reader:
        pair = next(iter(BagSource(reader, reader.find(), FusionConfig())))
    return pair.rgb.pixels, pair.ir.pixels


REAL = load_real()


def next_result(client):
    return client.fuse(*real_pair(client.next_stamp_ns()))


def scores(result):
    return [d.results[0].hypothesis.score for d in result['detections'].detections]


def test_thresholds_and_filter_take_effect_at_the_next_pair(client, manager):
    found = scores(next_result(client))
    assert len(found) >= 3
    between = (found[1] + found[2]) / 2
    assert manager.set('score_threshold', between) == ''
    assert scores(next_result(client)) == pytest.approx(found[:2])
    assert manager.set('score_threshold', 0.45) == ''
    assert manager.set('max_detections', 1) == ''
    assert scores(next_result(client)) == pytest.approx(found[:1])
    assert manager.set('max_detections', 100) == ''
    assert manager.set('score_threshold', 0.2) == ''
    assert manager.set('class_filter', ['car']) == ''
    found = next_result(client)['detections'].detections
    assert {one.results[0].hypothesis.class_id for one in found} == {'car'}


def test_temperatures_are_measured_and_in_kelvin_once_the_scale_is_set(client, manager):
    def measured():
        found = next_result(client)
        boxes, array = (found[t].detections for t in ('detections', 'detections/temperature'))
        assert [one.bbox for one in array] == [one.bbox for one in boxes]
        return [results_by_name(one) for one in array]

    for values in measured():
        assert [*values][1:] == ['count_min', 'count_median', 'count_max']
    assert manager.set_all({'ir.kelvin_per_count': 0.13, 'ir.kelvin_offset': 10.0}) == ''
    found = measured()
    assert len(found) >= 3
    for values in found:
        assert values['kelvin_max'] == pytest.approx(0.13 * values['count_max'] + 10)


def test_reason_why_there_are_no_temperatures_is_in_diagnostics_and_logged_once(client, manager):
    assert manager.set('ir.kelvin_per_count', 0.04) == ''
    for shift in range(3):  # new images: neither camera stalls
        rgb, ir = (np.roll(pixels, shift, axis=0) for pixels in REAL)
        stamp_ns = client.next_stamp_ns()
        rgb = pictures.image(rgb, 'rgb8', pictures.header(stamp_ns, 'rgb'))
        ir = pictures.image(ir, 'mono8', pictures.header(stamp_ns, 'ir'))
        client.fuse(rgb, ir, 'detections')
    assert 'AGC' in client.status().values['ir.kelvin_per_count']
    assert len([line for line in client.process.lines('WARN') if 'AGC' in line]) == 1


def test_a_float_stays_a_float_whatever_is_set(client, manager):
    if hasattr(client.node, 'add_pre_set_parameters_callback'):  # not in Humble
        assert manager.set('ir.range_max', 1000) == ''
        assert type(manager.get('ir.range_max')) is float
        assert manager.type_of('ir.range_max') == ParameterType.PARAMETER_DOUBLE
    assert 'must be of type float' in manager.set('ir.range_max', 'many')
    assert manager.type_of('ir.range_max') == ParameterType.PARAMETER_DOUBLE


def test_label_info_reports_the_new_threshold(client, manager, shared_stage):
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
        ({'score_threshold': 0.9, 'class_filter': ['horse']}, 'class_filter has horse'),
        ({'score_threshold': 0.9, 'max_detections': 'many'}, 'max_detections must be of type int'),
        ({'score_threshold': 0.9, 'model': 'other'}, 'model cannot change while the node is conf'),
    ],
)
def test_a_set_with_one_bad_value_is_refused_as_a_whole(client, manager, values, reason):
    before = scores(next_result(client))
    assert reason in manager.set_all(values)
    assert scores(next_result(client)) == pytest.approx(before)
    assert manager.get('score_threshold') == 0.45


def test_values_that_only_fit_together_are_set_together(client, manager):
    both = {'ir.percentile_low': 99.5, 'ir.percentile_high': 99.9}
    assert 'must be below' in manager.set('ir.percentile_low', 99.5)
    assert manager.set_all(both) == ''
    next_result(client)


@pytest.mark.parametrize('name', sorted({n for n, _, _ in settings()} - LIVE))
def test_other_parameters_are_refused_with_the_way_to_change_them(client, manager, name):
    now = manager.get(name)
    other = (not now) if isinstance(now, bool) else now + (1 if type(now) in (int, float) else 'x')
    if type(now) is str:
        other = {'SENSOR_DATA': 'AUTO'}.get(now, 'SENSOR_DATA')
    reason = manager.set(name, other)
    assert reason.startswith(f'{name} cannot change while the node is configured')
    assert 'clean up' in reason
    assert manager.set(name, now) == ''  # loading a parameter file again is allowed


def test_a_parameter_cannot_be_deleted(client, manager):
    assert 'cannot be deleted' in manager.set('score_threshold', None)
    next_result(client)


def test_the_rate_is_limited_and_omitted_pairs_are_counted(client, manager):
    before = client.status().values
    client.forget()
    assert manager.set('max_rate_hz', 0.001) == ''
    for stamp_ns in (client.next_stamp_ns() for _ in range(5)):
        client.send_pair(*real_pair(stamp_ns))
        client.wait_for_count('paired', int(before['paired']) + 1)
    client.wait_for_count('dropped.rate', int(before.get('dropped.rate', 0)) + 4)
    client.wait_until(lambda: client.received['detections'], 'the result of the first one')
    assert len(client.received['detections']) == 1


def test_an_unconfigured_node_accepts_every_parameter(client, manager):
    assert manager.change('deactivate')
    assert 'cannot change' in manager.set('sync.max_skew_ms', 30.0)
    assert manager.change('cleanup')
    assert manager.set('sync.max_skew_ms', 30.0) == ''
    assert manager.change('configure')
    assert manager.change('activate')
    client.warm_up(real_pair)
