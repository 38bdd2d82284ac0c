"""How far off a calibration is where the scene is not at the distance that it was made for."""

from dataclasses import replace

import numpy as np

from tdfusion_ros.core.calibration import Extrinsics
from tdfusion_ros.core.registration import rgb_to_ir
from tdfusion_ros.tools.calibrate.geometry import grid
from tdfusion_ros.tools.calibrate.geometry import inside

DISTANCES_M = (2.0, 5.0, 10.0, 20.0, 50.0, np.inf)
FAR_M = 1e7  # stands for infinity: no baseline counts there


def errors_px(calibration: Extrinsics) -> list[float]:
    """Return how far off the map is at each of ``DISTANCES_M``, median over rgb [ir px]."""
    rgb_hw, ir_hw = calibration.rgb.size_hw, calibration.ir.size_hw
    points = grid(rgb_hw)
    assumed = rgb_to_ir(calibration, points, rgb_hw, ir_hw)
    seen = inside(assumed, ir_hw)
    out = []
    for distance in DISTANCES_M:
        plane = replace(calibration, assumed_depth_m=min(distance, FAR_M))
        real = rgb_to_ir(plane, points, rgb_hw, ir_hw)
        both = seen & (real > -1e5).all(axis=1)
        apart = np.linalg.norm(real[both] - assumed[both], axis=1)
        out.append(float(np.median(apart)) if both.any() else np.nan)
    return out


def parallax_px(focal_px: float, baseline_m: float, aligned_m: float) -> list[float]:
    """
    Return the same for parallel cameras: focal length · baseline · |1/distance - 1/aligned|.

    :param focal_px: of the ir camera [px].
    :param aligned_m: distance of what was matched or picked; may be infinite [m].
    """
    return [abs(focal_px * baseline_m * (1 / d - 1 / aligned_m)) for d in DISTANCES_M]
