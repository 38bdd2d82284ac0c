"""Tell from a grid of pixels whether a thermal image shows a scene."""

import cv2
import numpy as np

from tdfusion_ros.core.no_data import equal_to
from tdfusion_ros.core.no_data import MIN_SCENE
from tdfusion_ros.core.no_data import picture_rows
from tdfusion_ros.core.no_data import recognize

# Of 597 real ir images (MSRS, M3FD, FMB, LLVIP, M3SVD, RoadScene, TNO, VIFB) none has a standard
# deviation below 5.5 gray levels, or a correlation of neighboring probes below 0.69.
FLAT_LEVELS = 1.0
UNCORRELATED = 0.3
MAX_COARSE_LEVELS = 16
# Of 26 real 16-bit images none has a standard deviation of counts above 2700; with interchanged
# bytes all have 12 900 or more, and their neighbors correlate less, by 0.17 or more.
SPREAD, LESS = 8000.0, 0.1
OUTLIERS = 1e-3  # share of the pixels at each end that is clipped: stuck ones, and hot spots


def is_flat(grid: np.ndarray) -> bool:
    """
    Return whether an image shows nothing: no contrast, or noise without structure.

    16-bit counts have no fixed meaning, so a closed shutter is recognized by its noise. A scene is
    blurred by the lens: neighboring probes correlate in both directions. Noise does not correlate,
    and the column pattern of a sensor does not across its columns; but where such a pattern lies
    over a scene, the scene correlates once the pattern is subtracted. Stuck pixels, rows of
    telemetry and pixels without data are no part of it.
    """
    scene = _scene(grid.byteswap() if is_swapped(grid) else grid)
    deviation = float(scene.std())
    if deviation < FLAT_LEVELS and (grid.dtype != np.float32 or deviation == 0):
        return True
    return _correlation(scene) < UNCORRELATED and _correlation(_level(scene)) < UNCORRELATED


def is_swapped(grid: np.ndarray) -> bool:
    """Return whether the two bytes of each count are interchanged, as in radiometric JPEGs."""
    if grid.dtype != np.uint16 or grid.size < MIN_SCENE or float(grid.std()) < SPREAD:
        return False
    return _correlation(_scene(grid.byteswap())) > _correlation(_scene(grid)) + LESS


def is_coarse(grid: np.ndarray) -> bool:
    """Return whether a scene in 8 bits has a few levels only, as the upper 8 bits of 16 have."""
    if grid.dtype != np.uint8:
        return False
    levels = int(np.count_nonzero(np.bincount(grid.reshape(-1), minlength=256)))
    if not 2 <= levels <= MAX_COARSE_LEVELS:
        return False
    return _correlation(grid.astype(np.float32)) >= UNCORRELATED


def _scene(grid: np.ndarray) -> np.ndarray:
    """Return the part of a grid that shows the scene, float32, without outliers."""
    grid = grid[picture_rows(grid)]
    scene = grid.astype(np.float32)
    missing = equal_to(grid, {} if grid.dtype == np.uint8 else recognize(grid))
    if missing is not None:
        scene[missing] = np.median(scene[~missing]) if not missing.all() else 0.0
    ends = np.array((1 + int(OUTLIERS * scene.size), scene.size - int(OUTLIERS * scene.size)))
    if grid.dtype != np.float32:  # by the histogram, several times faster
        counts = scene.reshape(-1).astype(np.uint16)
        low, high = np.searchsorted(np.bincount(counts).cumsum(), ends)
    else:
        low, high = np.partition(scene, ends - 1, axis=None)[ends - 1]
    return np.clip(scene, np.float32(low), np.float32(high))


def _level(scene: np.ndarray) -> np.ndarray:
    """Return a scene without the pattern of its columns and rows."""
    flat = scene - np.median(scene, 0, keepdims=True)
    return flat - np.median(flat, 1, keepdims=True)


def _correlation(scene: np.ndarray) -> float:
    """Return the correlation of neighbors, the lower one of both directions."""
    deviation = float(scene.std())
    if deviation == 0:
        return 0.0
    neighbors = (scene[:, 1:], scene[:, :-1]), (scene[1:], scene[:-1])
    steps = [cv2.norm(a, b, cv2.NORM_L2SQR) / a.size for a, b in neighbors if a.size]
    return 1.0 - max(steps, default=0.0) / (2.0 * deviation**2)
