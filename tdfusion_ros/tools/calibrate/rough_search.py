"""
Find a rough similarity between two cameras of unknown aim by trying every zoom, angle and shift.

Fourier transforms evaluate all shifts at once, over all pairs together: a rig has one transform,
so correct agreement adds up over the pairs, and agreement by chance averages out. A narrow view
agrees in fewer places than a wrong wide one by chance, so several candidates are returned.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from tdfusion_ros.core.calibration import Size
from tdfusion_ros.tools.calibrate import geometry
from tdfusion_ros.tools.calibrate.edge_field import edge_field
from tdfusion_ros.tools.calibrate.image_pairs import GrayPair

WIDTH_PX = 160
# How much farther the ir lens may zoom than the rgb lens: 0.55 to 2.8 times, in steps of 6 %.
ZOOMS = np.exp(np.arange(-10, 18) * 0.06)
CANDIDATES = 8
ANGLES_DEG = np.arange(-6.0, 6.1, 2.0)
MIN_OVERLAP = 0.4  # of the smaller image


def search(pairs: Sequence[GrayPair]) -> list[np.ndarray]:
    """
    Return the similarities, (3, 3), of different zoom under which the edges of all pairs agree.

    The best comes first. Ir pixel = matrix * rgb pixel; accurate to a few percent of the image.
    """
    rgb_hw, ir_hw = pairs[0][0].shape[:2], pairs[0][1].shape[:2]
    rgb_small_hw = geometry.scaled(rgb_hw, min(1.0, WIDTH_PX / max(rgb_hw)))
    rgb = np.dstack([edge_field(geometry.resized(rgb, rgb_small_hw)) for rgb, _ in pairs])
    found = []
    for zoom in ZOOMS:
        ir_small_hw = geometry.scaled(ir_hw, rgb_small_hw[1] / ir_hw[1] / zoom)
        shrink = geometry.resizing(ir_hw, ir_small_hw)
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
        matrix = best_matrix @ geometry.resizing(rgb_hw, rgb_small_hw)
        found.append((best, matrix / matrix[2, 2]))
    found.sort(key=lambda candidate: -candidate[0])
    return [matrix for _, matrix in found[:CANDIDATES]]


def _dft_size(first_hw: Size, second_hw: Size) -> Size:
    """
    Return a transform size at which only shifts with too little overlap wrap around.

    The part 0.3 is below MIN_OVERLAP, because less of a turned image is visible.
    """
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
