"""
Fit a transform to places visible in both images, and measure it on places left out of the fit.

Robust fits use RANSAC and MAGSAC++ of OpenCV. A transform with more parameters is taken only if
its held-out error is lower: on few or badly spread points it would follow their errors.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from tdfusion_ros.tools.calibrate.geometry import mapped

MODELS = ('similarity', 'affine', 'homography')  # each is a case of the next
MIN_POINTS = {'similarity': 2, 'affine': 3, 'homography': 4}
ROUNDS, CONFIDENCE = 5000, 0.999  # of RANSAC
# RANSAC takes one of the planes of a deep scene, another one each time; Cauchy weights on all
# matches settle between the planes.
CAUCHY_ROUNDS = 20


@dataclass(frozen=True, eq=False)
class Fit:
    """
    A transform: ir pixel = matrix * rgb pixel.

    :param held_out_px: (n,) error of each point under a fit to the other groups [ir px].
    """

    model: str
    matrix: np.ndarray
    held_out_px: np.ndarray

    @property
    def median_px(self) -> float:
        """Median held-out error [ir px]."""
        return float(np.median(self.held_out_px))


def least_squares(
    model: str, rgb_xy: np.ndarray, ir_xy: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray | None:
    """Return the (3, 3) transform of the least (weighted) squared error; None: undetermined."""
    if len(rgb_xy) < MIN_POINTS[model]:
        return None
    spread = np.linalg.svd(rgb_xy - rgb_xy.mean(axis=0), compute_uv=False)
    if spread[-1 if model != 'similarity' else 0] < 1e-3 * max(spread[0], 1e-9) + 1e-9:
        return None
    if model == 'homography':
        return _normalized(cv2.findHomography(rgb_xy, ir_xy, 0)[0])
    root = np.ones(len(rgb_xy)) if weights is None else np.sqrt(weights)
    if model == 'similarity':  # a complex number turns and zooms, another one shifts
        rgb, ir = (xy @ np.array([1, 1j]) for xy in (rgb_xy, ir_xy))
        a, b = np.linalg.lstsq(np.stack([rgb * root, root], 1), ir * root, rcond=None)[0]
        return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag], [0, 0, 1]])
    rows = np.column_stack([rgb_xy, np.ones(len(rgb_xy))]) * root[:, None]
    affine = np.linalg.lstsq(rows, ir_xy * root[:, None], rcond=None)[0].T
    return np.vstack([affine, [0, 0, 1]])


def robust_fit(
    model: str, rgb_xy: np.ndarray, ir_xy: np.ndarray, limit_px: float
) -> np.ndarray | None:
    """Return the (3, 3) transform that most matches agree on, within a limit [ir px], or None."""
    if len(rgb_xy) < 2 * MIN_POINTS[model]:
        return None
    rgb, ir = np.ascontiguousarray(rgb_xy), np.ascontiguousarray(ir_xy)
    if model == 'homography':
        magsac = cv2.findHomography(rgb, ir, cv2.USAC_MAGSAC, limit_px, None, ROUNDS, CONFIDENCE)
        return _normalized(magsac[0])
    fit = cv2.estimateAffinePartial2D if model == 'similarity' else cv2.estimateAffine2D
    affine, _ = fit(rgb, ir, None, cv2.RANSAC, limit_px, ROUNDS, CONFIDENCE)
    matrix = None if affine is None else _normalized(np.vstack([affine, [0, 0, 1]]))
    for _ in range(CAUCHY_ROUNDS):
        if matrix is not None:
            weights = 1 / (1 + (errors_px(matrix, rgb_xy, ir_xy) / limit_px) ** 2)
            matrix = least_squares(model, rgb_xy, ir_xy, weights)
    return matrix


def errors_px(matrix: np.ndarray, rgb_xy: np.ndarray, ir_xy: np.ndarray) -> np.ndarray:
    """Return the (n,) distances of ir points from where the transform maps rgb [ir px]."""
    return np.linalg.norm(mapped(matrix, rgb_xy) - ir_xy, axis=1)


def fits_without(
    model: str, rgb_xy: np.ndarray, ir_xy: np.ndarray, groups: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yield (n,) bool, which points are of a group, and the transform of all others, or None."""
    for group in np.unique(groups):
        own = groups == group
        yield own, least_squares(model, rgb_xy[~own], ir_xy[~own])


def fit_held_out(
    model: str, rgb_xy: np.ndarray, ir_xy: np.ndarray, groups: np.ndarray
) -> Fit | None:
    """Fit all points, and each group by the others; None if that is undetermined."""
    matrix, held_out_px = least_squares(model, rgb_xy, ir_xy), np.empty(len(rgb_xy))
    for own, by_others in fits_without(model, rgb_xy, ir_xy, groups):
        if by_others is None:
            return None
        held_out_px[own] = errors_px(by_others, rgb_xy[own], ir_xy[own])
    return None if matrix is None else Fit(model, matrix, held_out_px)


def _normalized(matrix: np.ndarray | None) -> np.ndarray | None:
    if matrix is None or not np.isfinite(matrix).all() or abs(matrix[2, 2]) < 1e-12:
        return None
    return matrix / matrix[2, 2]
