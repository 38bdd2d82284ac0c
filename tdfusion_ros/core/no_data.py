"""
Find the pixels of a thermal image that hold no measurement, and fill them.

Rectified images have borders of zeros, drivers append rows of telemetry, and sensors have pixels
that are stuck at a limit. Such values have nothing to do with the scene, and a few percent of them
would determine the range to which its counts are scaled.
"""

from collections.abc import Collection
from collections.abc import Mapping

import cv2
import numpy as np

# Height and width of images with telemetry, and the number of such rows, below or above the
# picture: Lepton 2 and 3, Tau and Boson, and InfiRay cores with their metadata.
TELEMETRY_ROWS = {
    **{(63, 80): 3, (122, 160): 2},
    **{(258, 320): 2, (514, 640): 2},
    **{(196, 256): 4, (292, 384): 4, (516, 640): 4},
}
CLEARER = 3.0  # a step to telemetry is so many times the one within the picture
MAX_EDGE_ROWS = 8
# What a count or a temperature is that no scene has: the limits of a sensor, absolute zero, and
# what is below it. Other values may be objects of a simulated camera, which have sharp borders.
LIMITS = {0.0, *(2.0**bits - 1 for bits in (12, 14, 16))}
ABSOLUTE_ZERO_C = -273.15
GAP = 0.25  # distance from the scene as a share of its range
MIN_SCENE = 256  # fewer pixels have no range
SHARP = 0.8  # share of the pixels around that belong to the scene
HOLE_PX = 5  # side of the smallest hole that is not filled


def is_above(image: np.ndarray, rows: int, before: bool) -> bool:
    """
    Return whether the telemetry of (H, W) is above the picture: where the step to it is.

    :param rows: of telemetry; ``before``: what counts while neither step is clearly the larger.
    """
    seams = image[rows - 1 : rows + 1], image[-rows - 1 : len(image) - rows + 1]
    above, below = (float(np.abs(np.diff(s.astype(np.float32), axis=0)).mean()) for s in seams)
    return below <= CLEARER * above if before else above > CLEARER * below


