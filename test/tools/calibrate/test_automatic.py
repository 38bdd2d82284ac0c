"""Calibration from real pairs alone, against a known warp."""

import cv2
import numpy as np
import pytest

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.sources import BagSource
from tdfusion_ros.tools.calibrate.automatic import calibrate
from tdfusion_ros.tools.calibrate.geometry import grid
from tdfusion_ros.tools.calibrate.geometry import mapped
from tdfusion_ros.tools.calibrate.image_pairs import read_pairs
from tdfusion_ros.tools.calibrate.matching import clear_peak
from tdfusion_ros.tools.calibrate.plausibility import check_estimate
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
