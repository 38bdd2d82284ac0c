"""Calibrate from image pairs alone: search, match, fit, and measure on held-out halves."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from tdfusion_ros.core.calibration import Size
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.tools.calibrate.image_pairs import GrayPair
from tdfusion_ros.tools.calibrate.matching import match
from tdfusion_ros.tools.calibrate.matching import Matches
from tdfusion_ros.tools.calibrate.matching import search
from tdfusion_ros.tools.calibrate.matching import working_grid
from tdfusion_ros.tools.calibrate.transform_fit import errors_px
from tdfusion_ros.tools.calibrate.transform_fit import MODELS
from tdfusion_ros.tools.calibrate.transform_fit import robust_fit

SEARCH_PAIRS = 8
SCENE_WH, SAME_SCENE = (64, 48), 1.0  # two images of one scene differ by this many gray levels
LIMIT_PX = 3.0  # matches with a larger error do not count; on the working grid
# Model, half a patch's width and its reach: wide first, then closer.
ROUNDS = (('similarity', 28, 16), ('affine', 24, 12))
# The last round reaches far again: by chance few matches agree within LIMIT_PX of it.
HALF_PX, REACH_PX = 24, 16
SQUARES = 4  # the halves of a single pair are the colors of a chessboard with 4 x 4 squares
BETTER = 0.95  # required held-out cost of a richer model, as a part of the simpler model's


@dataclass(frozen=True, eq=False)
class Estimate:
    """
    A transform found from pairs, and how well fits of half the matches predict the other half.

    :param matrix: (3, 3), ir pixel = matrix * rgb pixel.
    :param limit_px: matches within this error are inliers [ir px].
    :param inliers: (n,) bool, by match.
    :param halves: the (3, 3) transforms fitted to each half of the matches.
    :param held_out_px: (n,) error of each match under the fit to the other half [ir px].
    """

    model: str
    matrix: np.ndarray
    limit_px: float
    matches: Matches
    inliers: np.ndarray
    halves: tuple[np.ndarray, np.ndarray]
    held_out_px: np.ndarray

    @property
    def cost_px(self) -> float:
        """Mean held-out error, each at most the limit [ir px]."""
        return float(np.minimum(self.held_out_px, self.limit_px).mean())


def calibrate(
    pairs: Sequence[GrayPair], start: np.ndarray | None = None, models: Sequence[str] = MODELS
) -> Estimate:
    """
    Estimate which ir pixel belongs to each rgb pixel.

    :param pairs: (rgb, ir), each (H, W); all of one size per camera, of one rig.
    :param start: (3, 3), a rough transform, if one is known.
    :raises CalibrationError: if too little of the images matches.
    """
    pairs = _of_different_scenes(pairs)
    start = _search(pairs) if start is None else start
    rgb_hw = pairs[0][0].shape[:2]
    matrix, limit_px = start, LIMIT_PX * working_grid(start, rgb_hw)[1]
    for model, half_px, reach_px in ROUNDS:
        matches = match(pairs, matrix, half_px=half_px, reach_px=reach_px)
        closer = robust_fit(model, matches.rgb_xy, matches.ir_xy, limit_px)
        matrix = matrix if closer is None else closer
    matches = match(pairs, matrix, half_px=HALF_PX, reach_px=REACH_PX)
    return estimate(matches, _first_half(matches, rgb_hw), limit_px, models)


def _search(pairs: Sequence[GrayPair]) -> np.ndarray:
    """Return the candidate of the rough search, (3, 3), under which the most patches agree."""
    chosen = np.linspace(0, len(pairs) - 1, min(SEARCH_PAIRS, len(pairs))).round().astype(int)
    some, (model, half_px, reach_px) = [pairs[i] for i in chosen], ROUNDS[0]

    def agreeing(matrix: np.ndarray) -> int:
        limit_px = LIMIT_PX * working_grid(matrix, some[0][0].shape[:2])[1]
        matches = match(some, matrix, half_px=half_px, reach_px=reach_px)
        fit = robust_fit(model, matches.rgb_xy, matches.ir_xy, limit_px)
        if fit is None:
            return 0
        return int(np.sum(errors_px(fit, matches.rgb_xy, matches.ir_xy) <= limit_px))

    return max(search(some), key=agreeing)


def _of_different_scenes(pairs: Sequence[GrayPair]) -> list[GrayPair]:
    """Leave out the pairs whose rgb image repeats the one before: they are no further evidence."""
    kept: list[GrayPair] = []
    before = None
    for rgb, ir in pairs:
        small = cv2.resize(rgb, SCENE_WH, interpolation=cv2.INTER_AREA)
        if before is None or float(cv2.absdiff(small, before).mean()) > SAME_SCENE:
            kept.append((rgb, ir))
            before = small
    return kept


def estimate(
    matches: Matches, half: np.ndarray, limit_px: float, models: Sequence[str] = MODELS
) -> Estimate:
    """
    Fit the simplest model that no richer one clearly beats on held-out matches.

    :param half: (n,) bool, which half each match belongs to.
    :param limit_px: matches with a larger error do not count [ir px].
    :raises CalibrationError: if there are too few matches.
    """
    best = None
    for found in (_fit(model, matches, half, limit_px) for model in models):
        if found and (best is None or found.cost_px < BETTER * best.cost_px):
            best = found
    if best is None:
        raise CalibrationError(
            f'only {len(matches)} places were found in both images, too few for a transform; use '
            'more pairs with edges that both cameras see (buildings, vehicles, people), give '
            '--start, or pick points (--points)'
        )
    return best


def _first_half(matches: Matches, rgb_hw: Size) -> np.ndarray:
    """Return (n,) bool: matches of the first pairs, or in half the squares of a single pair."""
    last = matches.pair.max(initial=0)
    if last > 0:
        return matches.pair <= last // 2
    square = (matches.rgb_xy / np.array(rgb_hw[::-1]) * SQUARES).astype(int)
    return square.sum(axis=1) % 2 == 0


def _fit(model: str, matches: Matches, half: np.ndarray, limit_px: float) -> Estimate | None:
    """Fit all matches and each half of them; None if they are too few for that."""
    rgb_xy, ir_xy = matches.rgb_xy, matches.ir_xy
    matrix, first, second = (
        robust_fit(model, rgb_xy[side], ir_xy[side], limit_px)
        for side in (np.ones_like(half), half, ~half)
    )
    if matrix is None or first is None or second is None:
        return None
    by_first, by_second = errors_px(first, rgb_xy, ir_xy), errors_px(second, rgb_xy, ir_xy)
    held_out_px = np.where(half, by_second, by_first)
    inliers = errors_px(matrix, rgb_xy, ir_xy) <= limit_px
    return Estimate(model, matrix, limit_px, matches, inliers, (first, second), held_out_px)
