"""Small matrices on pixels: x to the right, y down, pixel centers at whole numbers."""

import cv2
import numpy as np

Size = tuple[int, int]  # height, width [px]


def mapped(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return (n, 2) points taken through a (3, 3) matrix."""
    return cv2.perspectiveTransform(np.asarray(points, np.float64)[:, None], matrix)[:, 0]


def resizing(from_hw: Size, to_hw: Size) -> np.ndarray:
    """Return the (3, 3) matrix of ``cv2.resize`` between two sizes."""
    kx, ky = to_hw[1] / from_hw[1], to_hw[0] / from_hw[0]
    return np.array([[kx, 0, (kx - 1) / 2], [0, ky, (ky - 1) / 2], [0, 0, 1]])


def resized(image: np.ndarray, to_hw: Size) -> np.ndarray:
    """Return the image at another size, averaged where it becomes smaller."""
    smaller = to_hw[0] < image.shape[0]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(image, to_hw[::-1], interpolation=how)


def times(size_hw: Size, factor: float) -> Size:
    """Return a size times a factor, at least one pixel."""
    return max(1, round(size_hw[0] * factor)), max(1, round(size_hw[1] * factor))


def grid(size_hw: Size, columns: int = 17, rows: int = 13) -> np.ndarray:
    """Return (columns · rows, 2) points spread over an image, corners included."""
    x = np.linspace(0, size_hw[1] - 1, columns)
    y = np.linspace(0, size_hw[0] - 1, rows)
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def inside(points: np.ndarray, size_hw: Size) -> np.ndarray:
    """Return (n,) bool: which points lie in an image."""
    x, y = points.T
    return (x >= -0.5) & (y >= -0.5) & (x <= size_hw[1] - 0.5) & (y <= size_hw[0] - 0.5)


def magnification(matrix: np.ndarray, size_hw: Size) -> np.ndarray:
    """
    Return how much larger than 1 px² a square pixel becomes, at center and corners of an image.

    :returns: (5,) signed areas; negative where the image is mirrored.
    """
    height, width = size_hw
    at = np.array([[width / 2, height / 2], [0, 0], [width, 0], [0, height], [width, height]])
    depth = np.column_stack([at, np.ones(5)]) @ matrix[2]
    return np.linalg.det(matrix) / depth**3
