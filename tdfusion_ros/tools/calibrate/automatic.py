"""Calibrate from the pairs alone: search, match, fit, and measure on held-out halves."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.tools.calibrate.fit import best_model
from tdfusion_ros.tools.calibrate.fit import errors
from tdfusion_ros.tools.calibrate.fit import MODELS
from tdfusion_ros.tools.calibrate.fit import robust
from tdfusion_ros.tools.calibrate.fit import Split
from tdfusion_ros.tools.calibrate.patch_matching import GrayPair
from tdfusion_ros.tools.calibrate.patch_matching import ir_per_grid_px
from tdfusion_ros.tools.calibrate.patch_matching import match
from tdfusion_ros.tools.calibrate.patch_matching import Matches
from tdfusion_ros.tools.calibrate.search import search

SEARCH_PAIRS = 8
LIMIT_PX = 3.0  # matches farther off do not count; on the working grid
# Model, half a patch's width and its reach: wide first, then closer.
ROUNDS = (('similarity', 28, 16), ('affine', 24, 12))
# The last round reaches far again: by chance few matches agree within LIMIT_PX of it.
HALF_PX, REACH_PX = 24, 16
BLOCKS = 4  # a single pair is halved like a chess board of so many squares a side


@dataclass(frozen=True, eq=False)
class Estimate:
    """
    A transform found from pairs.

    :param matrix: (3, 3), ir pixel = matrix · rgb pixel.
    :param limit_px: matches within this are inliers [ir px].
    :param inliers: (n,) bool, by match.
    :param held_out: the same kind of transform on halves; ``halved_by`` says how they were made.
    """

    matrix: np.ndarray
    limit_px: float
    matches: Matches
    inliers: np.ndarray
    held_out: Split
    halved_by: str


def calibrate(
    pairs: Sequence[GrayPair],
    start: np.ndarray | None = None,
    models: Sequence[str] = MODELS,
) -> Estimate:
    """
    Estimate where rgb pixels lie in ir.

    :param pairs: (rgb, ir), each (H, W); all of one size per camera, of one rig.
    :param start: (3, 3), about where, if it is known.
    :raises CalibrationError: if too little of the images matches.
    """
    if start is None:
        some = np.linspace(0, len(pairs) - 1, min(SEARCH_PAIRS, len(pairs))).round().astype(int)
        start = search([pairs[i] for i in some])
    rgb_hw = pairs[0][0].shape[:2]
    matrix, limit_px = start, LIMIT_PX * ir_per_grid_px(start, rgb_hw)
    for model, half_px, reach_px in ROUNDS:
        matches = match(pairs, matrix, half_px=half_px, reach_px=reach_px)
        closer = robust(model, matches.rgb_xy, matches.ir_xy, limit_px)
        matrix = matrix if closer is None else closer
    matches = match(pairs, matrix, half_px=HALF_PX, reach_px=REACH_PX)
    half, halved_by = _halves(matches, rgb_hw)
    split = best_model(matches, half, limit_px, models)
    found = split and robust(split.model, matches.rgb_xy, matches.ir_xy, limit_px)
    if split is None or found is None:
        raise CalibrationError(
            f'only {len(matches)} places were found in both images of {len(pairs)} pairs, too few '
            'for a transform; take more pairs with edges that both cameras see (buildings, '
            'vehicles, people), give --start, or pick points (--points)'
        )
    inliers = errors(found, matches.rgb_xy, matches.ir_xy) <= limit_px
    return Estimate(found, limit_px, matches, inliers, split, halved_by)


def _halves(matches: Matches, rgb_hw: tuple[int, int]) -> tuple[np.ndarray, str]:
    """Return (n,) bool and its name: first and last pairs, or squares of a single one."""
    last = matches.pair.max(initial=0)
    if last > 0:
        return matches.pair <= last // 2, 'first and last pairs'
    square = (matches.rgb_xy / np.array(rgb_hw[::-1]) * BLOCKS).astype(int)
    return square.sum(axis=1) % 2 == 0, 'squares of the one pair, like a chess board'
