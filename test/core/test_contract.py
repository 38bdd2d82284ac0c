import json

import pytest

from tdfusion_ros.core.contract import parse_contract
from tdfusion_ros.core.errors import ModelError


@pytest.fixture
def raw(bundle):
    return json.loads((bundle / 'model.json').read_text(encoding='utf-8'))


def test_contract_of_the_shipped_model_is_read_and_may_have_more_keys(raw):
    contract = parse_contract(json.dumps(raw))
    assert contract.name == 'msrs_rt'
    assert contract.classes == ('person', 'bicycle', 'car')
    assert contract.size_multiple == 32
    parse_contract(json.dumps({**raw, 'color_of_the_bike_shed': 'green'}))


@pytest.mark.parametrize(
    'key', ['schema', 'name', 'size_multiple', 'inputs', 'outputs', 'thermal', 'classes', 'files']
)
@pytest.mark.parametrize('value', ['missing', None, 'x y', 0, -1, [], {}, [1], 1.5])
def test_contract_with_a_missing_or_wrong_key_is_refused_naming_it(raw, key, value):
    del raw[key]
    if value != 'missing':
        raw[key] = value
    with pytest.raises(ModelError, match=key):
        parse_contract(json.dumps(raw))


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('schema', 2),
        ('schema', '1'),
        ('classes', ['car', 'car']),
        ('classes', ['car', '']),
        ('classes', 'car'),
        ('thermal', {'polarity': 'black_hot'}),
        ('files', {'model.onnx': 'abc'}),
        ('files', {'weights.safetensors': '0' * 64}),
        ('size_multiple', True),
        ('size_multiple', 10**6),
        ('name', '../elsewhere'),
        ('inputs', lambda tensors: tensors[::-1]),
        ('inputs', lambda tensors: [{**tensors[0], 'dtype': 'float16'}, *tensors[1:]]),
        ('outputs', lambda tensors: [{**tensors[0], 'shape': [480, 640, 3]}, *tensors[1:]]),
        ('outputs', lambda tensors: [*tensors, {**tensors[0], 'name': 'masks'}]),
    ],
)
def test_impossible_values_and_other_interfaces_are_refused(raw, key, value):
    raw[key] = value(raw[key]) if callable(value) else value
    expected = {'inputs': 'inputs must be .*rgb', 'outputs': 'outputs must be .*fused'}
    with pytest.raises(ModelError, match=expected.get(key, key)):
        parse_contract(json.dumps(raw))


@pytest.mark.parametrize('text', ['', '{', '[1, 2]', '"model"', 'null', '[' * 100_000])
def test_text_that_is_not_a_contract_is_refused(text):
    with pytest.raises(ModelError, match=r'model\.json'):
        parse_contract(text)


def test_contract_of_a_graph_that_does_not_read_coverage_is_accepted(raw):
    assert parse_contract(json.dumps(raw)).reads_coverage
    raw['inputs'] = [tensor for tensor in raw['inputs'] if tensor['name'] != 'coverage']
    contract = parse_contract(json.dumps(raw))
    assert contract.inputs == ('rgb', 'ir')
    assert not contract.reads_coverage
