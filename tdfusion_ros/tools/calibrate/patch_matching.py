"""
Match small patches of rgb and ir, given a rough transform.

ir is warped onto a working grid of rgb; then each patch of rgb's edges is searched around its own
place. A match counts only if its best place is clearly better than every other one, which a
straight edge or an empty wall does not have.
"""

from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from tdfusion_ros.core.calibration import Size
from tdfusion_ros.tools.calibrate import geometry
from tdfusion_ros.tools.calibrate.edge_field import edge_field
from tdfusion_ros.tools.calibrate.image_pairs import GrayPair

GRID_PX = 640  # longest side of the working grid, at most
PATCHES = 2000  # over all pairs, approximately
MIN_ENERGY = 0.02  # of edges, per pixel of a patch
MIN_AGREEMENT = 0.25
SECOND_BEST = 0.85  # a second place with this part of the best agreement makes it ambiguous
PEAK_PX = 4  # half the width of a place


@dataclass(frozen=True, eq=False)
class Matches:
    """Places found in both images, (n, 2) each [px], and (n,) the pair that each is from."""

    rgb_xy: np.ndarray
    ir_xy: np.ndarray
    pair: np.ndarray

    def __len__(self) -> int:
        return len(self.rgb_xy)


def working_grid(matrix: np.ndarray, rgb_hw: Size) -> tuple[Size, float]:
    """Return the size of the working grid, and of its pixels [ir px]; it is not finer than ir."""
    area = np.linalg.det(geometry.jacobians(matrix, np.array([geometry.center(rgb_hw)])))[0]
    zoom = float(np.sqrt(abs(area)))
    scale = min(1.0, zoom, GRID_PX / max(rgb_hw))
    return geometry.scaled(rgb_hw, scale), zoom / scale


def match(
    pairs: Sequence[GrayPair], matrix: np.ndarray, *, half_px: int, reach_px: int
) -> Matches:
    """
    Match patches of all pairs.

    :param pairs: (rgb, ir), each (H, W); all of one size per camera.
    :param matrix: (3, 3), roughly: ir pixel = matrix * rgb pixel.
    :param half_px: half the width of a patch; ``reach_px``: largest distance from where the matrix
        maps it; both on the working grid.
    """
    rgb_hw = pairs[0][0].shape[:2]
    grid_hw, _ = working_grid(matrix, rgb_hw)
    to_rgb = geometry.resizing(grid_hw, rgb_hw)
    step = int(np.clip(np.sqrt(grid_hw[0] * grid_hw[1] * len(pairs) / PATCHES), 10, 32))
    found: list[tuple[float, ...]] = []
    for number, (rgb, ir) in enumerate(pairs):
        edges = edge_field(geometry.resized(rgb, grid_hw))
        warped = _warped_edges(ir, matrix @ to_rgb, grid_hw)
        found += [(*p, number) for p in _places(edges, *warped, (half_px, reach_px, step))]
    table = np.array(found, np.float64).reshape(-1, 5)
    rgb_xy, ir_xy, pair = table[:, :2], table[:, 2:4], table[:, 4].astype(int)
    return Matches(geometry.mapped(to_rgb, rgb_xy), geometry.mapped(matrix @ to_rgb, ir_xy), pair)


def _warped_edges(
    ir: np.ndarray, matrix: np.ndarray, grid_hw: Size
) -> tuple[np.ndarray, np.ndarray]:
    """Return the edges of ir on the working grid, (H, W, 2), and where ir is visible."""
    size, back = grid_hw[::-1], cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpPerspective(ir, matrix, size, flags=back, borderMode=cv2.BORDER_REPLICATE)
    covered = cv2.warpPerspective(np.ones(ir.shape, np.float32), matrix, size, flags=back)
    visible = cv2.erode((covered > 0.99).astype(np.float32), np.ones((7, 7)), borderValue=0)
    return edge_field(warped) * visible[..., None], visible


def _places(
    rgb: np.ndarray, ir: np.ndarray, visible: np.ndarray, sizes: tuple[int, int, int]
) -> Iterator[tuple[float, float, float, float]]:
    """Yield x, y of each matched patch in rgb and ir; sizes: half a patch, its reach, the step."""
    half, reach, step = sizes
    margin, width = half + reach, (2 * half + 1,) * 2
    energy = cv2.boxFilter((rgb * rgb).sum(axis=2), -1, width)
    share = cv2.boxFilter(visible, -1, width)
    for y in range(margin, rgb.shape[0] - margin, step):
        for x in range(margin, rgb.shape[1] - margin, step):
            if share[y, x] < 0.95 or energy[y, x] < MIN_ENERGY:
                continue
            patch = rgb[y - half : y + half + 1, x - half : x + half + 1]
            around = ir[y - margin : y + margin + 1, x - margin : x + margin + 1]
            peak = clear_peak(cv2.matchTemplate(around, patch, cv2.TM_CCORR_NORMED))
            if peak is not None:
                yield x, y, x + peak[0] - reach, y + peak[1] - reach


def clear_peak(agreement: np.ndarray) -> tuple[float, float] | None:
    """Return x and y of the best place in (h, w) to a fraction of a pixel; None: ambiguous."""
    _, best, _, (x, y) = cv2.minMaxLoc(agreement)
    inner = 0 < y < agreement.shape[0] - 1 and 0 < x < agreement.shape[1] - 1
    if not inner or best < MIN_AGREEMENT:
        return None
    others = agreement.copy()
    others[max(0, y - PEAK_PX) : y + PEAK_PX + 1, max(0, x - PEAK_PX) : x + PEAK_PX + 1] = -1
    if others.max() > SECOND_BEST * best:
        return None
    return x + _vertex(agreement[y, x - 1 : x + 2]), y + _vertex(agreement[y - 1 : y + 2, x])


def _vertex(values: np.ndarray) -> float:
    """Return where the parabola through three values at -1, 0, 1 has its maximum."""
    before, at, after = map(float, values)
    bend = 2 * at - before - after
    return (after - before) / (2 * bend) if bend > 1e-9 else 0.0
