"""What a calibration from boards prints, and its picture."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from tdfusion_ros.core.calibration import Extrinsics
from tdfusion_ros.core.calibration import Homography
from tdfusion_ros.core.calibration import resizing
from tdfusion_ros.core.calibration import Size
from tdfusion_ros.core.overlay import EDGES
from tdfusion_ros.core.overlay import FONT
from tdfusion_ros.core.registration import rgb_to_ir
from tdfusion_ros.formats.image_files import encode_image
from tdfusion_ros.tools.calibrate import geometry
from tdfusion_ros.tools.calibrate.board_fit import BoardFit
from tdfusion_ros.tools.calibrate.board_fit import world_points_m
from tdfusion_ros.tools.calibrate.board_views import Board
from tdfusion_ros.tools.calibrate.board_views import View
from tdfusion_ros.tools.calibrate.image_pairs import ImagePairs
from tdfusion_ros.tools.calibrate.output import transform_line
from tdfusion_ros.tools.calibrate.plausibility import GOOD_PARTS
from tdfusion_ros.tools.calibrate.transform_fit import Fit

SHOWN, ROW_PX = 8, 360


def distances_m(found: BoardFit, board: Board) -> list[float]:
    """Return how far the middle of each view's board is from rgb [m]."""
    rgb, points_m = found.calibration.rgb, board.points_m
    return [float(world_points_m(v.rgb_xy, points_m, rgb)[:, 2].mean()) for v in found.views]


def board_figures(found: BoardFit, board: Board) -> list[str]:
    """Return the accuracy of a calibration from boards, a line each."""
    calibration, held_out_px = found.calibration, found.held_out_px
    where = '' if found.parts >= GOOD_PARTS else '; hold it in the others, too'
    at_m, baseline_m = distances_m(found, board), np.linalg.norm(calibration.translation_m)
    rows = zip(found.views, found.reprojected_px, np.median(held_out_px, axis=1), strict=True)
    rms_px = np.sqrt(np.mean(found.reprojected_px**2, axis=0))
    cameras = zip(('rgb', 'ir'), (calibration.rgb, calibration.ir), rms_px, strict=True)
    return [
        f'expected error at {calibration.assumed_depth_m:g} m: {np.median(found.expected_px):.2f} '
        f'ir px (two standard errors, median over the image), at worst '
        f'{found.expected_px.max():.2f} px; the board was '
        f'in {found.parts} of 16 parts of what both cameras see{where}',
        f'held out: each board is predicted from rgb by a fit to other boards: median '
        f'{np.median(held_out_px):.2f} ir px, p95 {np.percentile(held_out_px, 95):.2f} px',
        *(
            f'{name}: focal length {camera.k[0, 0]:.1f} px, center {camera.k[0, 2]:.1f}, '
            f'{camera.k[1, 2]:.1f} ({found.lens}); reprojection error {rms:.2f} px'
            for name, camera, rms in cameras
        ),
        f'ir is {baseline_m:.3f} m from rgb; the boards were at {min(at_m):.2f} to '
        f'{max(at_m):.2f} m',
        *(f'left out, contradicts the others: {name}' for name in found.left_out),
        *(
            f'  {view.name}: reprojection error rgb {rgb:.2f} px, ir {ir:.2f} px; held out '
            f'{held_out:.2f} ir px'
            for view, (rgb, ir), held_out in rows
        ),
    ]


def flat_figures(found: Fit, views: Sequence[View], rgb_hw: Size) -> list[str]:
    """Return the accuracy of a transform fitted to boards, a line each."""
    medians = np.median(found.held_out_px.reshape(len(views), -1), axis=1)
    return [
        f'held out: each board is predicted by a fit to other boards: median '
        f'{np.median(found.held_out_px):.2f} ir px, p95 '
        f'{np.percentile(found.held_out_px, 95):.2f} px; right at the distance of the boards only',
        *(
            f'  {view.name}: held out {median:.2f} ir px'
            for view, median in zip(views, medians, strict=True)
        ),
        transform_line(found.model, found.matrix, rgb_hw),
    ]


def board_png(
    pairs: ImagePairs,
    board: Board,
    views: Sequence[View],
    aligned: Sequence[Extrinsics | Homography],
) -> bytes:
    """Return up to 8 views, a row each: the found points, and ir registered there."""
    chosen = np.linspace(0, len(views) - 1, min(SHOWN, len(views))).round().astype(int)
    rows = [_row(pairs, board, views[i], aligned[i]) for i in chosen]
    return encode_image(np.vstack(rows))[1]


def _row(
    pairs: ImagePairs, board: Board, view: View, aligned: Extrinsics | Homography
) -> np.ndarray:
    rgb, ir = pairs.gray[view.pair]
    at = _around(view.rgb_xy, pairs.rgb_hw)
    in_ir = rgb_to_ir(aligned, at, pairs.rgb_hw, pairs.ir_hw)
    aligned_here = []
    for image, xy in ((ir, in_ir.astype(np.float32)), (rgb, at.astype(np.float32))):
        seen = cv2.remap(image, xy[..., 0], xy[..., 1], cv2.INTER_LINEAR)
        low, high = np.percentile(seen, (2, 98))
        stretched = (seen - low) / max(high - low, 1e-6) * 255
        aligned_here.append(stretched.clip(0, 255).astype(np.uint8))
    red, cyan = aligned_here
    tiles = (
        _tile(rgb, f'rgb {view.name}', board, view.rgb_xy),
        _tile(cv2.convertScaleAbs(ir, alpha=255), 'ir', board, view.ir_xy),
        _tile(np.dstack([red, cyan, cyan]), 'red: ir, cyan: rgb, aligned here', board, None),
    )
    return np.hstack(tiles)


def _around(xy: np.ndarray, size_hw: Size) -> np.ndarray:
    """Return (360, 640, 2): the pixels of an image around a board, as a tile shows them."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    wide, tall = high - low
    width = min(1.6 * max(wide, tall * 16 / 9), size_hw[1] - 1, (size_hw[0] - 1) * 16 / 9)
    sides = np.array([width, width * 9 / 16])
    start = ((low + high - sides) / 2).clip(0, np.array(size_hw[::-1]) - 1 - sides)
    x, y = (
        np.linspace(a, a + side, count)
        for a, side, count in zip(start, sides, (ROW_PX * 16 // 9, ROW_PX), strict=True)
    )
    return np.stack(np.meshgrid(x, y), axis=-1)


def _tile(image: np.ndarray, title: str, board: Board, xy: np.ndarray | None) -> np.ndarray:
    size_hw = image.shape[0], image.shape[1]
    tile_hw = ROW_PX, round(size_hw[1] * ROW_PX / size_hw[0])
    tile = geometry.resized(image, tile_hw)
    tile = tile if tile.ndim == 3 else cv2.cvtColor(tile, cv2.COLOR_GRAY2RGB)
    if xy is not None:
        at = geometry.mapped(resizing(size_hw, tile_hw), xy).astype(np.float32)
        cv2.drawChessboardCorners(tile, (board.columns, board.rows), at[:, None], True)
    for color, width in (((0, 0, 0), 4), (EDGES, 1)):
        cv2.putText(tile, title, (6, 18), FONT, 0.55, color, width, cv2.LINE_AA)
    return tile


def aligned_at_boards(found: BoardFit, board: Board) -> list[Extrinsics]:
    """Return the calibration at the distance of each view's board."""
    return [replace(found.calibration, assumed_depth_m=at_m) for at_m in distances_m(found, board)]
