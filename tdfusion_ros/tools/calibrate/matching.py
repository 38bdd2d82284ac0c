"""
Find which places of rgb and ir agree: a rough search over all aims, then patch by patch.

Both compare edges, which thermal and color images share. The angle of a gradient is doubled, so
that an edge from dark to bright equals one from bright to dark (Granlund and Knutsson, Signal
Processing for Computer Vision, chapter 6). Its length is normalized by the surroundings, so that
faint edges count.
"""

from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from tdfusion_ros.core.calibration import resizing
from tdfusion_ros.core.calibration import Size
from tdfusion_ros.tools.calibrate import geometry
from tdfusion_ros.tools.calibrate.image_pairs import GrayPair

SURROUNDINGS_PX = 31  # in which the length of an edge is normalized
# Of the rough search.
WIDTH_PX = 160
# How much farther the ir lens may zoom than the rgb lens: 0.55 to 2.8 times, in steps of 6 %.
ZOOMS = np.exp(np.arange(-10, 18) * 0.06)
CANDIDATES = 8
ANGLES_DEG = np.arange(-6.0, 6.1, 2.0)
MIN_OVERLAP = 0.4  # of the smaller image
# Of the matching by patches.
GRID_PX = 640  # longest side of the working grid, at most
PATCHES = 2000  # over all pairs, approximately
MIN_ENERGY = 0.02  # of edges, per pixel of a patch
MIN_AGREEMENT = 0.25
SECOND_BEST = 0.85  # a second place with this part of the best agreement makes it ambiguous
PEAK_PX = 4  # half the width of a place


def edge_field(gray: np.ndarray) -> np.ndarray:
    """Return edges, (H, W, 2) float32: cosine and sine of the doubled angle, length in [0, 1]."""
    smooth = cv2.GaussianBlur(gray.astype(np.float32), (0, 0), 1.0)
    gx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0)
    gy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    squared = gx * gx + gy * gy + 1e-12
    length = np.sqrt(squared)
    around = cv2.blur(length, (SURROUNDINGS_PX, SURROUNDINGS_PX)) + np.median(length)
    weight = 1 / (around * around + squared)
    return cv2.merge([(gx * gx - gy * gy) * weight, 2 * gx * gy * weight])


def search(pairs: Sequence[GrayPair]) -> list[np.ndarray]:
    """
    Return the similarities, (3, 3), of different zoom under which the edges of all pairs agree.

    Every zoom, angle and shift is tried. Fourier transforms evaluate all shifts at once, over all
    pairs together: a rig has one transform, so correct agreement adds up, and agreement by chance
    averages out. A narrow view agrees in fewer places than a wrong wide one by chance, so several
    candidates are returned, the best first; accurate to a few percent of the image.
    """
    rgb_hw, ir_hw = pairs[0][0].shape[:2], pairs[0][1].shape[:2]
    rgb_small_hw = geometry.scaled(rgb_hw, min(1.0, WIDTH_PX / max(rgb_hw)))
    rgb = np.dstack([edge_field(geometry.resized(rgb, rgb_small_hw)) for rgb, _ in pairs])
    found = []
    for zoom in ZOOMS:
        ir_small_hw = geometry.scaled(ir_hw, rgb_small_hw[1] / ir_hw[1] / zoom)
        shrink = resizing(ir_hw, ir_small_hw)
        irs = [geometry.resized(ir, ir_small_hw) for _, ir in pairs]
        dft_hw = _dft_size(rgb_small_hw, ir_small_hw)
        rgb_spectra = _spectra(rgb, np.ones(rgb_small_hw), dft_hw)
        best, best_matrix = -1.0, np.eye(3)
        for angle in ANGLES_DEG:
            turn = cv2.getRotationMatrix2D(geometry.center(ir_small_hw), angle, 1.0)
            ir, visible = _turned_edges(irs, turn)
            min_area = MIN_OVERLAP * min(rgb_small_hw[0] * rgb_small_hw[1], visible.sum())
            ir_spectra = _spectra(ir, visible, dft_hw)
            agreement, (x, y) = _best_shift(rgb_spectra, ir_spectra, dft_hw, min_area)
            if agreement > best:
                x -= dft_hw[1] if x >= ir_small_hw[1] else 0  # negative shifts come last
                y -= dft_hw[0] if y >= ir_small_hw[0] else 0
                shift = np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])
                turned = np.vstack([turn, [0, 0, 1]]) @ shrink
                best, best_matrix = agreement, np.linalg.inv(turned) @ shift
        matrix = best_matrix @ resizing(rgb_hw, rgb_small_hw)
        found.append((best, matrix / matrix[2, 2]))
    found.sort(key=lambda candidate: -candidate[0])
    return [matrix for _, matrix in found[:CANDIDATES]]


