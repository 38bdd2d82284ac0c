"""What the node says of parameters, models and calibrations that it cannot use."""

import importlib.util
import json
import shutil

import pytest
from rig import pictures
from rig.lifecycle import Manager
from rig.stage import ROOT

pytestmark = pytest.mark.ros

BAD = {
    'misspelt': ({'sync.max_skew': 5.0}, "did you mean 'sync.max_skew_ms'"),
    'out of range': ({'score_threshold': 1.5}, 'score_threshold must be between 0 and 1, got 1.5'),
    'integer out of range': ({'max_detections': 0}, 'max_detections must be between 1 and 10000'),
    'of a wrong type': ({'sync.queue_size': 'many'}, 'sync.queue_size must be of type int'),
    'no boolean': ({'autostart': 'yess'}, 'autostart must be of type bool'),
    'not one of the choices': ({'input_qos': 'BEST'}, 'input_qos must be one of AUTO'),
    'crossed': (
        {'ir.percentile_low': 60.0, 'ir.percentile_high': 40.0},
        'ir.percentile_low must be below',
    ),
    'class that the model lacks': (
        {'class_filter': '[person, horse]'},
        'class_filter names horse',
    ),
    'model that is not there': ({'model': 'no_such_model'}, "model 'no_such_model' is neither"),
    'calibration that is not there': ({'calibration': '/no/such.yaml'}, 'cannot be read'),
}


def check_refused(node, sentence):
    """See the node end with status 1 and exactly one sentence of what is wrong."""
    assert node.status() == 1
    (line,) = node.lines('WARN', 'ERROR', 'FATAL')
    assert 'cannot start: ' in line
    assert sentence in line
    rest = [text for text in node.log().splitlines() if text not in node.lines('INFO')]
    assert rest == [line]


@pytest.mark.parametrize('fault', BAD)
def test_a_bad_parameter_ends_the_node_with_one_sentence(stage, fault):
    parameters, sentence = BAD[fault]
    check_refused(stage.start_node(parameters), sentence)


def test_a_model_whose_file_was_changed_ends_the_node_with_one_sentence(stage, tmp_path):
    bundle = tmp_path / 'bundle'
    shutil.copytree(ROOT / 'models' / 'msrs_rt', bundle)
    graph = bytearray((bundle / 'model.onnx').read_bytes())
    graph[len(graph) // 2] ^= 1
    (bundle / 'model.onnx').write_bytes(graph)
    check_refused(stage.start_node({'model': bundle}), 'model.onnx')


def test_a_model_of_another_schema_ends_the_node_with_one_sentence(stage, tmp_path):
    bundle = tmp_path / 'bundle'
    shutil.copytree(ROOT / 'models' / 'msrs_rt', bundle)
    contract = json.loads((bundle / 'model.json').read_text())
    (bundle / 'model.json').write_text(json.dumps({**contract, 'schema': 99}))
    check_refused(stage.start_node({'model': bundle}), 'schema')


@pytest.mark.parametrize(
    'text', ['mode: homography\nhomography: [1, 2]', 'mode: [', 'mode: affine', '', '- 3']
)
def test_a_bad_calibration_ends_the_node_with_one_sentence(stage, tmp_path, text):
    path = tmp_path / 'calibration.yaml'
    path.write_text(text)
    check_refused(stage.start_node({'calibration': path}), f'calibration {path}')


@pytest.mark.skipif(
    importlib.util.find_spec('message_filters') is not None, reason='message_filters is there'
)
def test_pairing_by_message_filters_ends_the_node_where_they_are_missing(stage):
    check_refused(stage.start_node({'sync.policy': 'approximate'}), 'message_filters')


def test_node_pairs_by_message_filters_where_they_are_installed(stage):
    pytest.importorskip('message_filters')
    stage.start_node({'sync.policy': 'approximate'})
    client = stage.client()
    client.offer('rgb', 'ir')
    client.listen('detections')
    client.warm_up(pictures.pair)


def test_whole_numbers_are_taken_where_fractions_are_meant(stage):
    stage.start_node({'sync.max_skew_ms': 15, 'score_threshold': 1})
    client = stage.client()
    client.offer('rgb', 'ir')
    client.listen('detections')
    client.warm_up(pictures.pair)


@pytest.mark.parametrize(
    ('name', 'bad', 'good'),
    [
        ('model', 'no_such_model', 'msrs_rt'),
        ('calibration', '/no/such.yaml', ''),
        ('score_threshold', 1.5, 0.4),
        ('nms_threshold', -1.0, 0.5),  # the default
        ('sync.queue_size', 'many', 5),
        ('class_filter', '[horse]', ['person']),
    ],
)
def test_without_autostart_a_corrected_parameter_then_configures(stage, name, bad, good):
    node = stage.start_node({'autostart': False, name: bad})
    client = stage.client()
    client.offer('rgb', 'ir')
    client.listen('detections')
    manager = Manager(client)
    for _ in range(2):
        assert not manager.change('configure')
        assert manager.state() == 'unconfigured'
    errors = node.lines('ERROR')
    assert len(errors) == 2
    assert all(name in line for line in errors)
    assert manager.set(name, good) == ''
    assert manager.change('configure')
    assert manager.change('activate')
    client.warm_up(pictures.pair)


def test_a_value_out_of_range_is_refused_when_it_is_set(stage):
    stage.start_node({'autostart': False})
    manager = Manager(stage.client())
    assert 'score_threshold' in manager.set('score_threshold', 1.5)
    assert manager.change('configure')


def test_without_autostart_a_misspelt_parameter_is_told_and_can_be_deleted(stage):
    node = stage.start_node({'autostart': False, 'scor_threshold': 0.4})
    manager = Manager(stage.client())
    assert not manager.change('configure')
    (line,) = node.lines('WARN', 'ERROR', 'FATAL')
    assert "did you mean 'score_threshold'" in line
    assert 'delete the parameter scor_threshold' in line
    assert manager.state() == 'unconfigured'
    assert manager.set('scor_threshold', None) == ''
    assert manager.change('configure')
