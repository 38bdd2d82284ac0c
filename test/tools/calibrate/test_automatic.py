"""Calibration from real pairs alone, against a warp that is known."""

import cv2
import numpy as np
import pytest

from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.formats.offline import FolderSource
from tdfusion_ros.formats.offline import NamedPair
from tdfusion_ros.tools.calibrate.automatic import calibrate
from tdfusion_ros.tools.calibrate.fit import errors
from tdfusion_ros.tools.calibrate.geometry import grid
from tdfusion_ros.tools.calibrate.geometry import mapped
from tdfusion_ros.tools.calibrate.orientation import orientation
from tdfusion_ros.tools.calibrate.patch_matching import clear_peak
from tdfusion_ros.tools.calibrate.picked import read_points
from tdfusion_ros.tools.calibrate.plausibility import check_estimate
from tdfusion_ros.tools.calibrate.samples import some_pairs

SIZE = 480, 640


def warp(shift=(16.0, 12.0), turn_deg=3.0, zoom=1.05):
    matrix = cv2.getRotationMatrix2D((319.5, 239.5), turn_deg, zoom)
    matrix[:, 2] += shift
    return np.vstack([matrix, [0, 0, 1]])


def warped(pairs, matrix):
    return [(rgb, cv2.warpPerspective(ir, matrix, SIZE[::-1])) for rgb, ir in pairs]


def apart_px(first, second):
    points = grid(SIZE)
    return float(np.median(errors(first, points, mapped(second, points))))


@pytest.fixture(scope='module')
def pairs(demo_pairs):
    """Return eight pairs of the demo, by day and by night."""
    return some_pairs([NamedPair('', match) for match in demo_pairs], 8, IrConfig()).gray


@pytest.fixture(scope='module')
def shared(root):
    folder = root.parent / 'shared' / 'data'
    if not folder.is_dir():
        pytest.skip(f'{folder} is not on this machine')
    return folder


def test_a_known_warp_of_several_pairs_is_found_within_2_px(pairs):
    own = calibrate(pairs, np.eye(3))  # the data set's own misregistration, about 4 px
    found = calibrate(warped(pairs, warp()))
    check_estimate(found, SIZE, SIZE)
    assert apart_px(warp(), np.eye(3)) > 20
    assert apart_px(found.matrix, warp() @ own.matrix) < 2
    assert apart_px(found.matrix, warp()) < 6


def test_a_registered_sequence_of_one_rig_is_calibrated_below_2_px(shared):
    folder = shared / 'm3svd_seq' / '0115_1834'
    pairs = some_pairs(FolderSource(folder / 'vi', folder / 'ir'), 4, IrConfig()).gray
    found = calibrate(warped(pairs, warp()))
    check_estimate(found, SIZE, SIZE)
    assert apart_px(found.matrix, warp()) < 2


@pytest.mark.parametrize(('name', 'limit_px'), [('01', 2), ('00', 4)])
def test_a_single_pair_that_is_40_px_off_is_calibrated_to_its_landmarks(shared, name, limit_px):
    folder = shared / 'misreg_landmarks'
    rgb = cv2.imread(str(folder / 'vi' / f'{name}.png'), cv2.IMREAD_GRAYSCALE)
    ir = cv2.imread(str(folder / 'ir' / f'{name}.png'), cv2.IMREAD_GRAYSCALE)
    found = calibrate([(rgb, ir.astype(np.float32) / 255)])
    check_estimate(found, rgb.shape, ir.shape)
    points = read_points(folder / 'landmarks' / f'{name}.json')
    assert np.median(errors(np.eye(3), points.rgb_xy, points.ir_xy)) > 35
    assert np.median(errors(found.matrix, points.rgb_xy, points.ir_xy)) < limit_px


def test_images_that_do_not_belong_together_are_refused(pairs):
    strangers = [(pairs[i][0], pairs[i + 4][1]) for i in range(4)]
    with pytest.raises(CalibrationError, match=r'(not trustworthy|too few).*--points'):
        check_estimate(calibrate(strangers, np.eye(3)), SIZE, SIZE)


def test_images_without_anything_in_them_are_refused():
    gray = np.full((120, 160), 90, np.uint8)
    with pytest.raises(CalibrationError, match='too few for a transform'):
        calibrate([(gray, gray.astype(np.float32) / 255)])


def test_a_rough_start_takes_the_place_of_the_search(pairs):
    far = warp(shift=(-250.0, 20.0), turn_deg=20.0, zoom=0.9)  # beyond what is searched
    rough = far.copy()
    rough[:2, 2] += (6, -5)
    some = warped(pairs[:4], far)
    assert apart_px(calibrate(some, rough).matrix, far) < 8


def test_bright_on_dark_and_dark_on_bright_edges_look_the_same(pairs):
    rgb = pairs[0][0]
    np.testing.assert_allclose(orientation(rgb), orientation(255 - rgb), atol=1e-4)


def test_a_place_that_is_not_clearly_best_is_no_match():
    y, x = np.mgrid[0:25, 0:25]
    peak = np.exp(-((x - 12.3) ** 2 + (y - 8.6) ** 2) / 8).astype(np.float32)
    assert clear_peak(peak) == pytest.approx((12.3, 8.6), abs=0.05)
    edge = np.exp(-((x - 12) ** 2) / 8).astype(np.float32)  # along an edge all is alike
    assert clear_peak(edge) is None
    assert clear_peak(np.maximum(peak, 0.9 * np.roll(peak, 10, axis=0))) is None
    assert clear_peak(0.2 * peak) is None