def _dft_size(first_hw: Size, second_hw: Size) -> Size:
    """Return a transform size at which only shifts with too little overlap wrap around."""
    # 0.3 is below MIN_OVERLAP, because less of a turned image is visible.
    height, width = (
        cv2.getOptimalDFTSize(int(a + b - 0.3 * min(a, b)))
        for a, b in zip(first_hw, second_hw, strict=True)
    )
    return height, width


def _turned_edges(irs: Sequence[np.ndarray], turn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the edge fields of the turned images, (h, w, 2 n), and where they are visible."""
    size = irs[0].shape[::-1]
    covered = cv2.warpAffine(np.ones(size[::-1], np.float32), turn, size)
    visible = cv2.erode((covered > 0.99).astype(np.float32), np.ones((5, 5)))
    turned = (cv2.warpAffine(ir, turn, size, borderMode=cv2.BORDER_REPLICATE) for ir in irs)
    return np.dstack([edge_field(ir) for ir in turned]) * visible[..., None], visible


def _spectra(fields: np.ndarray, visible: np.ndarray, dft_hw: Size) -> np.ndarray:
    """Return the spectra of all fields; then, as the last two, of their energy and ``visible``."""
    planes = [*np.moveaxis(fields, 2, 0), (fields * fields).sum(axis=2), visible]
    return np.fft.rfft2(np.stack(planes), dft_hw)


def _best_shift(
    rgb: np.ndarray, ir: np.ndarray, dft_hw: Size, min_area: float
) -> tuple[float, tuple[int, int]]:
    """
    Return the best normalized cross-correlation over all shifts, and that shift, x and y.

    The weight is the root of the overlap: the result says how unlikely it is by chance.
    """

    def correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.fft.irfft2(np.einsum('nij,nij->ij', first.conj(), second), dft_hw)

    overlap = correlation(rgb[-1:], ir[-1:])
    overlap[overlap < min_area] = 0
    energy = correlation(rgb[-2:-1], ir[-1:]).clip(1e-3)
    energy *= correlation(rgb[-1:], ir[-2:-1]).clip(1e-3)
    agreement = correlation(rgb[:-2], ir[:-2]) * np.sqrt(overlap / energy)
    _, best, _, (x, y) = cv2.minMaxLoc(agreement)
    return best, (x, y)


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
    Match patches of all pairs, given a rough transform.

    ir is warped onto a working grid of rgb; then each patch of rgb's edges is searched around its
    own place. A match counts only if its best place is clearly better than every other one, which
    a straight edge or an empty wall does not have.

    :param pairs: (rgb, ir), each (H, W); all of one size per camera.
    :param matrix: (3, 3), roughly: ir pixel = matrix * rgb pixel.
    :param half_px: half the width of a patch; ``reach_px``: largest distance from where the matrix
        maps it; both on the working grid.
    """
    rgb_hw = pairs[0][0].shape[:2]
    grid_hw, _ = working_grid(matrix, rgb_hw)
    to_rgb = resizing(grid_hw, rgb_hw)
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
