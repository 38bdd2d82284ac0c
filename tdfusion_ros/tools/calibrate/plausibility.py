"""Refuse implausible calibrations: a wrong one that looks right costs more than none."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tdfusion_ros.core.calibration import Calibration
from tdfusion_ros.core.calibration import Homography
from tdfusion_ros.core.calibration import Size
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.core.registration import inside
from tdfusion_ros.core.registration import rgb_to_ir
from tdfusion_ros.tools.calibrate import geometry
from tdfusion_ros.tools.calibrate.automatic import Estimate
from tdfusion_ros.tools.calibrate.transform_fit import errors_px
from tdfusion_ros.tools.calibrate.transform_fit import fits_without

MIN_INLIERS = 25
MIN_SHARE = 0.2  # of held-out matches within the limit; random matches reach 3 %
PARTS = 16  # of what both cameras see
MIN_PARTS, MIN_PARTS_OF_ONE, GOOD_PARTS = 6, 8, 10  # with matches; of one scene; without a note
ONE_SCENE = 1.5  # factor of the error: depth shifts the matches of one scene together
MAX_APART = 0.015  # between calibrations of the halves, as a part of the ir image's width
MAX_AREA_RATIO = 4.0  # between the magnifications of two corners
MAX_STRETCH = 1.6  # magnification in one direction by that in another

ADVICE = (
    'use more pairs with edges that both cameras see all over the image, give --start, or pick '
    'points (--points)'
)


def check_estimate(found: Estimate, rgb_hw: Size, ir_hw: Size) -> None:
    """Raise CalibrationError for a transform found from pairs that is not trustworthy."""
    count = int(found.inliers.sum())
    share = float(np.mean(found.held_out_px <= found.limit_px))
    apart_px = float(np.median(halves_apart_px(found, rgb_hw, ir_hw)))
    max_apart_px = max(found.limit_px, MAX_APART * ir_hw[1])
    expected = expected_error(found, rgb_hw, ir_hw)
    if count < MIN_INLIERS:
        reason = f'only {count} matches agree, expected at least {MIN_INLIERS}'
    elif share < MIN_SHARE:
        reason = (
            f'only {share:.0%} of the held-out matches agree, expected at least {MIN_SHARE:.0%} '
            '(do the images of a pair belong together?)'
        )
    elif not apart_px <= max_apart_px:
        reason = (
            f'calibrations of the two halves differ by {apart_px:.1f} px, expected at most '
            f'{max_apart_px:.1f} (was the rig moved, or is the scene near and deep?)'
        )
    elif expected.parts < (parts := MIN_PARTS_OF_ONE if expected.one_scene else MIN_PARTS):
        scene = ' of one scene' if expected.one_scene else ''
        reason = f'the matches{scene} lie in {expected.parts} of 16 parts of the image, expected '
        reason += str(parts)
    elif not expected.median_px <= max_apart_px:
        reason = (
            f'the expected error is {expected.median_px:.1f} px, the limit {max_apart_px:.1f} px'
        )
    else:
        return check_transform(found.matrix, rgb_hw, ir_hw)
    raise CalibrationError(f'the estimate is not trustworthy: {reason}; {ADVICE}')


def check_transform(matrix: np.ndarray, rgb_hw: Size, ir_hw: Size) -> None:
    """Raise CalibrationError for a transform that no two cameras side by side have."""
    depths = geometry.grid(rgb_hw) @ matrix[2, :2] + matrix[2, 2]
    corners = geometry.grid(rgb_hw, 2, 2)
    around = geometry.jacobians(matrix, np.vstack([geometry.center(rgb_hw), corners]))
    areas = np.linalg.det(around)
    zoom = float(np.sqrt(abs(areas[0]))) * rgb_hw[1] / ir_hw[1]
    if not np.isfinite(areas).all() or depths.min() <= 0 < depths.max():
        reason = 'part of the image lies beyond its horizon'
    elif areas[0] < 0:
        reason = 'it mirrors the image (if one camera is flipped, flip its image first)'
    elif areas.max() > MAX_AREA_RATIO * areas.min():
        reason = f'it magnifies one corner {areas.max() / areas.min():.1f} times more than another'
    elif (stretch := np.divide(*np.linalg.svd(around[0], compute_uv=False))) > MAX_STRETCH:
        reason = f'it stretches the image {stretch:.1f} times in one direction'
    elif not 0.2 < zoom < 5:
        reason = f'it zooms ir {zoom:.2f} times relative to rgb'
    else:
        return
    raise CalibrationError(f'the estimate is not trustworthy: {reason}; {ADVICE}')


def halves_apart_px(found: Estimate, rgb_hw: Size, ir_hw: Size) -> np.ndarray:
    """Return (n,) distances between the halves' transforms, spread over what both cameras see."""
    points = visible(Homography(found.matrix), rgb_hw, ir_hw)
    first, second = (geometry.mapped(matrix, points) for matrix in found.halves)
    return np.linalg.norm(first - second, axis=1)


