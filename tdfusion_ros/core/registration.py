"""
Warp the ir image to the grid of the rgb camera.

The map is computed once for each pair of image sizes; a frame costs one ``cv2.remap``. Source:
Hartley and Zisserman, Multiple View Geometry, chapter 13 (the homography that a plane induces).
"""

import cv2
import numpy as np

from tdfusion_ros.core.calibration import Calibration
from tdfusion_ros.core.calibration import Extrinsics
from tdfusion_ros.core.calibration import Homography
from tdfusion_ros.core.calibration import Identity
from tdfusion_ros.core.coverage import soft
from tdfusion_ros.core.data import Size
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.core.errors import FrameError

MIN_VIEW = 0.03  # of the rgb image; a calibration that covers less is a mistake
SAME_SHAPE = 1.03  # largest ratio of the proportions of two resolutions of one view
FAR_PX = -30_000.0  # outside of any image, and within 16 bits


class Registration:
    """Apply a calibration to ir frames; the map is computed again when an image size changes."""

    def __init__(self, calibration: Calibration) -> None:
        self._calibration = calibration
        self._sizes: tuple[Size, Size] | None = None
        self._maps: tuple[np.ndarray, np.ndarray] | None = None
        self._view = np.zeros((0, 0), bool)  # where on the rgb grid the ir image lies
        self._seen: np.ndarray | None = None  # of the last frame
        self._coverage = np.zeros((0, 0), np.float32)

    def apply(
        self, ir: np.ndarray, rgb_size_hw: Size, seen: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """
        Return the ir image on the rgb grid, and its coverage.

        :param ir: (h, w) float32 in [0, 1]; ``seen`` (h, w) bool: where it measures; None:
            everywhere.
        :returns: (H, W) float32 in [0, 1], 0 where the ir camera does not see; (H, W) float32 as
            ``RegisteredPair.coverage``, read-only.
        :raises CalibrationError: if the calibration maps no pixel into the ir image.
        :raises FrameError: ``calibration`` if it is for images of other proportions.
        """
        sizes = (rgb_size_hw, (ir.shape[0], ir.shape[1]))
        if sizes != self._sizes:
            self._prepare(*sizes)
        if not _same(seen, self._seen):
            self._seen = seen
            self._cover()
        return self._warp(ir, rgb_size_hw), self._coverage

    def _warp(self, ir: np.ndarray, rgb_size_hw: Size) -> np.ndarray:
        if self._maps is not None:
            return cv2.remap(ir, *self._maps, cv2.INTER_LINEAR)
        if ir.shape[:2] != rgb_size_hw:
            return cv2.resize(ir, rgb_size_hw[::-1], interpolation=cv2.INTER_LINEAR)
        return ir

    def _cover(self) -> None:
        """Compute the coverage: once for each geometry, unless pixels without data move."""
        view = self._view
        if self._seen is not None:
            size_hw = view.shape[0], view.shape[1]
            view = view & (self._warp(self._seen.astype(np.float32), size_hw) > 0.99)
        self._coverage = soft(view)
        self._coverage.flags.writeable = False  # every result shares it

    def _prepare(self, rgb_size_hw: Size, ir_size_hw: Size) -> None:
        for stream, own_hw, size_hw in zip(
            ('rgb', 'ir'), _sizes(self._calibration), (rgb_size_hw, ir_size_hw), strict=True
        ):
            _check_shape(stream, own_hw, size_hw)
        if isinstance(self._calibration, Identity):
            self._maps = None
            self._view = np.ones(rgb_size_hw, bool)
        else:
            grid = np.moveaxis(np.indices(rgb_size_hw)[::-1], 0, -1).astype(np.float64)
            points = rgb_to_ir(self._calibration, grid, rgb_size_hw, ir_size_hw)
            seen = inside(points, ir_size_hw)
            if not seen.any():
                raise CalibrationError(
                    'the calibration maps no pixel of rgb to ir; check its direction and the sizes'
                )
            self._maps = _maps(points, seen, ir_size_hw)
            self._view = seen
        self._seen = None
        self._cover()
        self._sizes = (rgb_size_hw, ir_size_hw)


def _same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return a is b or (a is not None and b is not None and np.array_equal(a, b))


def _maps(points: np.ndarray, seen: np.ndarray, ir_size_hw: Size) -> tuple[np.ndarray, np.ndarray]:
    """Return the maps for ``cv2.remap``: no pixel is mixed with the black around the image."""
    last = np.array(ir_size_hw[::-1]) - 1
    points = np.where(seen[..., None], points.clip(0, last), FAR_PX).astype(np.float32)
    return cv2.convertMaps(points[..., 0], points[..., 1], cv2.CV_16SC2)


def _sizes(calibration: Calibration) -> tuple[Size | None, Size | None]:
    """Return the sizes of the rgb and ir images that a calibration is for, if it says so."""
    if isinstance(calibration, Extrinsics):
        return calibration.rgb.size_hw, calibration.ir.size_hw
    if isinstance(calibration, Homography):
        return calibration.rgb_size_hw, calibration.ir_size_hw
    return None, None


def _check_shape(stream: str, own_hw: Size | None, size_hw: Size) -> None:
    """Raise FrameError where an image is no other resolution of the calibrated view."""
    if own_hw is None:
        return
    ratio = (own_hw[1] * size_hw[0]) / (own_hw[0] * size_hw[1])
    if max(ratio, 1 / ratio) > SAME_SHAPE:
        raise FrameError(
            'calibration',
            f'the calibration is for {stream} images of {own_hw[1]}x{own_hw[0]}, got {size_hw[1]}x'
            f'{size_hw[0]}: another part of the view; calibrate in the mode that is used (the '
            'file has sizes as [height, width])',
        )


def check_view(calibration: Calibration) -> None:
    """Raise CalibrationError if ir covers less than ``MIN_VIEW`` of rgb, if sizes are known."""
    rgb_hw, ir_hw = _sizes(calibration)
    if rgb_hw is None or ir_hw is None:
        return
    x, y = (np.linspace(0, side - 1, 101) for side in rgb_hw[::-1])
    points = np.stack(np.meshgrid(x, y), axis=-1)
    share = inside(rgb_to_ir(calibration, points, rgb_hw, ir_hw), ir_hw).mean()
    if share < MIN_VIEW:
        raise CalibrationError(
            f'ir covers {share:.1%} of the rgb image, expected at least {MIN_VIEW:.0%}; '
            'check the direction (rgb to ir), the frames (optical ones), the image sizes, and the '
            'units (pixels, meters)'
        )


def inside(points: np.ndarray, size_hw: Size) -> np.ndarray:
    """Return (...) bool: which of (..., 2) points lie in an image."""
    x, y = np.moveaxis(points, -1, 0)
    height, width = size_hw
    return (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)


def rgb_to_ir(
    calibration: Calibration, points: np.ndarray, rgb_size_hw: Size, ir_size_hw: Size
) -> np.ndarray:
    """Map pixels (..., 2), x and y, of an rgb image to pixels of an ir image of these sizes."""
    flat = points.reshape(-1, 1, 2)
    if not len(flat):  # OpenCV maps no empty array
        return points
    if isinstance(calibration, Identity):
        mapped = _rescale(flat, rgb_size_hw, ir_size_hw)
    elif isinstance(calibration, Homography):
        flat = _rescale(flat, rgb_size_hw, calibration.rgb_size_hw)
        mapped = _rescale(
            cv2.perspectiveTransform(flat, calibration.matrix), calibration.ir_size_hw, ir_size_hw
        )
    else:
        flat = _rescale(flat, rgb_size_hw, calibration.rgb.size_hw)
        mapped = _rescale(_project(calibration, flat), calibration.ir.size_hw, ir_size_hw)
    return mapped.reshape(points.shape)


def _project(calibration: Extrinsics, flat: np.ndarray) -> np.ndarray:
    """Map rgb pixels to points on the plane of the assumed depth, and these to ir pixels."""
    rgb, ir, depth = calibration.rgb, calibration.ir, calibration.assumed_depth_m
    # undistortPoints would stop after five iterations, 3 px off in the corners of a wide lens.
    criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 200, 1e-9)
    rays = cv2.undistortPointsIter(flat, rgb.k, rgb.d, np.eye(3), np.eye(3), criteria)
    rays = np.nan_to_num(rays.reshape(-1, 2), nan=1e6).clip(-1e6, 1e6)
    world = np.concatenate([rays * depth, np.full((len(rays), 1), depth)], axis=1)
    rotation = cv2.Rodrigues(calibration.rotation)[0]
    projected, _ = cv2.projectPoints(world, rotation, calibration.translation_m, ir.k, ir.d)
    in_ir = world @ calibration.rotation.T + calibration.translation_m
    back, _ = cv2.projectPoints(world, np.zeros(3), np.zeros(3), rgb.k, rgb.d)
    diverged = np.linalg.norm((back - flat).reshape(-1, 2), axis=1) > 0.5
    with np.errstate(divide='ignore', invalid='ignore'):
        folded = np.hypot(in_ir[:, 0], in_ir[:, 1]) / in_ir[:, 2] > fold(ir.d)
    projected[(in_ir[:, 2] <= 0) | diverged | folded] = -1e6  # outside of any image
    return projected


def fold(d: np.ndarray) -> float:
    """
    Return the tangent of the angle beyond which the distortion ``d`` maps inward again.

    Points further out are outside of the image, but the model would map them into it.
    """
    radius = np.linspace(0.0, 10.0, 10001)
    k1, k2, _, _, k3, k4, k5, k6 = np.concatenate([d, np.zeros(8)])[:8]
    r2 = radius**2
    divisor = 1 + k4 * r2 + k5 * r2**2 + k6 * r2**3
    numerator = radius * (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3)
    mapped = numerator / np.where(divisor == 0, np.nan, divisor)
    inward = ~(np.diff(mapped) > 0)
    return float(radius[inward.argmax()]) if inward.any() else np.inf


def _rescale(points: np.ndarray, from_hw: Size | None, to_hw: Size | None) -> np.ndarray:
    """Map pixel centers between two sizes of the same image."""
    if from_hw is None or to_hw is None or from_hw == to_hw:
        return points
    scale = np.array([to_hw[1] / from_hw[1], to_hw[0] / from_hw[0]])
    return (points + 0.5) * scale - 0.5
