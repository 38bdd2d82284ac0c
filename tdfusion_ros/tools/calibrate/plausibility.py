"""Refuse implausible calibrations: a wrong one that looks right costs more than none."""

import numpy as np

from tdfusion_ros.core.calibration import Size
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.core.registration import inside
from tdfusion_ros.tools.calibrate import geometry
from tdfusion_ros.tools.calibrate.automatic import Estimate

MIN_INLIERS = 25
MIN_SHARE = 0.2  # of held-out matches within the limit; random matches reach 3 %
MIN_PARTS = 6  # with matches, of the 16 parts of what both cameras see
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
    parts = _parts_with_inliers(found, rgb_hw, ir_hw)
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
    elif parts < MIN_PARTS:
        reason = f'the matches lie in {parts} of 16 parts of the image, expected {MIN_PARTS}'
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
    points = _visible(found.matrix, rgb_hw, ir_hw)
    first, second = (geometry.mapped(matrix, points) for matrix in found.halves)
    return np.linalg.norm(first - second, axis=1)


def _visible(matrix: np.ndarray, rgb_hw: Size, ir_hw: Size) -> np.ndarray:
    """Return points spread over the part of the rgb image that ir covers."""
    points = geometry.grid(rgb_hw, 41, 31)
    visible = inside(geometry.mapped(matrix, points), ir_hw)
    if not visible.any():
        raise CalibrationError(f'the estimate maps no pixel of rgb into the ir image; {ADVICE}')
    return points[visible]


def _parts_with_inliers(found: Estimate, rgb_hw: Size, ir_hw: Size) -> int:
    """Return in how many of 4 x 4 parts of what both cameras see there are inliers."""
    visible = _visible(found.matrix, rgb_hw, ir_hw)
    low, high = visible.min(axis=0), visible.max(axis=0)
    at = found.matches.rgb_xy[found.inliers]
    return len(np.unique(((at - low) / (high - low + 1) * 4).astype(int), axis=0))
