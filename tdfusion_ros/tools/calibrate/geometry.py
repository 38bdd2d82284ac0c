"""Pixel geometry: x to the right, y down, pixel centers at whole numbers."""

from dataclasses import replace

import cv2
import numpy as np

from tdfusion_ros.core.calibration import Extrinsics
from tdfusion_ros.core.calibration import Size
from tdfusion_ros.core.registration import inside
from tdfusion_ros.core.registration import rgb_to_ir

DISTANCES_M = (2.0, 5.0, 10.0, 20.0, 50.0, np.inf)
FAR_M = 1e7  # used for infinity: no baseline matters there


def mapped(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return (n, 2) points mapped by a (3, 3) homography."""
    if not len(points):
        return np.zeros((0, 2))
    return cv2.perspectiveTransform(np.asarray(points, np.float64)[:, None], matrix)[:, 0]


def jacobians(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the (n, 2, 2) derivatives of a (3, 3) homography at (n, 2) points."""
    with np.errstate(divide='ignore', invalid='ignore'):  # points on the horizon
        depth = points @ matrix[2, :2] + matrix[2, 2]
        image = mapped(matrix, points)
        return (matrix[:2, :2] - image[:, :, None] * matrix[2, :2]) / depth[:, None, None]


def resized(image: np.ndarray, to_hw: Size) -> np.ndarray:
    """Return the image at another size, averaged if that is smaller."""
    smaller = to_hw[0] < image.shape[0]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(image, to_hw[::-1], interpolation=how)


def scaled(size_hw: Size, factor: float) -> Size:
    """Return a size times a factor, at least one pixel each."""
    return max(1, round(size_hw[0] * factor)), max(1, round(size_hw[1] * factor))


def center(size_hw: Size) -> tuple[float, float]:
    """Return x and y of the center of an image."""
    return (size_hw[1] - 1) / 2, (size_hw[0] - 1) / 2


def grid(size_hw: Size, columns: int = 17, rows: int = 13) -> np.ndarray:
    """Return (columns * rows, 2) points spread over an image, corners included."""
    x = np.linspace(0, size_hw[1] - 1, columns)
    y = np.linspace(0, size_hw[0] - 1, rows)
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def errors_by_distance_px(calibration: Extrinsics) -> list[float]:
    """Return the error of the map at each of ``DISTANCES_M``, median over rgb [ir px]."""
    rgb_hw, ir_hw = calibration.rgb.size_hw, calibration.ir.size_hw
    points = grid(rgb_hw)
    assumed = rgb_to_ir(calibration, points, rgb_hw, ir_hw)
    visible = inside(assumed, ir_hw)
    out = []
    for distance in DISTANCES_M:
        plane = replace(calibration, assumed_depth_m=min(distance, FAR_M))
        real = rgb_to_ir(plane, points, rgb_hw, ir_hw)
        both = visible & (real > -1e5).all(axis=1)
        apart = np.linalg.norm(real[both] - assumed[both], axis=1)
        out.append(float(np.median(apart)) if both.any() else np.nan)
    return out


def parallax_by_distance_px(focal_px: float, baseline_m: float, aligned_m: float) -> list[float]:
    """
    Return the same for parallel cameras: focal length * baseline * |1/distance - 1/aligned|.

    :param focal_px: of the ir camera [px].
    :param aligned_m: distance of the matched or picked points; may be infinite [m].
    """
    return [abs(focal_px * baseline_m * (1 / d - 1 / aligned_m)) for d in DISTANCES_M]
