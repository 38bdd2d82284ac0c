"""
Fit a transform to places seen in both images, and measure it on places it was not fitted to.

Robust fits: OpenCV's RANSAC and MAGSAC++. A richer transform is taken only where it is better on
what was held out: on few or badly spread points it would follow their errors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from tdfusion_ros.tools.calibrate.geometry import mapped
from tdfusion_ros.tools.calibrate.patch_matching import Matches

MODELS = ('similarity', 'affine', 'homography')  # each is a case of the next
LEAST_POINTS = {'similarity': 2, 'affine': 3, 'homography': 4}
BETTER = 0.95  # held-out error of a richer transform, as a part of the simpler one's
CONFIDENCE = 0.999
ROUNDS = 5000
# RANSAC takes one of the planes of a deep scene, another one each time; weighing every match by
# its error (Cauchy) settles between them.
POLISHINGS = 20


@dataclass(frozen=True, eq=False)
class Split:
    """
    A transform measured on places that it was not fitted to.

    :param errors_px: (n,) of every match under the transform fitted to the other half [ir px].
    :param halves: the (3, 3) transforms of the halves.
    """

    model: str
    errors_px: np.ndarray
    halves: tuple[np.ndarray, np.ndarray]

    def cost(self, limit_px: float) -> float:
        """Return the mean error; what lies beyond the limit costs the limit."""
        return float(np.minimum(self.errors_px, limit_px).mean())


def exact(
    model: str, rgb_xy: np.ndarray, ir_xy: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray | None:
    """
    Return the (3, 3) transform with the least squared error; None if points do not determine it.

    :param rgb_xy: (n, 2) with n at least ``LEAST_POINTS[model]``.
    :param weights: (n,) of the squares; a homography takes none.
    """
    spread = np.linalg.svd(rgb_xy - rgb_xy.mean(axis=0), compute_uv=False)
    if spread[-1 if model != 'similarity' else 0] < 1e-3 * max(spread[0], 1e-9) + 1e-9:
        return None
    if model == 'homography':
        return _finite(cv2.findHomography(rgb_xy, ir_xy, 0)[0])
    one = np.ones(len(rgb_xy)) if weights is None else np.sqrt(weights)
    (x, y), none = rgb_xy.T * one, np.zeros_like(one)
    ir_xy = ir_xy * one[:, None]
    if model == 'similarity':  # u = a x - b y + c, v = b x + a y + d
        rows = np.block([[np.stack([x, -y, one, none], 1)], [np.stack([y, x, none, one], 1)]])
        a, b, c, d = np.linalg.lstsq(rows, ir_xy.T.ravel(), rcond=None)[0]
        return np.array([[a, -b, c], [b, a, d], [0, 0, 1]])
    two = np.linalg.lstsq(np.stack([x, y, one], 1), ir_xy, rcond=None)[0].T
    return np.vstack([two, [0, 0, 1]])


def robust(
    model: str, rgb_xy: np.ndarray, ir_xy: np.ndarray, limit_px: float
) -> np.ndarray | None:
    """
    Return the (3, 3) transform that most matches agree on; None if there is none.

    :param limit_px: matches farther off than this do not count [ir px].
    """
    if len(rgb_xy) < 2 * LEAST_POINTS[model]:
        return None
    rgb_xy, ir_xy = np.ascontiguousarray(rgb_xy), np.ascontiguousarray(ir_xy)
    how = {
        'ransacReprojThreshold': limit_px,
        'maxIters': ROUNDS,
        'confidence': CONFIDENCE,
    }
    if model == 'homography':
        return _finite(cv2.findHomography(rgb_xy, ir_xy, cv2.USAC_MAGSAC, **how)[0])
    fit = cv2.estimateAffinePartial2D if model == 'similarity' else cv2.estimateAffine2D
    two, _ = fit(rgb_xy, ir_xy, method=cv2.RANSAC, **how)
    matrix = None if two is None else _finite(np.vstack([two, [0, 0, 1]]))
    for _ in range(POLISHINGS):
        if matrix is not None:
            weights = 1 / (1 + (errors(matrix, rgb_xy, ir_xy) / limit_px) ** 2)
            matrix = exact(model, rgb_xy, ir_xy, weights)
    return matrix


def errors(matrix: np.ndarray, rgb_xy: np.ndarray, ir_xy: np.ndarray) -> np.ndarray:
    """Return (n,) how far each ir point is from where the transform puts it [ir px]."""
    return np.linalg.norm(mapped(matrix, rgb_xy) - ir_xy, axis=1)


def best_model(
    matches: Matches, half: np.ndarray, limit_px: float, models: Sequence[str] = MODELS
) -> Split | None:
    """
    Return the simplest transform that no richer one clearly beats on what was held out.

    :param half: (n,) bool, which half each match belongs to.
    """
    best = None
    for model in models:
        split = _measure(model, matches, half, limit_px)
        if split is not None and (
            best is None or split.cost(limit_px) < BETTER * best.cost(limit_px)
        ):
            best = split
    return best


def _measure(model: str, matches: Matches, half: np.ndarray, limit_px: float) -> Split | None:
    held_out, fitted = np.empty(len(matches)), []
    for side in (half, ~half):
        train, test = matches.only(side), matches.only(~side)
        matrix = robust(model, train.rgb_xy, train.ir_xy, limit_px)
        if matrix is None or not len(test):
            return None
        held_out[~side] = errors(matrix, test.rgb_xy, test.ir_xy)
        fitted.append(matrix)
    return Split(model, held_out, (fitted[0], fitted[1]))


def leave_one_out(model: str, rgb_xy: np.ndarray, ir_xy: np.ndarray) -> np.ndarray | None:
    """Return (n,) how far each point is from where all others put it; None if undetermined."""
    if len(rgb_xy) <= LEAST_POINTS[model]:
        return None
    out = np.empty(len(rgb_xy))
    for i in range(len(rgb_xy)):
        others = np.arange(len(rgb_xy)) != i
        matrix = exact(model, rgb_xy[others], ir_xy[others])
        if matrix is None:
            return None
        out[i] = errors(matrix, rgb_xy[i : i + 1], ir_xy[i : i + 1])[0]
    return out


def _finite(matrix: np.ndarray | None) -> np.ndarray | None:
    if matrix is None or not np.isfinite(matrix).all() or abs(matrix[2, 2]) < 1e-12:
        return None
    return matrix / matrix[2, 2]
