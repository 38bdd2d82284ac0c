from dataclasses import replace
import re

import numpy as np
import pytest

from tdfusion_ros.core.config import from_mapping
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.config import settings
from tdfusion_ros.core.errors import ConfigError

SETTINGS = settings()
NAMES = [name for name, _, _ in SETTINGS]
RANGED = [row for row in SETTINGS if row[2]['low'] is not None]


def test_dotted_or_nested_names_change_the_defaults_and_leave_the_rest():
    assert from_mapping({}) == FusionConfig()
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


def test_values_of_other_types_that_mean_the_same_are_accepted():
    given = {'score_threshold': np.float32(0.5), 'max_detections': np.int64(7)}
    config = from_mapping({**given, 'ir.invert': np.bool_(True), 'backend': np.str_('cpu')})
    assert (config.score_threshold, config.max_detections) == (0.5, 7)
    assert config.ir.invert is True
    assert type(config.backend) is str
    config = from_mapping({'ir.no_data': 9999, 'ir.crop': [0, 2, 0, 0]})
    assert (config.ir.no_data, config.ir.crop) == ('9999', '0, 2, 0, 0')
    config = from_mapping({'sync.max_skew_ms': 5})
    assert config.sync.max_skew_ms == 5.0
    assert type(config.sync.max_skew_ms) is float


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (
            {'sync.max_skew': 5.0},
            r"'sync\.max_skew': did you mean 'sync\.max_skew_ms'\? See tdfusion params",
        ),
        ({'xyzzy': 5.0}, 'unknown setting .*' + '.*'.join(map(re.escape, NAMES))),
        *(({key: 1.0}, 'unknown setting') for key in ('', 'sync.', '.model', 'sync.sync.mode')),
        ({'ir': 3}, 'ir must be a mapping of settings to values, got 3'),
        ({'backend': 'tensorrt'}, 'backend must be one of auto, cpu, cuda, trt'),
        ({'max_detections': 5.0}, 'max_detections must be of type'),
        ({'max_detections': True}, 'max_detections must be of type'),
        ({'score_threshold': '0.5'}, 'score_threshold must be of type'),
        ({'score_threshold': True}, 'score_threshold must be of type'),
        ({'ir.invert': 1}, 'ir.invert must be of type'),
        *(({'model': v}, 'model must be of type') for v in (None, True, [])),
        ({'sync.max_skew_ms': [5.0]}, 'sync.max_skew_ms must be of type'),
        ({'class_filter': 'car'}, r'must be a list of names, such as \[person, car\], got'),
        ({'class_filter': ['car', 1]}, 'class_filter must be a list of names'),
        *(({'ir.crop': v}, 'ir.crop must be') for v in ('2, 3', '-1 0 0 0', '1.5 0 0 0')),
        ({'ir.no_data': 'zero'}, 'ir.no_data must be'),
        (
            {'ir.percentile_low': 50.0, 'ir.percentile_high': 50.0},
            'ir.percentile_low must be below ir.percentile_high',
        ),
        ({'ir.range_min': 5.0, 'ir.range_max': 5.0}, 'ir.range_min must be below ir.range_max'),
    ],
)
def test_wrong_setting_is_refused_with_what_is_expected(given, message):
    with pytest.raises(ConfigError, match=message):
        from_mapping(given)


@pytest.mark.parametrize(('name', 'default', 'metadata'), RANGED, ids=[r[0] for r in RANGED])
def test_values_out_of_range_are_refused_with_the_range(name, default, metadata):
    for bad in (metadata['low'] - 1, metadata['high'] + 1, float('nan')):
        if isinstance(default, int) and bad != bad:
            continue
        with pytest.raises(ConfigError, match=f'^{name} must be between .* and .*, got'):
            from_mapping({name: type(default)(bad)})


def test_class_filter_is_a_list_of_names_and_ros_empty_one_is_empty():
    assert from_mapping({'class_filter': ['car', 'person']}).class_filter == ('car', 'person')
    assert from_mapping({'class_filter': ['']}).class_filter == ()
