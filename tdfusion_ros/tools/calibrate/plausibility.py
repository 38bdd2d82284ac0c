"""Refuse what cannot be right: a wrong calibration that looks like one costs more than none."""

import numpy as np

from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.tools.calibrate.automatic import Estimate
from tdfusion_ros.tools.calibrate.geometry import grid
from tdfusion_ros.tools.calibrate.geometry import inside
from tdfusion_ros.tools.calibrate.geometry import magnification
from tdfusion_ros.tools.calibrate.geometry import mapped
from tdfusion_ros.tools.calibrate.geometry import Size

LEAST_INLIERS = 25
LEAST_SHARE = (
    0.2  # of held-out matches; by chance 3 % lie within the limit of where they are sought
)
LEAST_SPREAD = 6  # of the 16 parts of what both cameras see
MOST_APART = 0.015  # halves calibrated apart, as a part of the ir image's width
MOST_BENT = 4.0  # how much larger a corner may become than another, in area
MOST_ASKEW = 1.6  # how much longer the image may become in one direction than in the other

ADVICE = (
    'take more pairs with edges that both cameras see all over the image, give --start, or pick '
    'points (--points)'
)


def check_estimate(estimate: Estimate, rgb_hw: Size, ir_hw: Size) -> None:
    """
    Refuse a transform that was found from pairs and is not trustworthy.

    :raises CalibrationError: saying what is wrong with it.
    """
    count = int(estimate.inliers.sum())
    share = held_out_share(estimate)
    spread = _spread(estimate, rgb_hw, ir_hw)
    apart_px = float(np.median(halves_apart_px(estimate, rgb_hw, ir_hw)))
    limit_px = max(estimate.limit_px, MOST_APART * ir_hw[1])
    if count < LEAST_INLIERS:
        wrong = f'only {count} matches agree, expected {LEAST_INLIERS}'
    elif share < LEAST_SHARE:
        wrong = (
            f'only {share:.0%} of the held-out matches agree, expected {LEAST_SHARE:.0%} '
            '(do the images of a pair belong together?)'
        )
    elif not apart_px <= limit_px:
        wrong = (
            f'the two halves of the matches, calibrated apart, differ by {apart_px:.1f} px, '
            f'expected at most {limit_px:.1f} (was the rig moved, or is the scene near and deep?)'
        )
    elif spread < LEAST_SPREAD:
        wrong = f'the matches lie in {spread} of 16 parts of the image, expected {LEAST_SPREAD}'
    else:
        return check_transform(estimate.matrix, rgb_hw, ir_hw)
    raise CalibrationError(f'the estimate is not trustworthy: {wrong}; {ADVICE}')


def check_transform(matrix: np.ndarray, rgb_hw: Size, ir_hw: Size) -> None:
    """
    Refuse a transform that no two cameras side by side have.

    :raises CalibrationError: saying what is wrong with it.
    """
    areas = magnification(matrix, rgb_hw)
    singular = np.linalg.svd(jacobian(matrix, rgb_hw), compute_uv=False)
    zoom = float(np.sqrt(abs(areas[0]))) * rgb_hw[1] / ir_hw[1]
    depths = np.column_stack([grid(rgb_hw), np.ones(len(grid(rgb_hw)))]) @ matrix[2]
    if not np.isfinite(areas).all() or depths.min() <= 0 < depths.max():
        wrong = 'part of the image lies beyond its horizon'
    elif areas[0] < 0:
        wrong = 'it mirrors the image (is one camera flipped? then flip its image back first)'
    elif areas.max() > MOST_BENT * areas.min():
        wrong = f'one corner becomes {areas.max() / areas.min():.1f} times as large as another'
    elif singular[0] > MOST_ASKEW * singular[1]:
        wrong = f'it stretches the image {singular[0] / singular[1]:.1f} times in one direction'
    elif not 0.2 < zoom < 5:
        wrong = f'ir would be zoomed {zoom:.2f} times against rgb'
    else:
        return
    raise CalibrationError(f'the estimate is not trustworthy: {wrong}; {ADVICE}')


def jacobian(matrix: np.ndarray, rgb_hw: Size) -> np.ndarray:
    """Return (2, 2): how ir pixels follow rgb pixels at the center of the image."""
    x, y = (rgb_hw[1] - 1) / 2, (rgb_hw[0] - 1) / 2
    around = mapped(matrix, np.array([[x + 0.5, y], [x - 0.5, y], [x, y + 0.5], [x, y - 0.5]]))
    return np.stack([around[0] - around[1], around[2] - around[3]], axis=1)


def held_out_share(estimate: Estimate) -> float:
    """Return the part of the held-out matches within the limit."""
    return float(np.mean(estimate.held_out.errors_px <= estimate.limit_px))


def halves_apart_px(estimate: Estimate, rgb_hw: Size, ir_hw: Size) -> np.ndarray:
    """Return how far apart the halves' transforms are, over the image as far as ir sees it."""
    points = _seen(estimate.matrix, rgb_hw, ir_hw)
    first, second = (mapped(matrix, points) for matrix in estimate.held_out.halves)
    return np.linalg.norm(first - second, axis=1)


def _seen(matrix: np.ndarray, rgb_hw: Size, ir_hw: Size) -> np.ndarray:
    """Return points spread over the part of the rgb image that ir covers."""
    points = grid(rgb_hw, 41, 31)
    seen = inside(mapped(matrix, points), ir_hw)
    if not seen.any():
        raise CalibrationError(f'the estimate maps no pixel of rgb into the ir image; {ADVICE}')
    return points[seen]


def _spread(estimate: Estimate, rgb_hw: Size, ir_hw: Size) -> int:
    """Return in how many of 4 x 4 parts of what both cameras see there are inliers."""
    seen = _seen(estimate.matrix, rgb_hw, ir_hw)
    low, high = seen.min(axis=0), seen.max(axis=0)
    at = estimate.matches.rgb_xy[estimate.inliers]
    parts = ((at - low) / (high - low + 1) * 4).astype(int)
    return len(set(map(tuple, parts.tolist())))
