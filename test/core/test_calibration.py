import numpy as np
import pytest

from tdfusion_ros.core.calibration import Identity
from tdfusion_ros.core.calibration import parse_calibration
from tdfusion_ros.core.errors import CalibrationError

EYE = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
CAMERA = {'size_hw': [480, 640], 'k': [[500, 0, 320], [0, 500, 240], [0, 0, 1]], 'd': [0] * 5}
POSE = {'rotation': EYE, 'translation_m': [0.1, 0, 0]}
EXTRINSICS = {'mode': 'extrinsics', 'rgb': CAMERA, 'ir': CAMERA, **POSE}
HOMOGRAPHY = {'mode': 'homography', 'homography': EYE}
REFUSED = [
    (None, 'mapping'),
    ([1, 2], 'mapping'),
    ({}, 'mode'),
    ({'mode': 'stereo'}, "'stereo'"),
    ({'mode': ['identity']}, 'mode'),
    ({'mode': 'homography'}, 'homography'),
    ({**HOMOGRAPHY, 'homography': EYE[:2]}, r'shape \(3, 3\)'),
    ({**HOMOGRAPHY, 'homography': [[1, 0], [0, 1, 0]]}, 'homography'),
    ({**HOMOGRAPHY, 'homography': [[1, 0, 0], [1, 0, 0], [0, 0, 1]]}, 'inverted'),
    ({**HOMOGRAPHY, 'homography': [['a', 0, 0], *EYE[1:]]}, 'numbers'),
    ({**HOMOGRAPHY, 'homography': [[float('nan'), 0, 0], *EYE[1:]]}, 'numbers'),
    ({**HOMOGRAPHY, 'homography': [[10**400, 0, 0], *EYE[1:]]}, 'numbers'),
    ({**HOMOGRAPHY, 'rgb_size_hw': [480]}, 'rgb_size_hw'),
    ({**HOMOGRAPHY, 'rgb_size_hw': [480, -640]}, 'rgb_size_hw'),
    ({**HOMOGRAPHY, 'ir_size_hw': [480.5, 640]}, 'ir_size_hw'),
    ({**EXTRINSICS, 'rotation': [[2, 0, 0], *EYE[1:]]}, 'rotation'),
    ({**EXTRINSICS, 'rotation': [[-1, 0, 0], *EYE[1:]]}, 'rotation'),
    ({**EXTRINSICS, 'translation_m': [0, 0]}, 'translation_m'),
    ({**EXTRINSICS, 'translation_m': None}, 'translation_m'),
    ({**EXTRINSICS, 'assumed_depth_m': 0}, 'assumed_depth_m'),
    ({**EXTRINSICS, 'assumed_depth_m': -3}, 'assumed_depth_m'),
    ({'image_width': 640, 'camera_matrix': {}}, 'mode.*None.*tdfusion calibrate'),
    ({'mode': 'identity', 'homography': EYE}, 'unknown keys homography'),
    ({**HOMOGRAPHY, 'rgb_size': [480, 640]}, 'unknown keys rgb_size, expected .*rgb_size_hw'),
    ({**EXTRINSICS, 'depth_m': 8}, 'unknown keys depth_m, expected .*assumed_depth_m'),
    ({**EXTRINSICS, 'rgb': {**CAMERA, 'model': 'equidistant'}}, 'rgb has the unknown keys model'),
    ({**EXTRINSICS, 'ir': {**CAMERA, 'k': np.transpose(CAMERA['k'])}}, r'ir\.k must be \[\[fx, 0'),
    ({**EXTRINSICS, 'rgb': None}, 'rgb must'),
    ({**EXTRINSICS, 'ir': {**CAMERA, 'size_hw': None}}, 'ir.size_hw'),
    ({**EXTRINSICS, 'ir': {**CAMERA, 'k': [[0, 0, 0]] * 3}}, 'not calibrated'),
    ({**EXTRINSICS, 'ir': {**CAMERA, 'k': None}}, r'ir\.k'),
    ({**EXTRINSICS, 'ir': {**CAMERA, 'd': [0] * 6}}, 'ir.d'),
    ({**EXTRINSICS, 'ir': {**CAMERA, 'd': ['x'] * 5}}, r'ir\.d'),
    ({**EXTRINSICS, 'ir': {**CAMERA, 'd': None}}, r'ir\.d'),
]


@pytest.mark.parametrize(('raw', 'named'), REFUSED)
def test_wrong_calibration_is_refused_naming_the_key(raw, named):
    with pytest.raises(CalibrationError, match=named):
        parse_calibration(raw)


def test_identity_is_its_mode_alone():
    assert isinstance(parse_calibration({'mode': 'identity'}), Identity)


@pytest.mark.parametrize('count', [0, 4, 5, 8, 12, 14])
def test_distortion_is_optional_or_has_one_of_opencvs_lengths(count):
    distortion = {'d': [0.1] * count} if count else {}
    raw = {**EXTRINSICS, 'ir': {'size_hw': CAMERA['size_hw'], 'k': CAMERA['k'], **distortion}}
    assert parse_calibration(raw).ir.d.shape == (count,)