def picture_rows(image: np.ndarray) -> slice:
    """
    Return the rows of (H, W) that show the scene, without telemetry at the top or bottom.

    Neighboring rows of a scene differ little; a row of telemetry differs from the next row of the
    picture by more than the scene has range. No more than ``MAX_EDGE_ROWS`` are left out.
    """
    height = image.shape[0]
    edge = min(MAX_EDGE_ROWS, height // 10)
    columns = image[:, :: max(1, image.shape[1] // 64)]
    inner = columns[edge : height - edge : max(1, height // 64)].astype(np.float32)
    if not edge or inner.shape[0] < 2:
        return slice(0, height)
    inner = inner[np.isfinite(inner)]
    low, high = np.percentile(inner, (2, 98)) if inner.size else (0.0, 0.0)
    limit = max(high - low, 1e-6)
    top = np.flatnonzero(_jumps(image[: edge + 1], limit))
    bottom = np.flatnonzero(_jumps(image[height - edge - 1 :], limit))
    return slice(
        int(top[-1]) + 1 if top.size else 0,
        height - edge + int(bottom[0]) if bottom.size else height,
    )


def _jumps(rows: np.ndarray, limit: float) -> np.ndarray:
    """Return which rows the next one differs from: by more than ``limit`` in most pixels."""
    step = np.abs(np.diff(rows.astype(np.float32), axis=0))
    return 2 * np.count_nonzero(step > limit, 1) > np.count_nonzero(np.isfinite(step), 1)


def equal_to(image: np.ndarray, values: Mapping[float, int]) -> np.ndarray | None:
    """
    Return where (H, W) uint8, uint16 or float32 has no measurement, (H, W) bool; None: nowhere.

    :param values: values that mean so besides NaN and infinity, and the width of the border around
        them that has no measurement either [px].
    """
    missing = ~np.isfinite(image) if image.dtype == np.float32 else None
    for value, around_px in values.items():
        found = image == value
        if around_px:
            found = _grown(found.astype(np.uint8), around_px) > 0
        missing = found if missing is None else missing | found
    return missing if missing is not None and missing.any() else None


def recognize(image: np.ndarray, before: Collection[float] = ()) -> dict[float, int]:
    """
    Return the values of an image that are no measurements: its lowest, its highest, or none.

    Such a value is one that no scene has (``is_limit``), it lies outside of the range of this one,
    and its pixels have sharp borders, which a lens would blur: a fire may saturate, too.

    :param image: (H, W) uint16 or float32.
    :param before: values that were recognized in earlier images; these may lie closer.
    :returns: as ``equal_to`` takes them: pixels around a rectified image are mixed with its 0.
    """
    recognized: dict[float, int] = {}
    sample = image[:: max(1, image.shape[0] // 128), :: max(1, image.shape[1] // 128)]
    finite = np.isfinite(image) if image.dtype == np.float32 else None
    if finite is not None:
        sample = sample[np.isfinite(sample)]
    whole = image if finite is None or finite.all() else image[finite]
    if not whole.size:
        return recognized
    ends = float(whole.min()), float(whole.max())
    scene = sample[(sample != ends[0]) & (sample != ends[1])]
    if scene.size < max(MIN_SCENE, 0.05 * sample.size):
        return recognized
    low, high = (float(v) for v in np.percentile(scene, (1, 99)))
    spread = max(high - low, 1e-6 if image.dtype == np.float32 else 1.0)
    margin = GAP * spread
    for value, distance in ((ends[0], low - ends[0]), (ends[1], ends[1] - high)):
        if not is_limit(value) or distance <= (0 if value in before else margin):
            continue
        found = (image == value).astype(np.uint8)
        for between_px in (0, 1) if value == 0 else (0,):
            ring = np.greater(_grown(found, between_px + 1), _grown(found, between_px))
            around = image[ring]
            inside = (around >= low - margin) & (around <= high + margin)
            if around.size and inside.mean() >= SHARP:
                recognized[value] = between_px
                break
    return recognized


def is_limit(value: float) -> bool:
    """Return whether a sensor or a driver may send a value where it measures nothing."""
    return value in LIMITS or value < ABSOLUTE_ZERO_C + 0.01 or value > max(LIMITS)


def _grown(mask: np.ndarray, px: int) -> np.ndarray:
    return cv2.dilate(mask, np.ones((2 * px + 1, 2 * px + 1), np.uint8))


def holes(missing: np.ndarray) -> np.ndarray | None:
    """
    Return the pixels without a measurement that are too many side by side to be filled.

    Single pixels and lines of less than ``HOLE_PX`` are filled from their neighbors; beyond the
    border of the image there are none.

    :param missing: (H, W) bool. :returns: (H, W) bool; None: there are none.
    """
    kernel, mask = np.ones((HOLE_PX, HOLE_PX), np.uint8), missing.astype(np.uint8)
    core = cv2.erode(mask, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=1)
    if not core.any():
        return None
    return (cv2.dilate(core, kernel) > 0) & missing


def fill(image: np.ndarray, missing: np.ndarray, unfilled: np.ndarray | None) -> None:
    """
    Replace pixels without a measurement by the mean of their neighbors, in place; holes become 0.

    :param image: (H, W) float32. :param missing: (H, W) bool. :param unfilled: as of ``holes``.
    """
    image[missing] = 0
    near = missing if unfilled is None else missing & ~unfilled
    if not near.any():
        return
    size = HOLE_PX, HOLE_PX
    weights = cv2.GaussianBlur((~missing).astype(np.float32), size, 1.0)
    mean = cv2.GaussianBlur(image, size, 1.0) / np.maximum(weights, 1e-6)
    image[near] = mean[near]
