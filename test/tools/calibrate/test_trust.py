"""What no two cameras side by side can have is refused, saying what it is."""

import numpy as np
import pytest

from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.tools.calibrate.automatic import Estimate
from tdfusion_ros.tools.calibrate.fit import best_model
from tdfusion_ros.tools.calibrate.fit import errors
from tdfusion_ros.tools.calibrate.fit import robust
from tdfusion_ros.tools.calibrate.geometry import mapped
from tdfusion_ros.tools.calibrate.patch_matching import Matches
from tdfusion_ros.tools.calibrate.plausibility import check_estimate
from tdfusion_ros.tools.calibrate.plausibility import check_transform

SIZE = 480, 640
TRUE = np.array([[0.95, -0.02, 20.0], [0.02, 0.95, 10.0], [0, 0, 1]])


def estimate(rgb_xy, ir_xy, half=None):
    """Return what the last steps of the calibration make of matches."""
    half = np.arange(len(rgb_xy)) % 2 == 0 if half is None else half
    matches = Matches(rgb_xy, ir_xy, np.zeros(len(rgb_xy), int))
    split = best_model(matches, half, 3.0)
    matrix = robust(split.model, rgb_xy, ir_xy, 3.0)
    return Estimate(matrix, 3.0, matches, errors(matrix, rgb_xy, ir_xy) <= 3, split, 'every other')


def spots(number, low=(0, 0), high=(640, 480)):
    return np.random.default_rng(3).uniform(low, high, (number, 2))


def noisy(points, sigma=0.5):
    return mapped(TRUE, points) + np.random.default_rng(4).normal(0, sigma, points.shape)


def test_good_matches_with_a_third_of_outliers_pass_and_give_the_transform():
    at = spots(200)
    there = noisy(at)
    there[::3] += np.random.default_rng(5).uniform(-40, 40, there[::3].shape)
    found = estimate(at, there)
    check_estimate(found, SIZE, SIZE)
    assert found.held_out.model == 'similarity'
    assert np.median(errors(found.matrix, at, mapped(TRUE, at))) < 0.5


def test_matches_by_chance_are_refused():
    at = spots(400)
    there = noisy(at) + np.random.default_rng(6).uniform(-16, 16, at.shape)
    with pytest.raises(CalibrationError, match='agree, expected'):
        check_estimate(estimate(at, there), SIZE, SIZE)


def test_few_matches_are_refused():
    at = spots(20)
    with pytest.raises(CalibrationError, match='only 20 matches agree, expected 25'):
        check_estimate(estimate(at, noisy(at)), SIZE, SIZE)


def test_matches_in_one_corner_are_refused():
    at = spots(200, (10, 10), (120, 100))
    with pytest.raises(CalibrationError, match=r'parts of the image|halves'):
        check_estimate(estimate(at, noisy(at, 0.05)), SIZE, SIZE)


def test_a_rig_that_was_moved_between_the_halves_is_refused():
    at = spots(200)
    half = np.arange(200) < 120
    there = noisy(at)
    there[~half] += (25, 0)
    with pytest.raises(CalibrationError, match=r'was the rig moved|held-out matches agree'):
        check_estimate(estimate(at, there, half), SIZE, SIZE)


ABSURD = {
    'mirrors': [[-1, 0, 640], [0, 1, 0], [0, 0, 1]],
    'horizon': [[1, 0, 0], [0, 1, 0], [-0.004, 0, 1]],
    'one corner becomes': [[1, 0, 0], [0, 1, 0], [-0.0009, 0, 1]],
    'stretches the image 2.0 times': [[2, 0, 0], [0, 1, 0], [0, 0, 1]],
    'zoomed 9.00 times': [[9, 0, 0], [0, 9, 0], [0, 0, 1]],
}


@pytest.mark.parametrize('words', ABSURD)
def test_an_absurd_transform_is_refused_saying_why(words):
    with pytest.raises(CalibrationError, match=words):
        check_transform(np.array(ABSURD[words], float), SIZE, SIZE)


def test_ordinary_rigs_are_not_refused():
    check_transform(TRUE, SIZE, SIZE)
    check_transform(np.diag([0.33, 0.33, 1]), (1080, 1920), (512, 640))
    check_transform(np.diag([1 / 12, 1 / 12, 1]), (1080, 1920), (120, 160))
    check_transform(np.array([[1, 0.02, 5], [0.01, 1.05, 3], [1e-4, 5e-5, 1]]), SIZE, SIZE)
