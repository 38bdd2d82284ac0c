"""What is said of a calibration: in the terminal, and as comments of its file."""

from collections.abc import Sequence

import numpy as np

from tdfusion_ros.tools.calibrate.automatic import Estimate
from tdfusion_ros.tools.calibrate.distance import DISTANCES_M
from tdfusion_ros.tools.calibrate.geometry import Size
from tdfusion_ros.tools.calibrate.picked import Fitted
from tdfusion_ros.tools.calibrate.plausibility import halves_apart_px
from tdfusion_ros.tools.calibrate.plausibility import jacobian


def of_estimate(estimate: Estimate, pairs: int, rgb_hw: Size, ir_hw: Size) -> list[str]:
    """Return the figures of a transform found from pairs."""
    limit_px, errors_px = estimate.limit_px, estimate.held_out.errors_px
    agree = errors_px[errors_px <= limit_px]
    apart_px = halves_apart_px(estimate, rgb_hw, ir_hw)
    return [
        f'from {pairs} pairs: {len(estimate.matches)} matches, {estimate.inliers.sum()} inliers '
        f'(within {limit_px:.1f} ir px)',
        f'held out ({estimate.halved_by}): {len(agree) / len(errors_px):.0%} of the matches '
        f'within {limit_px:.1f} px, of these median {np.median(agree):.2f} px, p95 '
        f'{np.percentile(agree, 95):.2f} px; of all, median {np.median(errors_px):.2f} px',
        f'the halves, calibrated apart, differ by {np.median(apart_px):.2f} px (median over the '
        f'image), {apart_px.max():.2f} px at most',
        _transform(estimate.held_out.model, estimate.matrix, rgb_hw),
    ]


def of_points(fitted: Fitted, rgb_hw: Size | None) -> list[str]:
    """Return the figures of a transform fitted to picked points."""
    off = fitted.left_out_px
    lines = [
        f'from {len(off)} picked points: each put by the others, median {np.median(off):.2f} ir '
        f'px, p95 {np.percentile(off, 95):.2f} px, worst point {int(off.argmax()) + 1} with '
        f'{off.max():.2f} px'
    ]
    return [*lines, _transform(fitted.model, fitted.matrix, rgb_hw)] if rgb_hw else lines


def by_distance(errors_px: Sequence[float] | None, why_not: str = '') -> list[str]:
    """Return the table of errors by distance, or why there is none."""
    if errors_px is None:
        return [f'error by distance: not computable without {why_not}']
    names = ['infinity' if np.isinf(d) else f'{d:g} m' for d in DISTANCES_M]
    return [
        'error by distance, where the scene is not at the distance that the images line up at:',
        '  distance ' + ''.join(f'{name:>10}' for name in names),
        '  ir px    ' + ''.join(f'{error:>10.1f}' for error in errors_px),
    ]


def _transform(model: str, matrix: np.ndarray, rgb_hw: Size) -> str:
    across, _ = jacobian(matrix, rgb_hw).T
    zoom = np.sqrt(abs(np.linalg.det(jacobian(matrix, rgb_hw))))
    angle = np.degrees(np.arctan2(across[1], across[0]))
    return f'{model}: {zoom:.3f} ir px per rgb px, turned by {angle:.1f} degrees'
