"""Measure temperatures inside boxes in the raw image of a thermal camera."""

from collections.abc import Callable

import cv2
import numpy as np

from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.data import Temperatures
from tdfusion_ros.core.data import ZERO_CELSIUS_K
from tdfusion_ros.core.no_data import LIMITS

SETTING = 'ir.kelvin_per_count'
STEPS = 9  # points along each side of a box that are mapped to the ir image
PLAUSIBLE_K = 170.0, 800.0  # of the median of a scene
NO_COUNTS = (
    'detections have no temperature, as these pixels are gray levels that the camera scales to '
    'the scene (AGC); switch it to 16 bits with a fixed scale (as TLinear)'
)


def measure(
    boxes_xyxy: np.ndarray,
    counts: np.ndarray,
    missing: np.ndarray | None,
    to_ir: Callable[[np.ndarray], np.ndarray],
    config: IrConfig,
) -> Temperatures:
    """
    Return the lowest, the median and the highest count inside each box, and the same in kelvin.

    Counts of 16 bits at a limit of the sensor are no measurement. Of a box that the thermal
    camera sees in part, this part counts.

    :param boxes_xyxy: (N, 4) pixels of the fused image, from its corner.
    :param counts: (h, w) uint16 or float32; ``missing`` (h, w) bool: where there is none.
    :param to_ir: maps pixels (..., 2), x and y, of the fused image to pixels of ``counts``.
    """
    across = np.linspace(0.0, 1.0, STEPS)
    steps = np.stack(np.meshgrid(across, across), axis=-1).reshape(-1, 2)
    corners = boxes_xyxy.astype(np.float64).reshape(-1, 2, 2)
    first, last = corners[:, :1], corners[:, 1:]
    points = to_ir(first + steps * (last - first) - 0.5)  # 0.5: boxes count from pixel corners
    found = np.full((len(points), 3), np.nan)
    for row, box_points in zip(found, points, strict=True):
        values = _inside(box_points, counts, missing)
        if values.size:
            row[:] = values.min(), np.median(values), values.max()
    scale = config.kelvin_per_count or np.nan
    return Temperatures(found, found * scale + config.kelvin_offset)


def _inside(points: np.ndarray, counts: np.ndarray, missing: np.ndarray | None) -> np.ndarray:
    """Return the counts (h, w) within the hull of the points (P, 2) that lie in the image."""
    end = np.array(counts.shape[::-1]) - 0.5
    points = points[((points >= -0.5) & (points <= end)).all(1)]
    if not len(points):
        return counts[:0, 0]
    # The hull connects the centers of the outer pixels: half a pixel less on each side.
    center = (points.min(0) + points.max(0)) / 2
    points = points - np.clip(points - center, -0.5, 0.5)
    hull = cv2.convexHull(points.round().astype(np.int32))
    left, top, width, height = cv2.boundingRect(hull)
    here = slice(top, top + height), slice(left, left + width)
    mask = cv2.fillConvexPoly(np.zeros((height, width), np.uint8), hull - (left, top), 1) > 0
    if missing is not None:
        mask &= ~missing[here]
    values = counts[here][mask]
    return values if counts.dtype == np.float32 else values[~np.isin(values, list(LIMITS))]


def doubt(counts: np.ndarray | None, missing: np.ndarray | None, config: IrConfig) -> str:
    """Return why there are no temperatures, or why they are doubtful; empty: they are not."""
    if not config.kelvin_per_count:
        return ''
    if counts is None:
        return NO_COUNTS
    some = counts[::8, ::8]
    some = some if missing is None else some[~missing[::8, ::8]]
    if not some.size:
        return ''
    median_k = float(np.median(some)) * config.kelvin_per_count + config.kelvin_offset
    if PLAUSIBLE_K[0] <= median_k <= PLAUSIBLE_K[1]:
        return ''
    return (
        f'the median of the ir image would be {median_k - ZERO_CELSIUS_K:.0f} C: compare '
        'ir.kelvin_per_count and ir.kelvin_offset with the settings of the camera'
    )