def visible(calibration: Calibration, rgb_hw: Size, ir_hw: Size) -> np.ndarray:
    """Return points spread over the part of the rgb image that ir covers."""
    points = geometry.grid(rgb_hw, 41, 31)
    is_visible = inside(rgb_to_ir(calibration, points, rgb_hw, ir_hw), ir_hw)
    if not is_visible.any():
        raise CalibrationError(f'the estimate maps no pixel of rgb into the ir image; {ADVICE}')
    return points[is_visible]


def parts_of(at: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return (n,) in which of 4 x 4 parts of what the points (m, 2) cover (n, 2) others lie."""
    low, high = points.min(axis=0), points.max(axis=0)
    column, row = ((at - low) / (high - low + 1) * 4).astype(int).clip(0, 3).T
    return column + 4 * row


@dataclass(frozen=True, eq=False)
class ExpectedError:
    """
    What to expect of a transform where the cameras see, also where nothing matched.

    :param parts: how many of 16 parts of the image have matches.
    :param one_scene: whether all pairs show the same.
    :param median_px, worst_px: of the error [ir px].
    """

    parts: int
    one_scene: bool
    median_px: float
    worst_px: float


def expected_error(found: Estimate, rgb_hw: Size, ir_hw: Size) -> ExpectedError:
    """
    Fit without each part of the image in turn, and compare: in a still scene, only places differ.

    The error is the larger one of the jackknife's standard error over the image (Efron and
    Tibshirani, An Introduction to the Bootstrap, chapter 11) and of the matches that were left
    out; larger if parts of the image have no matches, or if all pairs show one scene.
    """
    points = visible(Homography(found.matrix), rgb_hw, ir_hw)
    rgb_xy, ir_xy = found.matches.rgb_xy[found.inliers], found.matches.ir_xy[found.inliers]
    part = parts_of(rgb_xy, points)
    images, left_out_px = [], []
    names = np.unique(part)
    for own, matrix in fits_without(found.model, rgb_xy, ir_xy, part):
        if matrix is None:
            return ExpectedError(len(names), False, np.inf, np.inf)
        images.append(geometry.mapped(matrix, points))
        left_out_px.append(np.median(errors_px(matrix, rgb_xy[own], ir_xy[own])))
    if len(names) < 2:
        return ExpectedError(len(names), False, np.inf, np.inf)
    errors = standard_errors_px(images)
    wider = np.sqrt(PARTS / len(names))
    one_scene = not found.matches.pair.any()
    wider *= ONE_SCENE if one_scene else 1
    median_px = max(np.median(errors), np.median(left_out_px))
    worst_px = max(errors.max(), *left_out_px)
    return ExpectedError(len(names), one_scene, float(wider * median_px), float(wider * worst_px))


def standard_errors_px(images: Sequence[np.ndarray]) -> np.ndarray:
    """Return (n,) errors of where (n, 2) points lie in n fits, each without a part (jackknife)."""
    spread = np.array(images) - np.mean(images, axis=0)
    return np.sqrt((1 - 1 / len(images)) * (spread**2).sum(axis=(0, 2)))
