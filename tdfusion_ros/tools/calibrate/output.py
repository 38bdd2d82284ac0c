"""What a calibration prints and writes: its figures, its file for the node, and its picture."""

from collections.abc import Sequence
import textwrap
from typing import Any

import cv2
import numpy as np
import yaml

from tdfusion_ros.core.calibration import Calibration
from tdfusion_ros.core.calibration import Extrinsics
from tdfusion_ros.core.calibration import Homography
from tdfusion_ros.core.calibration import Identity
from tdfusion_ros.core.calibration import Size
from tdfusion_ros.core.overlay import draw_edges
from tdfusion_ros.core.overlay import EDGES
from tdfusion_ros.core.registration import Registration
from tdfusion_ros.formats.image_files import encode_image
from tdfusion_ros.tools.calibrate import geometry
from tdfusion_ros.tools.calibrate.automatic import Estimate
from tdfusion_ros.tools.calibrate.image_pairs import GrayPair
from tdfusion_ros.tools.calibrate.plausibility import expected_error
from tdfusion_ros.tools.calibrate.plausibility import GOOD_PARTS
from tdfusion_ros.tools.calibrate.plausibility import halves_apart_px
from tdfusion_ros.tools.calibrate.transform_fit import Fit

TITLE_PX = 22


def estimate_figures(found: Estimate, pairs: int, rgb_hw: Size, ir_hw: Size) -> list[str]:
    """Return the accuracy of a transform found from pairs, a line each."""
    limit_px, errors_px = found.limit_px, found.held_out_px
    agree = errors_px[errors_px <= limit_px]
    several = found.matches.pair.any()
    halved_by = 'first and last pairs' if several else 'alternate squares of the one pair'
    apart_px = halves_apart_px(found, rgb_hw, ir_hw)
    expected = expected_error(found, rgb_hw, ir_hw)
    few = '; where there are none, check the picture' if expected.parts < GOOD_PARTS else ''
    return [
        f'expected error: {expected.median_px:.2f} ir px (median over the image), at worst '
        f'{expected.worst_px:.2f} px; {expected.parts} of 16 parts of it have matches{few}',
        f'from {pairs} pairs: {len(found.matches)} matches, {found.inliers.sum()} inliers '
        f'(within {limit_px:.1f} ir px)',
        f'held out ({halved_by}): {len(agree) / len(errors_px):.0%} of the matches '
        f'within {limit_px:.1f} px; their median {np.median(agree):.2f} px, p95 '
        f'{np.percentile(agree, 95):.2f} px; median of all matches {np.median(errors_px):.2f} px',
        f'calibrations of the two halves differ by {np.median(apart_px):.2f} px (median over the '
        f'image), {apart_px.max():.2f} px at most',
        transform_line(found.model, found.matrix, rgb_hw),
    ]


def point_figures(fit: Fit, rgb_hw: Size | None) -> list[str]:
    """Return the accuracy of a transform fitted to picked points, a line each."""
    off = fit.held_out_px
    lines = [
        f'from {len(off)} picked points: error of each when left out, median {np.median(off):.2f} '
        f'ir px, p95 {np.percentile(off, 95):.2f} px, largest {off.max():.2f} px at point '
        f'{int(off.argmax()) + 1}'
    ]
    return [*lines, transform_line(fit.model, fit.matrix, rgb_hw)] if rgb_hw else lines


def distance_table(errors_px: Sequence[float]) -> list[str]:
    """Return the errors at each of ``DISTANCES_M``, a line each."""
    names = ['infinity' if np.isinf(d) else f'{d:g} m' for d in geometry.DISTANCES_M]
    return [
        'error by distance, if the scene is not at the distance where the images line up:',
        '  distance ' + ''.join(f'{name:>10}' for name in names),
        '  ir px    ' + ''.join(f'{error:>10.1f}' for error in errors_px),
    ]


def transform_line(model: str, matrix: np.ndarray, rgb_hw: Size) -> str:
    """Return a line about a (3, 3) transform: zoom and angle at the center."""
    at_center = geometry.jacobians(matrix, np.array([geometry.center(rgb_hw)]))[0]
    zoom = np.sqrt(abs(np.linalg.det(at_center)))
    angle = np.degrees(np.arctan2(at_center[1, 0], at_center[0, 0]))
    return f'{model}: {zoom:.3f} ir px per rgb px, rotated by {angle:.1f} degrees'


def to_mapping(calibration: Homography | Extrinsics) -> dict[str, Any]:
    """Return a calibration as ``parse_calibration`` reads it."""
    if isinstance(calibration, Homography):
        sizes = {'rgb_size_hw': calibration.rgb_size_hw, 'ir_size_hw': calibration.ir_size_hw}
        known = {name: list(size) for name, size in sizes.items() if size is not None}
        return {'mode': 'homography', **known, 'homography': calibration.matrix.tolist()}
    cameras = {
        name: {'size_hw': list(camera.size_hw), 'k': camera.k.tolist(), 'd': camera.d.tolist()}
        for name, camera in (('rgb', calibration.rgb), ('ir', calibration.ir))
    }
    arrays = {name: getattr(calibration, name).tolist() for name in ('rotation', 'translation_m')}
    depth_m = calibration.assumed_depth_m
    return {'mode': 'extrinsics', **cameras, **arrays, 'assumed_depth_m': depth_m}


def yaml_text(calibration: Homography | Extrinsics, remarks: Sequence[str]) -> str:
    """Return the text of the file; the remarks come first, as comments."""
    lines = [line for remark in remarks for line in textwrap.wrap(remark, 97) or ['']]
    comments = ''.join(f'# {line}\n' for line in lines)
    values = to_mapping(calibration)
    return comments + yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=99)


def overlay_png(pairs: Sequence[GrayPair], calibration: Calibration) -> bytes:
    """Return ir's edges on rgb, before and after, of the first, the middle and the last pair."""
    maps = [Registration(shown) for shown in (Identity(), calibration)]
    rows = [
        np.hstack([draw_edges(rgb, *shown.apply(ir, rgb.shape[:2])) for shown in maps])
        for rgb, ir in (pairs[i] for i in sorted({0, len(pairs) // 2, len(pairs) - 1}))
    ]
    title = np.zeros((TITLE_PX, rows[0].shape[1], 3), np.uint8)
    for x, text in ((4, 'before: ir stretched over rgb'), (title.shape[1] // 2 + 4, 'after')):
        cv2.putText(title, text, (x, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, EDGES, 1, cv2.LINE_AA)
    return encode_image(np.vstack([title, *rows]))[1]
