"""
Calibrate from points that somebody picked in both images.

A points file is YAML or JSON with two equally long lists of ``[x, y]``, under keys that begin with
``rgb`` (or ``vi``) and ``ir``; or CSV with the columns ``rgb_x,rgb_y,ir_x,ir_y``. Pixels count
from 0 at the top left; ``rgb_size_hw`` and ``ir_size_hw`` may give the image sizes.
"""

from collections.abc import Sequence
import csv
from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any

import numpy as np

from tdfusion_ros.core.calibration import parse_size
from tdfusion_ros.core.calibration import Size
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.formats.plain_yaml import read_yaml
from tdfusion_ros.formats.read_errors import reading
from tdfusion_ros.tools.calibrate.transform_fit import Fit
from tdfusion_ros.tools.calibrate.transform_fit import fit_held_out
from tdfusion_ros.tools.calibrate.transform_fit import least_squares
from tdfusion_ros.tools.calibrate.transform_fit import MODELS

MIN_POINTS = 4
MAX_POINTS = 1000  # each point costs a fit without it
PREFIXES = {'rgb': ('rgb', 'vi'), 'ir': ('ir',)}
MIN_GAIN = 0.8  # a richer model must reduce the median leave-one-out error to this part
MAX_ERROR = 0.025  # median leave-one-out error, as a part of the ir image's width
OUTLIER = 6.0  # a point with this many times the median error is a mistake


@dataclass(frozen=True, eq=False)
class Points:
    """Places picked in both images, (n, 2) each [px], and the sizes of these, if known."""

    rgb_xy: np.ndarray
    ir_xy: np.ndarray
    rgb_size_hw: Size | None = None
    ir_size_hw: Size | None = None


def read_points(path: Path) -> Points:
    """Read a points file; CalibrationError with what is missing or wrong."""
    others = ValueError, RecursionError, csv.Error
    with reading(CalibrationError, f'points {path} cannot be read', *others):
        text = path.read_text(encoding='utf-8-sig')
        if path.suffix.lower() == '.csv':
            return _from_csv(text, path)
        raw = json.loads(text) if path.suffix.lower() == '.json' else read_yaml(text)
    if not isinstance(raw, dict):
        raise CalibrationError(f'points {path}: expected a mapping with rgb_xy and ir_xy')
    keys = ('rgb_size_hw', 'ir_size_hw')
    sizes = [parse_size(raw.pop(key, None), f'points {path}: {key}') for key in keys]
    rgb_xy, ir_xy = (_xy(raw, stream, path) for stream in PREFIXES)
    if len(rgb_xy) != len(ir_xy):
        raise CalibrationError(
            f'points {path}: got {len(rgb_xy)} rgb points and {len(ir_xy)} ir points, expected '
            'as many of both'
        )
    return Points(rgb_xy, ir_xy, *sizes)


def fit_points(points: Points, models: Sequence[str] = MODELS) -> Fit:
    """Fit the simplest model that no richer one clearly beats, or raise CalibrationError."""
    count = len(points.rgb_xy)
    if count < MIN_POINTS:
        least = f'expected at least {MIN_POINTS}, better 10 or more, spread over the image'
        raise CalibrationError(f'got {count} points, {least}')
    best = None
    for model in models:
        found = fit_held_out(model, points.rgb_xy, points.ir_xy, np.arange(count))
        if found is None:
            continue
        if (
            best is None
            or np.median(found.held_out_px) < MIN_GAIN * np.median(best.held_out_px) - 0.05
        ):
            best = found
    if best is None:
        raise CalibrationError(
            f'{count} points do not determine a transform ({", ".join(models)}): they are too few '
            'or lie on a line; pick points spread over the image'
        )
    off_px = best.held_out_px
    width = points.ir_size_hw[1] if points.ir_size_hw else float(np.ptp(points.ir_xy[:, 0]))
    worst, max_px = int(off_px.argmax()), MAX_ERROR * width
    if best.median_px > max_px or off_px[worst] > max(OUTLIER * best.median_px, max_px):
        raise CalibrationError(
            f'the points contradict each other: point {worst + 1} of {count} (rgb '
            f'{points.rgb_xy[worst].round(1)}, ir {points.ir_xy[worst].round(1)}) is '
            f'{off_px[worst]:.1f} ir px from where the other points predict it, the median error '
            f'is {best.median_px:.1f}; correct the point or remove it'
        )
    return best


def rough_start(points: Points) -> np.ndarray:
    """Return the similarity, (3, 3), that fits rough points, or raise CalibrationError."""
    matrix = least_squares('similarity', points.rgb_xy, points.ir_xy)
    if matrix is None:
        count = len(points.rgb_xy)
        raise CalibrationError(f'{count} points give no rough start; pick two or more, far apart')
    return matrix


def _xy(raw: dict[Any, Any], stream: str, path: Path) -> np.ndarray:
    keys = [key for key in raw if str(key).lower().startswith(PREFIXES[stream])]
    if len(keys) != 1:
        raise CalibrationError(
            f'points {path}: expected one list of [x, y] named {stream}_xy, got the keys '
            f'{", ".join(map(str, raw)) or "none"}'
        )
    return _table(raw[keys[0]], 2, path, str(keys[0]))


def _from_csv(text: str, path: Path) -> Points:
    rows = [row for row in csv.reader(text.splitlines()) if row]
    rows = [row for row in rows if not row[0].lstrip().startswith('#')]
    if rows and rows[0][0].strip().lower() == 'rgb_x':
        rows = rows[1:]
    table = _table(rows, 4, path, 'rgb_x,rgb_y,ir_x,ir_y')
    return Points(table[:, :2], table[:, 2:])


def _table(raw: Any, columns: int, path: Path, name: str) -> np.ndarray:
    try:
        table = np.array(raw, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        table = np.full((1, columns), np.nan)
    if table.size == 0:
        return np.zeros((0, columns))
    if table.ndim == 2 and len(table) > MAX_POINTS:
        raise CalibrationError(f'{path}: got {len(table)} points, expected at most {MAX_POINTS}')
    if table.ndim != 2 or table.shape[1] != columns or not np.isfinite(table).all():
        raise CalibrationError(f'points {path}: {name} must be rows of {columns} numbers')
    return table
