"""
Match small patches of rgb and ir, once it is roughly known where each lies.

ir is brought onto a working grid of rgb; then each patch of rgb's edges is looked for around its
own place. A patch counts if its best place is clearly better than every other: a straight edge or
an empty wall is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from tdfusion_ros.tools.calibrate.geometry import magnification
from tdfusion_ros.tools.calibrate.geometry import mapped
from tdfusion_ros.tools.calibrate.geometry import resized
from tdfusion_ros.tools.calibrate.geometry import resizing
from tdfusion_ros.tools.calibrate.geometry import times
from tdfusion_ros.tools.calibrate.orientation import orientation

GRID_PX = 640  # the working grid is no larger
PATCHES = 2000  # about so many over all pairs
LEAST_ENERGY = 0.02  # of edges, per pixel of a patch
LEAST_AGREEMENT = 0.25
SECOND_BEST = 0.85  # a second place this good makes the first one doubtful
PEAK_PX = 4  # half the width of a place

GrayPair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Matches:
    """
    Places seen in both images.

    :param rgb_xy: (n, 2) [px].
    :param ir_xy: (n, 2) [px].
    :param pair: (n,) which pair of images each is from.
    """

    rgb_xy: np.ndarray
    ir_xy: np.ndarray
    pair: np.ndarray

    def __len__(self) -> int:
        return len(self.rgb_xy)

    def only(self, which: np.ndarray) -> 'Matches':
        """Return some of them; ``which`` is (n,) bool."""
        return Matches(self.rgb_xy[which], self.ir_xy[which], self.pair[which])


def ir_per_grid_px(matrix: np.ndarray, rgb_hw: tuple[int, int]) -> float:
    """Return the size of a pixel of the working grid [ir px]."""
    zoom = np.sqrt(abs(magnification(matrix, rgb_hw)[0]))
    return float(zoom / _shrink(zoom, rgb_hw))


def match(
    pairs: Sequence[GrayPair], matrix: np.ndarray, *, half_px: int, reach_px: int
) -> Matches:
    """
    Match patches of all pairs.

    :param pairs: (rgb, ir), each (H, W); all of one size per camera.
    :param matrix: (3, 3), about where: ir pixel = matrix · rgb pixel.
    :param half_px: half the width of a patch, on the working grid.
    :param reach_px: how far a patch may be from where the matrix says, likewise.
    """
    rgb_hw = pairs[0][0].shape[:2]
    zoom = np.sqrt(abs(magnification(matrix, rgb_hw)[0]))
    grid_hw = times(rgb_hw, _shrink(zoom, rgb_hw))
    to_rgb = resizing(grid_hw, rgb_hw)
    step = int(np.clip(np.sqrt(grid_hw[0] * grid_hw[1] * len(pairs) / PATCHES), 10, 32))
    found = [(np.zeros((0, 2)), np.zeros((0, 2)))]
    for rgb, ir in pairs:
        fields = _on_grid(rgb, ir, grid_hw, matrix @ to_rgb)
        found.append(_places(*fields, half_px, reach_px, step))
    at, there = (np.concatenate(side) for side in zip(*found, strict=True))
    number = np.repeat(np.arange(-1, len(pairs)), [len(a) for a, _ in found])
    if not len(at):
        return Matches(at, there, number)
    return Matches(mapped(to_rgb, at), mapped(matrix @ to_rgb, there), number)


def _shrink(zoom: float, rgb_hw: tuple[int, int]) -> float:
    """Return working grid over rgb: no finer than ir, or its patches would hold nothing."""
    return float(min(1.0, zoom, GRID_PX / max(rgb_hw)))


def _on_grid(
    rgb: np.ndarray, ir: np.ndarray, grid_hw: tuple[int, int], matrix: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the edges of both images on the working grid, and where ir is seen."""
    size = grid_hw[::-1]
    back = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    there = cv2.warpPerspective(ir, matrix, size, flags=back, borderMode=cv2.BORDER_REPLICATE)
    seen = cv2.warpPerspective(np.ones(ir.shape[:2], np.float32), matrix, size, flags=back) > 0.99
    seen = cv2.erode(seen.astype(np.uint8), np.ones((7, 7)), borderValue=0)
    return orientation(resized(rgb, grid_hw)), orientation(there) * seen[..., None], seen


def _places(
    color: np.ndarray, heat: np.ndarray, seen: np.ndarray, half: int, reach: int, step: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return (n, 2) centers of patches and (n, 2) where they are in ir, on the working grid."""
    margin, width = half + reach, 2 * half + 1
    seen_sum = cv2.integral(seen)
    energy_sum = cv2.integral((color * color).sum(axis=2))
    at, there = [], []
    for y in range(margin, color.shape[0] - margin, step):
        for x in range(margin, color.shape[1] - margin, step):
            box = y - half, x - half, y + half + 1, x + half + 1
            if _sum(seen_sum, *box) < 0.95 * width**2:
                continue
            if _sum(energy_sum, *box) < LEAST_ENERGY * width**2:
                continue
            patch = color[box[0] : box[2], box[1] : box[3]]
            around = heat[y - margin : y + margin + 1, x - margin : x + margin + 1]
            peak = clear_peak(cv2.matchTemplate(around, patch, cv2.TM_CCORR_NORMED))
            if peak is not None:
                at.append((x, y))
                there.append((x + peak[0] - reach, y + peak[1] - reach))
    return np.array(at, np.float64).reshape(-1, 2), np.array(there).reshape(-1, 2)


def clear_peak(agreement: np.ndarray) -> tuple[float, float] | None:
    """
    Return x and y of the best place to a part of a pixel; None if it is doubtful.

    :param agreement: (h, w) float32, at most 1.
    """
    y, x = (int(v) for v in np.unravel_index(agreement.argmax(), agreement.shape))
    best = agreement[y, x]
    inner = 0 < y < agreement.shape[0] - 1 and 0 < x < agreement.shape[1] - 1
    if not inner or best < LEAST_AGREEMENT:
        return None
    others = agreement.copy()
    others[max(0, y - PEAK_PX) : y + PEAK_PX + 1, max(0, x - PEAK_PX) : x + PEAK_PX + 1] = -1
    if others.max() > SECOND_BEST * best:
        return None
    return (
        x + _vertex(agreement[y, x - 1], best, agreement[y, x + 1]),
        y + _vertex(agreement[y - 1, x], best, agreement[y + 1, x]),
    )


def _vertex(before: float, at: float, after: float) -> float:
    """Return where the parabola through three values at -1, 0, 1 is highest."""
    bend = 2 * at - before - after
    return float((after - before) / (2 * bend)) if bend > 1e-9 else 0.0


def _sum(integral: np.ndarray, top: int, left: int, bottom: int, right: int) -> float:
    return float(
        integral[bottom, right]
        - integral[top, right]
        - integral[bottom, left]
        + integral[top, left]
    )
