"""Points picked by hand: each file format is read, and a wrong point is named."""

import json

import cv2
import numpy as np
import pytest

from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.tools.calibrate.picked_points import fit_points
from tdfusion_ros.tools.calibrate.picked_points import Points
from tdfusion_ros.tools.calibrate.picked_points import read_points
from tdfusion_ros.tools.calibrate.picked_points import rough_start
from tdfusion_ros.tools.calibrate.transform_fit import errors_px
from tdfusion_ros.tools.calibrate.transform_fit import MODELS

RGB = np.random.default_rng(1).uniform((20, 20), (620, 460), (12, 2)).round(1)
SIMILARITY = np.array([[0.9, -0.05, 30.0], [0.05, 0.9, -10.0], [0, 0, 1]])
AFFINE = np.array([[1.1, 0.02, 5.0], [-0.03, 0.9, 12.0], [0, 0, 1]])
TILTED = np.array([[0.9, 0.05, 12.0], [-0.04, 0.95, 6.0], [3e-4, -2e-4, 1.0]])


def seen(matrix, rgb_xy=RGB):
    return cv2.perspectiveTransform(rgb_xy[:, None], matrix)[:, 0]


ROWS = '\n'.join(','.join(map(str, row)) for row in np.hstack([RGB, seen(SIMILARITY)]).tolist())
FILES = {
    'a.yaml': f'rgb_xy: {RGB.tolist()}\nir_xy: {seen(SIMILARITY).tolist()}\n'
    'rgb_size_hw: [480, 640]\nir_size_hw: [512, 640]\n',
    'a.json': json.dumps(
        {'vi_xy(fixed)': RGB.tolist(), 'ir_xy(moving)': seen(SIMILARITY).tolist()}
    ),
    'a.csv': 'rgb_x,rgb_y,ir_x,ir_y\n' + ROWS,
    'b.csv': '# picked on Monday\n' + ROWS + '\n\n',
}


@pytest.mark.parametrize('name', FILES)
def test_each_file_format_gives_the_same_transform(tmp_path, name):
    (tmp_path / name).write_text(FILES[name])
    points = read_points(tmp_path / name)
    np.testing.assert_allclose(fit_points(points).matrix, SIMILARITY, atol=1e-6)
    sizes = ((480, 640), (512, 640)) if name == 'a.yaml' else (None, None)
    assert (points.rgb_size_hw, points.ir_size_hw) == sizes


WRONG = {
    'a.json': ('{"rgb_xy": [', 'cannot be read'),
    'b.json': ('[1, 2]', 'expected a mapping'),
    'c.json': ('{"rgb_xy": [[1, 2]]}', 'named ir_xy, got the keys rgb_xy'),
    'd.json': ('{"rgb_xy": [[1, 2]], "ir_xy": []}', 'got 1 rgb points and 0 ir points'),
    'f.yaml': ('rgb_xy: [[a, 2]]\nir_xy: [[1, 2]]', 'rows of 2 numbers'),
    'g.yaml': ('rgb_xy: []\nir_xy: []\nir_size_hw: 3', 'ir_size_hw must be'),
    'h.csv': ('1,2,3\n', 'rows of 4 numbers'),
    'i.csv': ('1,2,3,nan\n', 'rows of 4 numbers'),
}


@pytest.mark.parametrize('name', WRONG)
def test_a_wrong_points_file_is_refused_with_its_name_and_the_reason(tmp_path, name):
    text, reason = WRONG[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(CalibrationError, match=reason) as caught:
        read_points(tmp_path / name)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ('matrix', 'model'), [(SIMILARITY, 'similarity'), (AFFINE, 'affine'), (TILTED, 'homography')]
)
def test_the_simplest_transform_that_fits_is_taken_though_points_are_not_exact(matrix, model):
    rng = np.random.default_rng(2)
    picked = seen(matrix) + rng.normal(0, 0.5, RGB.shape)
    fitted = fit_points(Points(RGB, picked))
    assert fitted.model == model
    everywhere = rng.uniform((0, 0), (640, 480), (50, 2))
    assert np.median(errors_px(fitted.matrix, everywhere, seen(matrix, everywhere))) < 1.0


ONE_WRONG = seen(SIMILARITY) + np.random.default_rng(0).normal(0, 0.5, RGB.shape)
ONE_WRONG[6] += (60, -40)
LINE = np.stack([np.arange(8.0) * 40, np.arange(8.0) * 20], axis=1)


@pytest.mark.parametrize(
    ('rgb_xy', 'ir_xy', 'models', 'reason'),
    [
        (RGB, ONE_WRONG, MODELS, 'point 7 of 12 .* correct the point or remove it'),
        (RGB, RGB[::-1].copy(), MODELS, 'contradict each other'),
        (RGB[:3], RGB[:3], MODELS, 'got 3 points, expected at least 4'),
        (np.tile(RGB[:1], (8, 1)), np.tile(RGB[:1], (8, 1)), MODELS, 'do not determine'),
        (LINE, seen(AFFINE, LINE), ('affine',), r'\(affine\): .* lie on a line'),
    ],
    ids=['one wrong', 'unrelated', 'too few', 'in one place', 'on a line'],
)
def test_points_that_determine_no_transform_are_refused(rgb_xy, ir_xy, models, reason):
    with pytest.raises(CalibrationError, match=reason):
        fit_points(Points(rgb_xy, ir_xy), models)


def test_rough_points_give_a_start_though_they_fit_badly():
    rough = seen(SIMILARITY)[:3] + np.array([[9, -9], [-9, 9], [9, 9]])
    assert np.median(errors_px(rough_start(Points(RGB[:3], rough)), RGB, seen(SIMILARITY))) < 25
    with pytest.raises(CalibrationError, match='two or more, far apart'):
        rough_start(Points(RGB[:1], rough[:1]))
