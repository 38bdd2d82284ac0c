"""
What thermal and color images share: where edges are and how they lie, not how bright they are.

The gradient's direction is taken with the angle doubled, so that an edge from dark to bright is
the same as one from bright to dark (Granlund and Knutsson, Signal Processing for Computer Vision,
chapter 6), and its length is weighed against the surroundings, so that faint edges count.
"""

import cv2
import numpy as np

SURROUNDINGS_PX = 31


def orientation(gray: np.ndarray) -> np.ndarray:
    """
    Return the field of edges of an image.

    :param gray: (H, W) uint8 or float32.
    :returns: (H, W, 2) float32: cosine and sine of the doubled angle, length in [0, 1].
    """
    smooth = cv2.GaussianBlur(gray.astype(np.float32), (0, 0), 1.0)
    gx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0)
    gy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    squared = gx * gx + gy * gy + 1e-12
    length = np.sqrt(squared)
    around = cv2.blur(length, (SURROUNDINGS_PX, SURROUNDINGS_PX)) + np.median(length)
    ratio = squared / (around * around)
    weight = ratio / (1 + ratio) / squared
    return cv2.merge([(gx * gx - gy * gy) * weight, 2 * gx * gy * weight])
