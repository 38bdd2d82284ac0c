"""A calibration that no two cameras side by side can have is refused with the reason."""

import numpy as np
import pytest

from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.tools.calibrate.automatic import estimate
from tdfusion_ros.tools.calibrate.geometry import mapped
from tdfusion_ros.tools.calibrate.matching import Matches
from tdfusion_ros.tools.calibrate.plausibility import check_estimate
from tdfusion_ros.tools.calibrate.plausibility import check_transform
from tdfusion_ros.tools.calibrate.transform_fit import errors_px

SIZE = 480, 640
TRUE = np.array([[0.95, -0.02, 20.0], [0.02, 0.95, 10.0], [0, 0, 1]])


def matched(number, low=(0, 0), high=(640, 480), sigma=0.5):
    """Return random places of rgb, and where ir shows them, with noise."""
    rgb_xy = np.random.default_rng(3).uniform(low, high, (number, 2))
    noise = np.random.default_rng(4).normal(0, sigma, rgb_xy.shape)
    return rgb_xy, mapped(TRUE, rgb_xy) + noise


def fitted(rgb_xy, ir_xy, half=None):
    half = np.arange(len(rgb_xy)) % 2 == 0 if half is None else half
    return estimate(Matches(rgb_xy, ir_xy, np.zeros(len(rgb_xy), int)), half, 3.0)


def test_good_matches_with_a_third_of_outliers_pass_and_give_the_transform():
    rgb_xy, ir_xy = matched(200)
    ir_xy[::3] += np.random.default_rng(5).uniform(-40, 40, ir_xy[::3].shape)
    found = fitted(rgb_xy, ir_xy)
    check_estimate(found, SIZE, SIZE)
    assert found.model == 'similarity'
    assert np.median(errors_px(found.matrix, rgb_xy, mapped(TRUE, rgb_xy))) < 0.5


def by_chance():
    rgb_xy, ir_xy = matched(400)
    return fitted(rgb_xy, ir_xy + np.random.default_rng(6).uniform(-16, 16, ir_xy.shape))


def moved_between_the_halves():
    rgb_xy, ir_xy = matched(200)
    ir_xy[120:] += (25, 0)
    return fitted(rgb_xy, ir_xy, np.arange(200) < 120)


@pytest.mark.parametrize(
    ('found', 'reason'),
    [
        (by_chance, 'agree, expected'),
        (lambda: fitted(*matched(20)), 'only 20 matches agree, expected at least 25'),
        (lambda: fitted(*matched(200, (10, 10), (120, 100), 0.05)), 'parts of the image|halves'),
        (moved_between_the_halves, 'was the rig moved|held-out matches agree'),
    ],
    ids=['by chance', 'few', 'in one corner', 'moved between the halves'],
)
def test_bad_matches_are_refused(found, reason):
    with pytest.raises(CalibrationError, match=reason):
        check_estimate(found(), SIZE, SIZE)


IMPLAUSIBLE = {
    'mirrors': [[-1, 0, 640], [0, 1, 0], [0, 0, 1]],
    'horizon': [[1, 0, 0], [0, 1, 0], [-0.004, 0, 1]],
    'magnifies one corner': [[1, 0, 0], [0, 1, 0], [-0.0009, 0, 1]],
    'stretches the image 2.0 times': [[2, 0, 0], [0, 1, 0], [0, 0, 1]],
    'zooms ir 9.00 times': [[9, 0, 0], [0, 9, 0], [0, 0, 1]],
}


@pytest.mark.parametrize('reason', IMPLAUSIBLE)
def test_an_implausible_transform_is_refused_with_the_reason(reason):
    with pytest.raises(CalibrationError, match=reason):
        check_transform(np.array(IMPLAUSIBLE[reason], float), SIZE, SIZE)


@pytest.mark.parametrize(
    ('matrix', 'rgb_hw', 'ir_hw'),
    [
        (TRUE, SIZE, SIZE),
        (np.diag([0.33, 0.33, 1]), (1080, 1920), (512, 640)),
        (np.diag([1 / 12, 1 / 12, 1]), (1080, 1920), (120, 160)),
        (np.array([[1, 0.02, 5], [0.01, 1.05, 3], [1e-4, 5e-5, 1]]), SIZE, SIZE),
    ],
)
def test_an_ordinary_rig_is_not_refused(matrix, rgb_hw, ir_hw):
    check_transform(matrix, rgb_hw, ir_hw)
