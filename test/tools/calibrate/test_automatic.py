"""Calibration from real pairs alone, against a known warp; and what is refused with the reason."""

import cv2
import numpy as np
import pytest

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.sources import BagSource
from tdfusion_ros.tools.calibrate.automatic import calibrate
from tdfusion_ros.tools.calibrate.automatic import estimate
from tdfusion_ros.tools.calibrate.geometry import grid
from tdfusion_ros.tools.calibrate.geometry import mapped
from tdfusion_ros.tools.calibrate.image_pairs import read_pairs
from tdfusion_ros.tools.calibrate.matching import clear_peak
from tdfusion_ros.tools.calibrate.matching import Matches
from tdfusion_ros.tools.calibrate.plausibility import check_estimate
from tdfusion_ros.tools.calibrate.plausibility import check_transform
from tdfusion_ros.tools.calibrate.plausibility import expected_error
from tdfusion_ros.tools.calibrate.transform_fit import errors_px

SIZE = 480, 640
CONFIG = FusionConfig()


def warp(shift=(16.0, 12.0), turn_deg=3.0, zoom=1.05):
    matrix = cv2.getRotationMatrix2D((319.5, 239.5), turn_deg, zoom)
    matrix[:, 2] += shift
    return np.vstack([matrix, [0, 0, 1]])


def warped(pairs, matrix):
    return [(rgb, cv2.warpPerspective(ir, matrix, SIZE[::-1])) for rgb, ir in pairs]


def apart_px(first, second):
    points = grid(SIZE)
    return float(np.median(errors_px(first, points, mapped(second, points))))


@pytest.fixture(scope='module')
def pairs(demo):
    """Return eight pairs of the demo, by day and by night."""
    with BagReader(demo) as reader:
        return read_pairs(BagSource(reader, reader.find(), CONFIG), 8, CONFIG).gray


@pytest.mark.parametrize('step', [2, 8], ids=['four pairs', 'one pair'])
def test_a_known_warp_is_found_from_real_pairs(pairs, step):
    own = calibrate(pairs[::step], np.eye(3)).matrix  # the demo is misregistered by 4 px
    found = calibrate(warped(pairs[::step], warp()))
    check_estimate(found, SIZE, SIZE)
    assert apart_px(warp(), np.eye(3)) > 20
    assert apart_px(found.matrix, warp() @ own) < 2
    assert apart_px(found.matrix, warp()) < 6


def in_a_corner(pairs, size):
    """Return one pair, still, with detail in a corner only."""
    seen = np.zeros(SIZE, np.float32)
    seen[: int(size * SIZE[0]), : int(size * SIZE[1])] = 1
    seen = cv2.GaussianBlur(seen, (0, 0), 15)
    rgb, ir = pairs[0]
    blank = np.uint8(rgb * seen + 90 * (1 - seen)), np.float32(ir * seen + 0.4 * (1 - seen))
    return [blank] * 3


RIGS = {
    'good': lambda pairs: warped(pairs[::2], warp()),
    'one pair': lambda pairs: warped(pairs[:1], warp()),
    'still': lambda pairs: warped([pairs[0]] * 3, warp()),
    'a still scene in a corner': lambda pairs: warped(in_a_corner(pairs, 0.6), warp()),
    'moved while recording': lambda pairs: (
        warped(pairs[:2], warp()) + warped(pairs[2:4], warp((28.0, 4.0)))
    ),
}


@pytest.mark.parametrize('rig', RIGS)
def test_the_expected_error_is_not_much_less_than_the_true_one_or_the_rig_is_refused(pairs, rig):
    truth = warp() @ calibrate(pairs[::2], np.eye(3)).matrix
    try:
        found = calibrate(RIGS[rig](pairs), truth)
        check_estimate(found, SIZE, SIZE)
    except CalibrationError:
        assert rig in ('a still scene in a corner', 'moved while recording')
        return
    error_px = apart_px(found.matrix, truth)
    expected = expected_error(found, SIZE, SIZE)
    print(f'{rig}: true {error_px:.2f} px, expected {expected.median_px:.2f} px')
    assert expected.median_px >= error_px / 1.5
    assert expected.worst_px >= expected.median_px


def test_unrelated_and_empty_images_are_refused(pairs):
    # One fixed rig sees one place: turned upside down, the other image is of another one.
    mixed = [(pairs[i][0], pairs[i + 4][1][::-1, ::-1].copy()) for i in range(4)]
    with pytest.raises(CalibrationError, match=r'(not trustworthy|too few).*--points'):
        check_estimate(calibrate(mixed, np.eye(3)), SIZE, SIZE)
    gray = np.full((120, 160), 90, np.uint8)
    with pytest.raises(CalibrationError, match='too few for a transform'):
        calibrate([(gray, gray.astype(np.float32) / 255)], np.eye(3))


@pytest.mark.parametrize(('zoom', 'step'), [(1.67, 8), (2.2, 2)])
def test_a_narrow_thermal_view_is_found_without_a_start(pairs, zoom, step):
    narrow = warp(zoom=zoom)
    own = calibrate(pairs[::2], np.eye(3)).matrix
    found = calibrate(warped(pairs[::step], narrow))  # wrong wide views agree in more places
    assert apart_px(found.matrix, narrow @ own) < 3 * zoom


def test_a_rough_start_replaces_the_search(pairs):
    far = warp(shift=(-250.0, 20.0), turn_deg=20.0, zoom=0.9)  # beyond the range of the search
    rough = far.copy()
    rough[:2, 2] += (6, -5)
    assert apart_px(calibrate(warped(pairs[:4], far), rough).matrix, far) < 8


def test_an_ambiguous_place_is_no_match():
    y, x = np.mgrid[0:25, 0:25]
    peak = np.exp(-((x - 12.3) ** 2 + (y - 8.6) ** 2) / 8).astype(np.float32)
    assert clear_peak(peak) == pytest.approx((12.3, 8.6), abs=0.05)
    straight_edge = np.exp(-((x - 12) ** 2) / 8).astype(np.float32)
    two_peaks = np.maximum(peak, 0.9 * np.roll(peak, 10, axis=0))
    for ambiguous in (straight_edge, two_peaks, 0.2 * peak):
        assert clear_peak(ambiguous) is None


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
