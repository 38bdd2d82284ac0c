from dataclasses import fields
from dataclasses import FrozenInstanceError
from dataclasses import replace

import numpy as np
import pytest

from tdfusion_ros.core.config import from_mapping
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.config import GROUPS
from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.config import settings
from tdfusion_ros.core.errors import ConfigError

SETTINGS = settings()
NAMES = [name for name, _, _ in SETTINGS]
RANGED = [row for row in SETTINGS if row[2]['low'] is not None]


def test_empty_mapping_gives_the_defaults():
    assert from_mapping({}) == FusionConfig()


def test_dotted_or_nested_names_set_a_group_and_leave_the_rest():
    config = from_mapping({'sync.max_skew_ms': 5.0, 'score_threshold': 0.7})
    assert config == from_mapping({'sync': {'max_skew_ms': 5.0}, 'score_threshold': 0.7})
    assert config.sync.max_skew_ms == 5.0
    assert config.score_threshold == 0.7
    assert config == replace(
        FusionConfig(), score_threshold=0.7, sync=replace(config.sync, max_skew_ms=5.0)
    )


@pytest.mark.parametrize(('name', 'default', '_'), SETTINGS, ids=NAMES)
def test_every_default_can_be_given_by_name(name, default, _):
    value = list(default) if isinstance(default, tuple) else default
    assert from_mapping({name: value}) == FusionConfig()


def test_misspelled_key_is_named_with_its_neighbor_or_else_with_the_known_ones():
    with pytest.raises(ConfigError) as caught:
        from_mapping({'sync.max_skew': 5.0})
    wanted = (
        "unknown setting 'sync.max_skew': did you mean 'sync.max_skew_ms'? See tdfusion params"
    )
    assert str(caught.value) == wanted
    with pytest.raises(ConfigError) as caught:
        from_mapping({'xyzzy': 5.0})
    assert all(name in str(caught.value) for name in NAMES)


def test_group_without_a_mapping_is_refused():
    with pytest.raises(ConfigError, match='ir must be a mapping of settings to values, got 3'):
        from_mapping({'ir': 3})


def test_numpy_scalars_are_accepted():
    given = {'score_threshold': np.float32(0.5), 'max_detections': np.int64(7)}
    config = from_mapping({**given, 'ir.invert': np.bool_(True), 'backend': np.str_('cpu')})
    assert (config.score_threshold, config.max_detections) == (0.5, 7)
    assert config.ir.invert is True
    assert type(config.backend) is str


@pytest.mark.parametrize('key', ['xyzzy', '', 'sync.', '.model', 'sync.sync.max_skew_ms'])
def test_unknown_key_is_refused(key):
    with pytest.raises(ConfigError, match='unknown setting'):
        from_mapping({key: 1.0})


@pytest.mark.parametrize(('name', 'default', 'metadata'), RANGED, ids=[r[0] for r in RANGED])
def test_values_out_of_range_are_refused_with_the_range(name, default, metadata):
    for bad in (metadata['low'] - 1, metadata['high'] + 1, float('nan')):
        if isinstance(default, int) and bad != bad:
            continue
        with pytest.raises(ConfigError, match=f'^{name} must be between .* and .*, got'):
            from_mapping({name: type(default)(bad)})


@pytest.mark.parametrize(('name', 'default', 'metadata'), RANGED, ids=[r[0] for r in RANGED])
def test_defaults_are_in_their_range(name, default, metadata):
    assert metadata['low'] <= default <= metadata['high']


def test_unknown_choice_is_refused_with_the_choices():
    with pytest.raises(ConfigError, match='backend must be one of auto, cpu, cuda, trt'):
        from_mapping({'backend': 'tensorrt'})


def test_integers_are_accepted_for_floats():
    config = from_mapping({'sync.max_skew_ms': 5})
    assert config.sync.max_skew_ms == 5.0
    assert type(config.sync.max_skew_ms) is float


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('max_detections', 5.0),
        ('max_detections', True),
        ('score_threshold', '0.5'),
        ('score_threshold', True),
        ('ir.invert', 1),
        ('model', None),
        ('class_filter', 'car'),
        ('class_filter', ['car', 1]),
        ('sync.max_skew_ms', [5.0]),
    ],
)
def test_value_of_another_type_is_refused_with_the_wanted_one(name, value):
    with pytest.raises(ConfigError, match=f'{name} must be (of type|a list of names)'):
        from_mapping({name: value})


def test_class_filter_is_a_list_of_names_and_ros_empty_one_is_empty():
    assert from_mapping({'class_filter': ['car', 'person']}).class_filter == ('car', 'person')
    assert from_mapping({'class_filter': ['']}).class_filter == ()


@pytest.mark.parametrize(
    'pair', [('ir.percentile_low', 'ir.percentile_high'), ('ir.range_min', 'ir.range_max')]
)
def test_upper_end_of_a_range_must_be_above_its_lower_end(pair):
    with pytest.raises(ConfigError, match=f'{pair[0]} must be below {pair[1]}'):
        from_mapping({pair[0]: 50.0, pair[1]: 50.0})


def test_config_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        FusionConfig().model = 'other'


@pytest.mark.parametrize(('name', '_', 'metadata'), SETTINGS, ids=NAMES)
def test_every_setting_is_explained_in_one_sentence(name, _, metadata):
    doc = metadata['doc']
    assert doc == ' '.join(doc.split())
    assert doc.endswith('.')
    assert '. ' not in doc
    assert 15 <= len(doc) <= 90


def test_unit_in_a_name_is_the_unit_in_its_sentence():
    for name, _, metadata in SETTINGS:
        unit = name.rpartition('_')[2]
        has_unit = unit in ('ms', 's', 'px', 'm', 'hz')
        assert (f'[{unit}]' in metadata['doc'].lower()) == has_unit, name


def test_groups_are_the_nested_classes_and_nothing_else():
    nested = {f.name for f in fields(FusionConfig) if not f.metadata}
    assert nested == set(GROUPS)
    assert isinstance(FusionConfig().ir, IrConfig)
    assert sorted(set(NAMES), key=NAMES.index) == NAMES
