"""
Where the edges of an image are and which way they run: what thermal and color images share.

The angle of the gradient is doubled, so that an edge from dark to bright equals one from bright
to dark (Granlund and Knutsson, Signal Processing for Computer Vision, chapter 6). Its length is
normalized by the surroundings, so that faint edges count.
"""

import cv2
import numpy as np

SURROUNDINGS_PX = 31


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
