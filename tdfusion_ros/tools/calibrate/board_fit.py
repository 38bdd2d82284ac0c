"""
Calibrate both cameras and the pose between them from views of a board.

Source: Zhang, A Flexible New Technique for Camera Calibration (PAMI 2000), as OpenCV has it. Each
figure of accuracy is for views that were left out of the fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from tdfusion_ros.core.calibration import Camera
from tdfusion_ros.core.calibration import Extrinsics
from tdfusion_ros.core.calibration import Size
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.core.registration import rgb_to_ir
from tdfusion_ros.tools.calibrate.board_views import Board
from tdfusion_ros.tools.calibrate.board_views import View
from tdfusion_ros.tools.calibrate.plausibility import PARTS
from tdfusion_ros.tools.calibrate.plausibility import parts_of
from tdfusion_ros.tools.calibrate.plausibility import standard_errors_px
from tdfusion_ros.tools.calibrate.plausibility import visible
from tdfusion_ros.tools.calibrate.transform_fit import Fit
from tdfusion_ros.tools.calibrate.transform_fit import fit_held_out

FOLDS = 8
BETTER = 0.95  # required held-out error of a richer lens, as a part of the simpler one's
MIN_VIEWS, MIN_VIEWS_GIVEN = 5, 3  # if a camera is to be calibrated, too; if both are
MIN_VIEWS_FLAT = 2
# Parallel boards leave the focal length open; its standard error alone does not always show it.
MAX_FOCAL_ERROR, MIN_TILT_DEG = 0.05, 8.0
MAX_ERROR, MAX_EXPECTED = 0.015, 0.03  # held out, expected; of the longer side of the ir image
OUTLIER, MIN_KEPT = 4.0, 0.75  # views with this many times the median error are left out, if few
STREAMS = ('rgb', 'ir')
SQUARE = cv2.CALIB_FIX_ASPECT_RATIO | cv2.CALIB_ZERO_TANGENT_DIST | cv2.CALIB_FIX_K3
CENTERED = SQUARE | cv2.CALIB_FIX_PRINCIPAL_POINT | cv2.CALIB_FIX_K2
LENSES = {  # each is a case of the next
    'no distortion': CENTERED | cv2.CALIB_FIX_K1,
    'k1': CENTERED,
    'k1, principal point': SQUARE | cv2.CALIB_FIX_K2,
    'k1, k2, principal point': SQUARE,
}


@dataclass(frozen=True, eq=False)
class BoardFit:
    """
    A calibration from views of a board, and how well fits predict views that they have not seen.

    :param lens: what was found out about the cameras that were not given.
    :param reprojected_px: (v, 2) root of the mean squared error by view, in rgb and in ir [px].
    :param held_out_px: (v, n) errors in ir of the points as predicted from rgb, under a fit to
        other views [ir px].
    :param expected_px: (m,) two standard errors of the map at the assumed depth, over the image;
        wider if the board was in few parts of it [ir px].
    :param parts: in how many of 16 parts of what both cameras see the board was.
    :param left_out: names of pairs that contradict the others.
    """

    views: list[View]
    calibration: Extrinsics
    lens: str
    reprojected_px: np.ndarray
    held_out_px: np.ndarray
    expected_px: np.ndarray
    parts: int
    left_out: tuple[str, ...] = ()

    @property
    def median_px(self) -> float:
        """Median held-out error [ir px]."""
        return float(np.median(self.held_out_px))


def fit_board(
    views: list[View], board: Board, cameras: Sequence[Camera | Size], depth_m: float
) -> BoardFit:
    """
    Calibrate with the simplest lens that no richer one clearly beats on held-out views.

    :param cameras: of rgb and ir; the image size of one that is to be calibrated.
    :raises CalibrationError: if the views are too few, too similar or contradictory.
    """
    is_given = all(isinstance(camera, Camera) for camera in cameras)
    least = MIN_VIEWS_GIVEN if is_given else MIN_VIEWS
    if len(views) < least:
        raise CalibrationError(
            f'both cameras see the board in {len(views)} pairs, expected at least {least}; check '
            'its size (rows x columns; inner corners), hold it at more places, tilted'
        )
    best: BoardFit | None = None
    refused: CalibrationError | None = None
    for lens in ('given',) if is_given else LENSES:
        try:
            found = _fit(views, board, cameras, depth_m, lens)
        except CalibrationError as error:
            refused = refused or error
            continue
        if best is None or found.median_px < BETTER * best.median_px:
            best = found
    if best is None:
        raise refused or CalibrationError('no lens fits the views of the board')
    best = _without_outliers(best, board, cameras, least)
    _check(best)
    return best


def fit_flat(views: list[View], model: str) -> Fit:
    """Fit a transform to boards that are as far away as the scene, or raise CalibrationError."""
    if len(views) < MIN_VIEWS_FLAT:
        raise CalibrationError(
            f'both cameras see the board in {len(views)} pairs, expected at least '
            f'{MIN_VIEWS_FLAT}, at different places of the image'
        )
    rgb_xy, ir_xy = (np.concatenate(_xy(views, stream)).astype(np.float64) for stream in STREAMS)
    groups = np.repeat(np.arange(len(views)), len(views[0].rgb_xy))
    found = fit_held_out(model, rgb_xy, ir_xy, groups)
    if found is None:
        raise CalibrationError(f'the boards do not determine a transform ({model})')
    return found


def _limit_px(found: BoardFit, part: float = MAX_ERROR) -> float:
    return part * max(found.calibration.ir.size_hw)


def _without_outliers(
    found: BoardFit, board: Board, cameras: Sequence[Camera | Size], least: int
) -> BoardFit:
    """Leave out views that contradict the others, if these are few."""
    medians = np.median(found.held_out_px, axis=1)
    off = medians > max(OUTLIER * found.median_px, _limit_px(found))
    if not off.any() or (~off).sum() < max(least, MIN_KEPT * len(off)):
        return found
    kept = [view for view, bad in zip(found.views, off, strict=True) if not bad]
    left_out = tuple(view.name for view, bad in zip(found.views, off, strict=True) if bad)
    depth_m = found.calibration.assumed_depth_m
    return replace(_fit(kept, board, cameras, depth_m, found.lens), left_out=left_out)


def _check(found: BoardFit) -> None:
    """Raise CalibrationError for a fit that cannot be trusted."""
    medians, limit_px = np.median(found.held_out_px, axis=1), _limit_px(found)
    worst, expected_px = int(medians.argmax()), float(np.median(found.expected_px))
    if medians[worst] > limit_px:
        reason = (
            f'pair {found.views[worst].name} is {medians[worst]:.1f} ir px from where the '
            f'others predict it, expected at most {limit_px:.1f}; hold the board still while both '
            'cameras expose, keep it flat, and all of its pattern visible'
        )
    elif not expected_px <= (limit_px := _limit_px(found, MAX_EXPECTED)):
        reason = (
            f'the expected error at {found.calibration.assumed_depth_m:g} m is {expected_px:.1f} '
            f'ir px, expected at most {limit_px:.1f}; hold the board at more places and distances'
        )
    else:
        return
    raise CalibrationError(f'the views of the board give no reliable calibration: {reason}')


def _fit(
    views: list[View], board: Board, cameras: Sequence[Camera | Size], depth_m: float, lens: str
) -> BoardFit:
    points_m = board.points_m

    def solve(some: list[View]) -> Extrinsics:
        xys = [_xy(some, stream) for stream in STREAMS]
        both = [
            camera if isinstance(camera, Camera) else _camera(xy, points_m, camera, lens)
            for xy, camera in zip(xys, cameras, strict=True)
        ]
        return _stereo(some, points_m, both, depth_m)

    for stream, size_or_camera in zip(STREAMS, cameras, strict=True):
        if not isinstance(size_or_camera, Camera):
            _check_focal_length(_xy(views, stream), points_m, size_or_camera, lens)
    calibration = solve(views)
    folds = np.arange(len(views)) % min(FOLDS, len(views))
    held_out_px, parts = np.zeros((len(views), len(points_m))), []
    for fold in range(folds.max() + 1):
        parts.append(solve([v for v, f in zip(views, folds, strict=True) if f != fold]))
        for i in np.flatnonzero(folds == fold):
            predicted = predict_ir(parts[-1], points_m, views[i].rgb_xy)
            held_out_px[i] = np.linalg.norm(predicted - views[i].ir_xy, axis=1)
    reprojected_px = np.zeros((len(views), 2))
    for j, camera in enumerate((calibration.rgb, calibration.ir)):
        for view, xy in enumerate(_xy(views, STREAMS[j])):
            _, turn, shift_m = cv2.solvePnP(points_m, xy, camera.k, camera.d)
            off = cv2.projectPoints(points_m, turn, shift_m, camera.k, camera.d)[0][:, 0] - xy
            reprojected_px[view, j] = np.sqrt((off**2).sum(axis=1).mean())
    sizes = calibration.rgb.size_hw, calibration.ir.size_hw
    points = visible(calibration, *sizes)
    covered = len(np.unique(parts_of(np.concatenate(_xy(views, 'rgb')), points)))
    jackknife_px = standard_errors_px([rgb_to_ir(part, points, *sizes) for part in parts])
    expected_px = 2 * jackknife_px * np.sqrt(PARTS / covered)
    return BoardFit(views, calibration, lens, reprojected_px, held_out_px, expected_px, covered)


def _xy(views: list[View], stream: str) -> list[np.ndarray]:
    return [getattr(view, f'{stream}_xy') for view in views]


def _solve_camera(xy: list[np.ndarray], points_m: np.ndarray, size_hw: Size, lens: str) -> Any:
    return cv2.calibrateCameraExtended(
        [points_m] * len(xy), xy, size_hw[::-1], np.eye(3), np.zeros(5), flags=LENSES[lens]
    )


def _camera(xy: list[np.ndarray], points_m: np.ndarray, size_hw: Size, lens: str) -> Camera:
    """Return the camera that sees the board so."""
    _, k, d, *_ = _solve_camera(xy, points_m, size_hw, lens)
    return Camera(size_hw, k, d.reshape(-1) if d.any() else np.zeros(0))


def _check_focal_length(
    xy: list[np.ndarray], points_m: np.ndarray, size_hw: Size, lens: str
) -> None:
    """Raise CalibrationError if the views of the board leave it open."""
    _, k, _, turns, _, errors, *_ = _solve_camera(xy, points_m, size_hw, lens)
    normals = np.array([cv2.Rodrigues(turn)[0][:, 2] for turn in turns])
    tilt_deg = float(np.degrees(np.arccos((normals @ normals.T).min().clip(-1, 1))))
    if not errors[1, 0] <= MAX_FOCAL_ERROR * k[1, 1] or tilt_deg < MIN_TILT_DEG:
        raise CalibrationError(
            f'the views of the board do not determine the focal length of the {size_hw[1]}x'
            f'{size_hw[0]} images; their tilts differ by {tilt_deg:.0f} degrees at most: tilt the '
            'board by 30 degrees and more to all sides, hold it near, and still'
        )


def _stereo(
    views: list[View], points_m: np.ndarray, cameras: list[Camera], depth_m: float
) -> Extrinsics:
    rgb, ir = cameras
    found = cv2.stereoCalibrate(
        [points_m] * len(views),
        *(_xy(views, 'rgb'), _xy(views, 'ir')),
        *(rgb.k, rgb.d, ir.k, ir.d),
        rgb.size_hw[::-1],
        flags=cv2.CALIB_FIX_INTRINSIC,
    )
    rotation, translation_m = found[5], found[6].reshape(3)
    return Extrinsics(rgb, ir, rotation, translation_m, depth_m)


def world_points_m(xy: np.ndarray, points_m: np.ndarray, camera: Camera) -> np.ndarray:
    """Return (n, 3) where the board's points are in the frame of the camera that sees them [m]."""
    _, turn, shift = cv2.solvePnP(points_m, xy, camera.k, camera.d)
    return points_m.astype(np.float64) @ cv2.Rodrigues(turn)[0].T + shift.T


def predict_ir(calibration: Extrinsics, points_m: np.ndarray, rgb_xy: np.ndarray) -> np.ndarray:
    """Return (n, 2) where ir sees a board that rgb sees at (n, 2) [px]."""
    world_m, ir = world_points_m(rgb_xy, points_m, calibration.rgb), calibration.ir
    rotation = cv2.Rodrigues(calibration.rotation)[0]
    return cv2.projectPoints(world_m, rotation, calibration.translation_m, ir.k, ir.d)[0][:, 0]
