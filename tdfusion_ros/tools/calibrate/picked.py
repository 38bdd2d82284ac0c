"""
Calibrate from points that somebody picked in both images.

A file of points is YAML or JSON with two lists of ``[x, y]`` as long as each other, under keys
that begin with ``rgb`` (or ``vi``) and ``ir``; or CSV with the columns ``rgb_x,rgb_y,ir_x,ir_y``.
Pixels count from 0, at the top left; ``rgb_size_hw`` and ``ir_size_hw`` may say of which images.
"""

from collections.abc import Sequence
import csv
from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tdfusion_ros.core.data import MAX_SIDE_PX
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.formats.plain_yaml import read_yaml
from tdfusion_ros.tools.calibrate.fit import exact
from tdfusion_ros.tools.calibrate.fit import leave_one_out
from tdfusion_ros.tools.calibrate.fit import MODELS
from tdfusion_ros.tools.calibrate.geometry import Size

LEAST_POINTS = 4
MOST_POINTS = 1000  # nobody picks more, and each is fitted without in turn
SIDES = {'rgb': ('rgb', 'vi'), 'ir': ('ir',)}
LEAST_GAIN = 0.8  # a richer transform must bring the left-out points this much closer
MOST_ERROR = 0.025  # of a left-out point (median), as a part of the ir image's width
OUTLIER = 6.0  # a point this many times farther off than the median one is a slip


@dataclass(frozen=True, eq=False)
class Points:
    """
    Places picked in both images.

    :param rgb_xy: (n, 2) [px].
    :param ir_xy: (n, 2) [px].
    """

    rgb_xy: np.ndarray
    ir_xy: np.ndarray
    rgb_size_hw: Size | None = None
    ir_size_hw: Size | None = None


@dataclass(frozen=True, eq=False)
class Fitted:
    """
    A transform fitted to picked points.

    :param matrix: (3, 3), ir pixel = matrix · rgb pixel.
    :param left_out_px: (n,) how far each point is from where all others put it [ir px].
    """

    model: str
    matrix: np.ndarray
    left_out_px: np.ndarray


def read_points(path: Path) -> Points:
    """
    Read a file of picked points.

    :raises CalibrationError: naming what is missing.
    """
    try:
        text = path.read_text(encoding='utf-8-sig')
        if path.suffix.lower() == '.csv':
            return _from_rows(list(csv.reader(text.splitlines())), path)
        raw = json.loads(text) if path.suffix.lower() == '.json' else read_yaml(text)
    except (OSError, ValueError, RecursionError, csv.Error, yaml.YAMLError) as error:
        raise CalibrationError(f'points {path} cannot be read: {error}') from None
    if not isinstance(raw, dict):
        raise CalibrationError(f'points {path}: expected a mapping with rgb_xy and ir_xy')
    sizes = {side: raw.pop(f'{side}_size_hw', None) for side in SIDES}
    xy = {side: _list_of(raw, side, path) for side in SIDES}
    if len(xy['rgb']) != len(xy['ir']):
        raise CalibrationError(
            f'points {path}: {len(xy["rgb"])} of rgb and {len(xy["ir"])} of ir, expected pairs'
        )
    return Points(xy['rgb'], xy['ir'], *(_size(sizes[side], side, path) for side in SIDES))


def fit_points(points: Points, models: Sequence[str] = MODELS) -> Fitted:
    """
    Return the simplest transform that puts left-out points about as near as any richer one.

    :raises CalibrationError: if there are too few points, they lie on a line, or one is a slip.
    """
    count = len(points.rgb_xy)
    if count < LEAST_POINTS:
        raise CalibrationError(
            f'{count} points were given, expected at least {LEAST_POINTS}, better 10 or more, '
            'spread over the image'
        )
    best = None
    for model in models:
        left_out = leave_one_out(model, points.rgb_xy, points.ir_xy)
        better = best is None or (
            left_out is not None
            and np.median(left_out) < LEAST_GAIN * np.median(best.left_out_px) - 0.05
        )
        matrix = exact(model, points.rgb_xy, points.ir_xy)
        if left_out is not None and matrix is not None and better:
            best = Fitted(model, matrix, left_out)
    if best is None:
        raise CalibrationError(
            f'{count} points do not determine a transform ({", ".join(models)}): they are too few '
            'or lie on a line; pick points spread over the image'
        )
    _check(best, points)
    return best


def rough_start(points: Points) -> np.ndarray:
    """
    Return the similarity that a few rough points say, (3, 3).

    :raises CalibrationError: if they are too few or all in one place.
    """
    matrix = None
    if len(points.rgb_xy) >= 2:
        matrix = exact('similarity', points.rgb_xy, points.ir_xy)
    if matrix is None:
        raise CalibrationError(
            f'{len(points.rgb_xy)} points do not say where to begin; give two or more, far apart'
        )
    return matrix


def _check(fitted: Fitted, points: Points) -> None:
    off_px = fitted.left_out_px
    width = (points.ir_size_hw or (0, float(np.ptp(points.ir_xy[:, 0]))))[1]
    worst, usual = int(off_px.argmax()), float(np.median(off_px))
    slip = off_px[worst] > max(OUTLIER * usual, MOST_ERROR * width)
    if slip or usual > MOST_ERROR * width:
        at = f'rgb {points.rgb_xy[worst].round(1)}, ir {points.ir_xy[worst].round(1)}'
        raise CalibrationError(
            f'the points do not fit together: point {worst + 1} of {len(off_px)} ({at}) is '
            f'{off_px[worst]:.1f} ir px from where the others put it, the median is '
            f'{usual:.1f}; correct it or leave it out'
        )


def _list_of(raw: dict[Any, Any], side: str, path: Path) -> np.ndarray:
    keys = [key for key in raw if str(key).lower().startswith(SIDES[side])]
    if len(keys) != 1:
        raise CalibrationError(
            f'points {path}: expected one list of [x, y] under {side}_xy, its keys are '
            f'{", ".join(map(str, raw)) or "none"}'
        )
    return _array(raw[keys[0]], 2, path, str(keys[0]))


def _from_rows(rows: list[list[str]], path: Path) -> Points:
    rows = [row for row in rows if row and not row[0].lstrip().startswith('#')]
    if rows and rows[0][0].strip().lower() == 'rgb_x':
        rows = rows[1:]
    table = _array(rows, 4, path, 'rgb_x,rgb_y,ir_x,ir_y')
    return Points(table[:, :2], table[:, 2:])


def _array(raw: Any, columns: int, path: Path, name: str) -> np.ndarray:
    try:
        array = np.array(raw, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.full((1, columns), np.nan)
    if array.size == 0:
        return np.zeros((0, columns))
    if array.ndim == 2 and len(array) > MOST_POINTS:
        raise CalibrationError(f'points {path}: {len(array)} points, at most {MOST_POINTS}')
    if array.ndim != 2 or array.shape[1] != columns or not np.isfinite(array).all():
        raise CalibrationError(f'points {path}: {name} must be rows of {columns} numbers')
    return array


def _size(raw: Any, side: str, path: Path) -> Size | None:
    if raw is None:
        return None
    if not (
        isinstance(raw, list)
        and len(raw) == 2
        and all(type(n) is int and 1 <= n <= MAX_SIDE_PX for n in raw)
    ):
        raise CalibrationError(f'points {path}: {side}_size_hw must be [height, width]')
    return raw[0], raw[1]
