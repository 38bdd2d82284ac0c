"""
Measure ``tdfusion calibrate`` on real pairs whose misregistration is known.

    python -m benchmarks.calibration_error --data ../shared/data [--pictures out]

Errors are medians in pixels of ir, over landmarks or over a grid of points: before (ir stretched
over rgb), with picked points, and found from the images alone.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
import sys

import cv2
import numpy as np

from tdfusion_ros.core.calibration import Homography
from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.formats.offline import FolderSource
from tdfusion_ros.tools.calibrate.automatic import calibrate
from tdfusion_ros.tools.calibrate.fit import errors
from tdfusion_ros.tools.calibrate.geometry import grid
from tdfusion_ros.tools.calibrate.geometry import inside
from tdfusion_ros.tools.calibrate.geometry import mapped
from tdfusion_ros.tools.calibrate.geometry import resizing
from tdfusion_ros.tools.calibrate.output import write_overlay
from tdfusion_ros.tools.calibrate.patch_matching import GrayPair
from tdfusion_ros.tools.calibrate.picked import fit_points
from tdfusion_ros.tools.calibrate.picked import Points
from tdfusion_ros.tools.calibrate.picked import read_points
from tdfusion_ros.tools.calibrate.plausibility import check_estimate
from tdfusion_ros.tools.calibrate.samples import some_pairs

CLICK_PX = 1.0  # standard deviation of a click, in both images
HALVINGS = 20
SHIFT_PX, TURN_DEG, ZOOM = (16.0, 12.0), 3.0, 1.05
LINE = '{:<24}{:>8}{:>20}{:>14}   {}'


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--data', type=Path, default=Path('../shared/data'))
    parser.add_argument('--pictures', type=Path, help='folder for overlays')
    options = parser.parse_args(argv)
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
    try:
        print(LINE.format('', 'before', 'picked, 1 px', 'from images', ''))
        _landmarks(options.data / 'misreg_landmarks', options.pictures)
        _flow(options.data / 'misreg_flow', options.pictures)
        for sequence in sorted((options.data / 'm3svd_seq').glob('*/')):
            _warped(f'm3svd {sequence.name}', _all(sequence), options.pictures)
        pairs = _all(options.data / 'msrs_det')
        for name, half in (('day', pairs[: len(pairs) // 2]), ('night', pairs[len(pairs) // 2 :])):
            _warped(f'msrs {name}', half, options.pictures)
    except FusionError as error:
        print(f'calibration_error: {error}', file=sys.stderr)
        return 1
    return 0


def known_warp(size_hw: tuple[int, int]) -> np.ndarray:
    """Return (3, 3): 20 px of shift, 3 degrees and 5 % about the center of an image."""
    center = (size_hw[1] - 1) / 2, (size_hw[0] - 1) / 2
    turn = cv2.getRotationMatrix2D(center, TURN_DEG, ZOOM)
    turn[:, 2] += SHIFT_PX
    return np.vstack([turn, [0, 0, 1]])


def warped(pairs: Sequence[GrayPair], warp: np.ndarray) -> list[GrayPair]:
    """Return the pairs with every ir image warped."""
    return [(rgb, cv2.warpPerspective(ir, warp, ir.shape[::-1])) for rgb, ir in pairs]


def _landmarks(folder: Path, pictures: Path | None) -> None:
    """Eight pairs of several rigs, really unregistered, with landmarks."""
    for named in FolderSource(folder / 'vi', folder / 'ir'):
        if named.ir.pixels.ndim == 3:  # some have a marking in color; the node would refuse them
            gray = cv2.cvtColor(named.ir.pixels, cv2.COLOR_RGB2GRAY)
            named = named._replace(ir=replace(named.ir, pixels=gray))
        pairs = some_pairs([named], 1, IrConfig())
        points = read_points(folder / 'landmarks' / f'{named.name}.json')
        rgb_xy, ir_xy = points.rgb_xy - 1, points.ir_xy - 1  # of MATLAB: they count from 1
        _line(f'landmarks {named.name}', pairs.gray, rgb_xy, ir_xy, pictures)


def _flow(folder: Path, pictures: Path | None) -> None:
    """Three pairs of MSRS that were warped by a known field, which is no homography."""
    for named in FolderSource(folder / 'vi', folder / 'ir_warp'):
        pairs = some_pairs([named], 1, IrConfig())
        field = next(iter(np.load(folder / 'grid' / f'{named.name}.npz').values()))
        size = np.array(field.shape[1::-1])
        ir_xy = grid(field.shape[:2]).round().astype(int)
        rgb_xy = ((field[ir_xy[:, 1], ir_xy[:, 0]].astype(np.float64) + 1) * size - 1) / 2
        seen = inside(rgb_xy, field.shape[:2])
        _line(f'flow {named.name}', pairs.gray, rgb_xy[seen], ir_xy[seen].astype(float), pictures)


def _line(
    name: str,
    pairs: Sequence[GrayPair],
    rgb_xy: np.ndarray,
    ir_xy: np.ndarray,
    pictures: Path | None,
) -> None:
    stretched = resizing(pairs[0][0].shape, pairs[0][1].shape)
    before = np.median(errors(stretched, rgb_xy, ir_xy))
    matrix, remark = _found(pairs)
    after = 'refused' if matrix is None else f'{np.median(errors(matrix, rgb_xy, ir_xy)):.2f}'
    print(LINE.format(name, f'{before:.2f}', _picked(rgb_xy, ir_xy), after, remark), flush=True)
    _picture(pictures, name, pairs, matrix)


def _picked(rgb_xy: np.ndarray, ir_xy: np.ndarray) -> str:
    """Return the error of the other half of points when half of them are clicked, not exactly."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(HALVINGS):
        order = rng.permutation(len(rgb_xy))
        half, other = order[: min(len(order) // 2, 10)], order[len(order) // 2 :]
        clicked = (xy[half] + rng.normal(0, CLICK_PX, (len(half), 2)) for xy in (rgb_xy, ir_xy))
        try:
            matrix = fit_points(Points(*clicked)).matrix
        except CalibrationError:
            continue
        found.append(np.median(errors(matrix, rgb_xy[other], ir_xy[other])))
    refused = HALVINGS - len(found)
    return f'{np.median(found):.2f}' + (f' ({refused} refused)' if refused else '')


def _warped(name: str, pairs: Sequence[GrayPair], pictures: Path | None) -> None:
    """Pairs that are registered, ir warped by a homography: all pairs at once."""
    rgb_hw, ir_hw = pairs[0][0].shape, pairs[0][1].shape
    warp = known_warp(ir_hw)
    points = grid(rgb_hw)
    points = points[inside(mapped(warp, points), ir_hw)]
    truth = mapped(warp, points)
    before = np.median(np.linalg.norm(truth - points, axis=1))
    bent = warped(pairs, warp)
    own, _ = _found(pairs)  # what is left of misregistration in the data set itself
    matrix, remark = _found(bent)
    after = 'refused'
    if matrix is not None:
        after = f'{np.median(errors(matrix, points, truth)):.2f}'
        if own is not None:
            consistent = np.median(errors(matrix, points, mapped(warp @ own, points)))
            left = np.median(errors(own, points, points))
            remark = f'{remark}; unwarped {left:.2f}, against warp of that {consistent:.2f}'
    print(LINE.format(f'{name} x {len(pairs)}', f'{before:.2f}', '-', after, remark), flush=True)
    _picture(pictures, name, bent, matrix)


def _found(pairs: Sequence[GrayPair]) -> tuple[np.ndarray | None, str]:
    """Return what calibration from the images gives, and how, or why it refused."""
    try:
        estimate = calibrate(pairs)
        check_estimate(estimate, pairs[0][0].shape, pairs[0][1].shape)
    except CalibrationError as error:
        return None, str(error)
    return estimate.matrix, (
        f'{estimate.held_out.model}, {estimate.inliers.sum()} of {len(estimate.matches)} matches'
    )


def _picture(
    folder: Path | None, name: str, pairs: Sequence[GrayPair], matrix: np.ndarray | None
) -> None:
    if folder is not None and matrix is not None:
        some = [pairs[i] for i in sorted({0, len(pairs) // 2, len(pairs) - 1})]
        path = folder / f'{name.replace(" ", "_")}.png'
        write_overlay(path, some, Homography(matrix))


def _all(folder: Path) -> list[GrayPair]:
    """Return up to 24 pairs of a data set, spread evenly."""
    return some_pairs(FolderSource(folder / 'vi', folder / 'ir'), 24, IrConfig()).gray


if __name__ == '__main__':
    sys.exit(main())
