"""Where the thermal camera sees, as a soft mask: the fused image is the rgb image elsewhere."""

import cv2
import numpy as np

BORDER = 1 / 32  # width of the soft border as a share of the image's width


def soft(seen: np.ndarray) -> np.ndarray:
    """
    Return how much of the fused image to show, (H, W) float32, above 0 exactly where ``seen``.

    It rises from 0 outside to 1 at a distance of ``BORDER`` inside, without a step or a kink. The
    border of the image itself is not soft.
    """
    if seen.all():
        return np.ones(seen.shape, np.float32)
    distance_px = cv2.distanceTransform(seen.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    depth = np.minimum(distance_px / (1 + round(seen.shape[1] * BORDER)), 1, dtype=np.float32)
    return depth * depth * (3 - 2 * depth)


def composite(rgb: np.ndarray, fused: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """Return fused where thermal sees, else rgb, as graphs that read coverage do themselves."""
    if coverage.min() == 1.0:
        return fused
    return cv2.blendLinear(fused, rgb, coverage, 1 - coverage)
