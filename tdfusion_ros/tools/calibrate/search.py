"""
Find a rough similarity between two cameras of unknown aim: every scale, angle and shift is tried.

All shifts at once by Fourier transforms, over all pairs together: a rig has one transform,
so what the pairs agree on grows and what they do not cancels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from tdfusion_ros.tools.calibrate.geometry import resized
from tdfusion_ros.tools.calibrate.geometry import resizing
from tdfusion_ros.tools.calibrate.geometry import Size
from tdfusion_ros.tools.calibrate.geometry import times
from tdfusion_ros.tools.calibrate.orientation import orientation

WIDTH_PX = 160
# How much farther the lens of ir may zoom than that of rgb: 0.55 to 2.2 times, in steps of 6 %.
ZOOMS = np.exp(np.arange(-10, 14) * 0.06)
ANGLES_DEG = np.arange(-6.0, 6.1, 2.0)
LEAST_OVERLAP = 0.4  # of the smaller image

GrayPair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class _Reference:
    """The small rgb images of all pairs, as complex fields of edges."""

    fields: list[np.ndarray]
    size_hw: Size
    full_hw: Size


def search(pairs: Sequence[GrayPair]) -> np.ndarray:
    """
    Return the similarity under which the edges of all pairs agree best.

    :param pairs: (rgb, ir), each (H, W); all of one size per camera.
    :returns: (3, 3), ir pixel = matrix · rgb pixel; good to a few percent of the image.
    """
    full_hw = pairs[0][0].shape[:2]
    small_hw = times(full_hw, min(1.0, WIDTH_PX / max(full_hw)))
    reference = _Reference(
        [_complex(resized(rgb, small_hw)) for rgb, _ in pairs], small_hw, full_hw
    )
    found = (_at_zoom(reference, [ir for _, ir in pairs], zoom) for zoom in ZOOMS)
    return max(found, key=lambda best: best[0])[1]


def _at_zoom(
    reference: _Reference, irs: Sequence[np.ndarray], zoom: float
) -> tuple[float, np.ndarray]:
    """Return the best agreement at one zoom, and its matrix."""
    ir_hw = irs[0].shape[:2]
    small_hw = times(ir_hw, reference.size_hw[1] / ir_hw[1] * zoom**-1)
    small = [resized(ir, small_hw) for ir in irs]
    dft = tuple(
        cv2.getOptimalDFTSize(a + b) for a, b in zip(reference.size_hw, small_hw, strict=True)
    )
    color = _Spectra(reference.fields, np.ones(reference.size_hw), dft)
    best = (-1.0, np.eye(3))
    for angle in ANGLES_DEG:
        turn = np.vstack([_turn(small_hw, angle), [0, 0, 1]])
        seen = cv2.warpAffine(np.ones(small_hw), turn[:2], small_hw[::-1]) > 0.99
        seen = cv2.erode(seen.astype(np.uint8), np.ones((5, 5)))
        heat = _Spectra([_turned(image, turn, seen) for image in small], seen, dft)
        agreement, shift = _agreement(color, heat)
        if agreement > best[0]:
            matrix = np.linalg.inv(turn @ resizing(ir_hw, small_hw))
            matrix = matrix @ shift @ resizing(reference.full_hw, reference.size_hw)
            best = agreement, matrix / matrix[2, 2]
    return best


class _Spectra:
    """Fourier transforms of fields, of their energy and of where they are seen."""

    def __init__(self, fields: Sequence[np.ndarray], seen: np.ndarray, dft: Size) -> None:
        self.dft = dft
        self.area = float(seen.sum())
        self.fields = [np.fft.fft2(field, dft) for field in fields]
        self.energy = np.fft.rfft2(sum(np.abs(field) ** 2 for field in fields), dft)
        self.seen = np.fft.rfft2(seen.astype(np.float64), dft)


def _agreement(color: _Spectra, heat: _Spectra) -> tuple[float, np.ndarray]:
    """
    Return the best normalized cross-correlation over all shifts, and that shift's matrix.

    It is weighed by the root of the overlap: then it says how unlikely it is by chance.
    """
    dft = color.dft
    pairs = zip(color.fields, heat.fields, strict=True)
    both = np.fft.ifft2(sum(np.conj(a) * b for a, b in pairs)).real
    energy = np.fft.irfft2(np.conj(color.energy) * heat.seen, dft)
    energy = energy.clip(1e-3) * np.fft.irfft2(np.conj(color.seen) * heat.energy, dft).clip(1e-3)
    overlap = np.fft.irfft2(np.conj(color.seen) * heat.seen, dft)
    overlap[overlap < LEAST_OVERLAP * min(color.area, heat.area)] = 0
    agreement = both / np.sqrt(energy) * np.sqrt(overlap)
    y, x = np.unravel_index(agreement.argmax(), dft)
    dy, dx = (v - n if v > n // 2 else v for v, n in zip((y, x), dft, strict=True))
    return float(agreement[y, x]), np.array([[1.0, 0, dx], [0, 1, dy], [0, 0, 1]])


def _turned(image: np.ndarray, turn: np.ndarray, seen: np.ndarray) -> np.ndarray:
    size = image.shape[1], image.shape[0]
    return _complex(cv2.warpAffine(image, turn[:2], size, borderMode=cv2.BORDER_REPLICATE)) * seen


def _turn(size_hw: Size, angle_deg: float) -> np.ndarray:
    center = (size_hw[1] - 1) / 2, (size_hw[0] - 1) / 2
    return cv2.getRotationMatrix2D(center, angle_deg, 1.0)


def _complex(image: np.ndarray) -> np.ndarray:
    field = orientation(image)
    return field[..., 0] + 1j * field[..., 1]
