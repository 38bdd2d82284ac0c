"""
Measure ``tdfusion calibrate`` on real pairs whose misregistration is known.

    python -m benchmarks.calibration_error --data DATA [--pictures out]

DATA has the folders misreg_landmarks, misreg_flow, m3svd_seq, msrs_det, boards, or some of them.
Errors are medians in pixels of ir, over landmarks or over a grid of points: before (ir stretched
over rgb), with picked points, and from the images alone.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from tdfusion_ros.atomic import NewOutput
from tdfusion_ros.atomic import write_file
from tdfusion_ros.core.calibration import Homography
from tdfusion_ros.core.calibration import resizing
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.registration import inside
from tdfusion_ros.formats.image_files import image_files
from tdfusion_ros.formats.image_files import read_image
from tdfusion_ros.tools.calibrate import geometry
from tdfusion_ros.tools.calibrate.automatic import calibrate
from tdfusion_ros.tools.calibrate.board_fit import fit_board
from tdfusion_ros.tools.calibrate.board_report import aligned_at_boards
from tdfusion_ros.tools.calibrate.board_report import board_png
from tdfusion_ros.tools.calibrate.board_views import Board
from tdfusion_ros.tools.calibrate.board_views import find_views
from tdfusion_ros.tools.calibrate.image_pairs import GrayPair
from tdfusion_ros.tools.calibrate.image_pairs import ImagePairs
from tdfusion_ros.tools.calibrate.output import overlay_png
from tdfusion_ros.tools.calibrate.picked_points import fit_points
from tdfusion_ros.tools.calibrate.picked_points import Points
from tdfusion_ros.tools.calibrate.picked_points import read_points
from tdfusion_ros.tools.calibrate.plausibility import check_estimate
from tdfusion_ros.tools.calibrate.plausibility import expected_error
from tdfusion_ros.tools.calibrate.transform_fit import errors_px
from training import shell

PICK_PX = 1.0  # standard deviation of a picked point, in both images
HALVINGS = 20
MAX_PAIRS = 24
SHIFT_PX, TURN_DEG, ZOOM = (16.0, 12.0), 3.0, 1.05
PICKED = Path(__file__).parent / 'picked_points'
BOARDS = {  # and the pairs in which points were picked by hand
    'discs': (Board('discs', 4, 6, 0.1), ('02000222', '09000074')),
    'checkerboard': (Board('checkerboard', 6, 4, 0.035), ('20251006_103617', '20251006_103902')),
}
LINE = '{:<24}{:>8}{:>20}{:>14}   {}'


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = shell.parser('benchmarks.calibration_error', __doc__)
    parser.add_argument('--data', type=Path, required=True, help='folder of the data sets')
    parser.add_argument('--pictures', type=Path, help='new folder for overlays')
    options = parser.parse_args(argv)
    with NewOutput(options.pictures) if options.pictures else nullcontext() as pictures:
        print(LINE.format('', 'before', 'picked, 1 px', 'from images', ''))
        measures = (landmarks, flow, sequences, boards)
        if not sum(measure(options.data, pictures) for measure in measures):
            raise ConfigError(f'{options.data} has none of the data sets')


def landmarks(data: Path, pictures: Path | None) -> int:
    """Measure single pairs of several rigs, unregistered, with landmarks; return their number."""
    pairs = read(data / 'misreg_landmarks', 'ir')
    for name, pair in pairs.items():
        points = read_points(data / 'misreg_landmarks' / 'landmarks' / f'{name}.json')
        rgb_xy, ir_xy = points.rgb_xy - 1, points.ir_xy - 1  # MATLAB counts from 1
        single_pair(f'landmarks {name}', pair, (rgb_xy, ir_xy), pictures)
    return len(pairs)


def flow(data: Path, pictures: Path | None) -> int:
    """Measure single pairs of MSRS, warped by a known field that is no homography."""
    pairs = read(data / 'misreg_flow', 'ir_warp')
    for name, pair in pairs.items():
        field = next(iter(np.load(data / 'misreg_flow' / 'grid' / f'{name}.npz').values()))
        size = np.array(field.shape[1::-1])
        ir_xy = geometry.grid(field.shape[:2]).round().astype(int)
        rgb_xy = ((field[ir_xy[:, 1], ir_xy[:, 0]].astype(np.float64) + 1) * size - 1) / 2
        visible = inside(rgb_xy, field.shape[:2])
        points = rgb_xy[visible], ir_xy[visible].astype(float)
        single_pair(f'flow {name}', pair, points, pictures)
    return len(pairs)


def sequences(data: Path, pictures: Path | None) -> int:
    """Measure registered sequences of M3SVD, and MSRS by day and by night, under a known warp."""
    rows, msrs = 0, data / 'msrs_det'
    sets = [(f'm3svd {path.name}', path, '') for path in sorted((data / 'm3svd_seq').glob('*/'))]
    for name, folder, ending in (*sets, ('msrs day', msrs, 'D'), ('msrs night', msrs, 'N')):
        if pairs := list(read(folder, 'ir', ending).values()):
            known_warp(name, pairs, pictures)
            rows += 1
    return rows


def boards(data: Path, pictures: Path | None) -> int:
    """Measure boards, and points picked by hand at two of them, at the points of the others."""
    rows = 0
    for kind, (board, picked_in) in BOARDS.items():
        pairs = read(data / 'boards' / kind, 'ir')
        if not pairs:
            continue
        images = ImagePairs(list(pairs.values()), list(pairs))
        views = find_views(images, board, print)[0]
        found = fit_board(views, board, (images.rgb_hw, images.ir_hw), 5.0)
        picked_xy = read_points(PICKED / f'{kind}.csv')
        points = fit_points(replace(picked_xy, rgb_size_hw=images.rgb_hw, ir_size_hw=images.ir_hw))
        others = [i for i, view in enumerate(found.views) if view.name not in picked_in]
        by_points = [
            errors_px(points.matrix, found.views[i].rgb_xy, found.views[i].ir_xy) for i in others
        ]
        by_board = found.held_out_px[others]
        remark = (
            f'p95 {np.percentile(by_points, 95):.2f}; from the other boards '
            f'{np.median(by_board):.2f}, p95 {np.percentile(by_board, 95):.2f}'
        )
        print(LINE.format(kind, '-', f'{np.median(by_points):.2f}', '-', remark), flush=True)
        if pictures:
            aligned = aligned_at_boards(found, board)
            write_file(pictures / f'{kind}.png', board_png(images, board, found.views, aligned))
        rows += 1
    return rows


def read(folder: Path, ir: str, ending: str = '') -> dict[str, GrayPair]:
    """Return up to 24 pairs of the folders ``vi`` and ``ir`` by name, spread evenly."""
    if not folder.is_dir():
        return {}
    rgb_files, ir_files = image_files(folder / 'vi'), image_files(folder / ir)
    names = sorted(name for name in rgb_files if name.endswith(ending))
    spread = np.linspace(0, len(names) - 1, min(MAX_PAIRS, len(names))).round().astype(int)
    return {
        name: (gray(rgb_files[name]), gray(ir_files[name]).astype(np.float32) / 255)
        for name in (names[i] for i in spread)
    }


def gray(file: Path) -> np.ndarray:
    """Return an image as (H, W) uint8; some ir images have a marking in color."""
    pixels = read_image(file)
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.ndim == 3 else pixels


def single_pair(
    name: str, pair: GrayPair, points: tuple[np.ndarray, np.ndarray], pictures: Path | None
) -> None:
    """Print the errors at known points: rgb and ir, each (n, 2)."""
    stretched = resizing(pair[0].shape, pair[1].shape)
    before = np.median(errors_px(stretched, *points))
    matrix, remark = from_images([pair])
    after = 'refused' if matrix is None else f'{np.median(errors_px(matrix, *points)):.2f}'
    print(LINE.format(name, f'{before:.2f}', picked(*points), after, remark), flush=True)
    overlay(pictures, name, [pair], matrix)


def picked(rgb_xy: np.ndarray, ir_xy: np.ndarray) -> str:
    """Return the error at half of the points if the others are picked with noise."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(HALVINGS):
        order = rng.permutation(len(rgb_xy))
        half, other = order[: min(len(order) // 2, 10)], order[len(order) // 2 :]
        noise = rng.normal(0, PICK_PX, (2, len(half), 2))
        try:
            matrix = fit_points(Points(rgb_xy[half] + noise[0], ir_xy[half] + noise[1])).matrix
        except CalibrationError:
            continue
        found.append(np.median(errors_px(matrix, rgb_xy[other], ir_xy[other])))
    refused = HALVINGS - len(found)
    return f'{np.median(found):.2f}' + (f' ({refused} refused)' if refused else '')


def known_warp(name: str, pairs: Sequence[GrayPair], pictures: Path | None) -> None:
    """Print the errors for registered pairs whose ir is warped: 20 px, 3 degrees and 5 %."""
    rgb_hw, ir_hw = pairs[0][0].shape, pairs[0][1].shape
    turn = cv2.getRotationMatrix2D(geometry.center(ir_hw), TURN_DEG, ZOOM)
    turn[:, 2] += np.array(SHIFT_PX)
    warp = np.vstack([turn, [0, 0, 1]])
    points = geometry.grid(rgb_hw)
    points = points[inside(geometry.mapped(warp, points), ir_hw)]
    before = np.median(errors_px(warp, points, points))
    own, _ = from_images(pairs)  # the misregistration of the data set itself
    warped = [(rgb, cv2.warpPerspective(ir, warp, ir.shape[::-1])) for rgb, ir in pairs]
    matrix, remark = from_images(warped)
    after = 'refused'
    if matrix is not None:
        after = f'{np.median(errors_px(matrix, points, geometry.mapped(warp, points))):.2f}'
    if matrix is not None and own is not None:
        unwarped = np.median(errors_px(own, points, points))
        relative = np.median(errors_px(matrix, points, geometry.mapped(warp @ own, points)))
        remark += f'; without warp {unwarped:.2f}, relative to that {relative:.2f}'
    print(LINE.format(f'{name} x {len(pairs)}', f'{before:.2f}', '-', after, remark), flush=True)
    overlay(pictures, name, warped, matrix)


def from_images(pairs: Sequence[GrayPair]) -> tuple[np.ndarray | None, str]:
    """Return the transform that the images give, and how good it is, or why it was refused."""
    try:
        found = calibrate(pairs)
        sizes = pairs[0][0].shape, pairs[0][1].shape
        check_estimate(found, *sizes)
    except CalibrationError as error:
        return None, str(error)
    matches = f'{found.model}, {found.inliers.sum()} of {len(found.matches)} matches'
    return found.matrix, f'{matches}, expected error {expected_error(found, *sizes).median_px:.2f}'


def overlay(
    folder: Path | None, name: str, pairs: Sequence[GrayPair], matrix: np.ndarray | None
) -> None:
    """Write the edges of ir over rgb for three of the pairs."""
    if folder is not None and matrix is not None:
        path = folder / f'{name.replace(" ", "_")}.png'
        write_file(path, overlay_png(pairs, Homography(matrix)))


if __name__ == '__main__':
    shell.run('calibration_error', main)
