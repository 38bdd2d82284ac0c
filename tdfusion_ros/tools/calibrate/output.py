"""Write a calibration as the node reads it, and a picture to judge it by."""

from collections.abc import Sequence
from pathlib import Path
import textwrap
from typing import Any

import cv2
import numpy as np
import yaml

from tdfusion_ros.core.calibration import Calibration
from tdfusion_ros.core.calibration import Camera
from tdfusion_ros.core.calibration import Extrinsics
from tdfusion_ros.core.calibration import Homography
from tdfusion_ros.core.calibration import Identity
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.core.overlay import draw_edges
from tdfusion_ros.core.overlay import EDGES
from tdfusion_ros.core.registration import Registration

TITLE_PX = 22


def document(calibration: Homography | Extrinsics) -> dict[str, Any]:
    """Return a calibration as ``parse_calibration`` reads it."""
    if isinstance(calibration, Homography):
        sizes = {
            'rgb_size_hw': calibration.rgb_size_hw,
            'ir_size_hw': calibration.ir_size_hw,
        }
        return {
            'mode': 'homography',
            **{name: list(size) for name, size in sizes.items() if size is not None},
            'homography': calibration.matrix.tolist(),
        }
    return {
        'mode': 'extrinsics',
        'rgb': _camera(calibration.rgb),
        'ir': _camera(calibration.ir),
        'rotation': calibration.rotation.tolist(),
        'translation_m': calibration.translation_m.tolist(),
        'assumed_depth_m': calibration.assumed_depth_m,
    }


def yaml_text(calibration: Homography | Extrinsics, remarks: Sequence[str]) -> str:
    """Return the file's text; the remarks stand above as comments."""
    lines = [
        part
        for remark in remarks
        for part in textwrap.wrap(remark, 97, replace_whitespace=False) or ['']
    ]
    comments = ''.join(f'# {line}\n' for line in lines)
    return comments + yaml.safe_dump(
        document(calibration), sort_keys=False, default_flow_style=None, width=99
    )


def write_yaml(path: Path, text: str) -> None:
    """Write the calibration."""
    try:
        path.write_text(text, encoding='utf-8')
    except OSError as error:
        raise CalibrationError(f'{path} cannot be written: {error}') from None


def write_overlay(
    path: Path, pairs: Sequence[tuple[np.ndarray, np.ndarray]], calibration: Calibration
) -> None:
    """
    Write rgb with the edges of ir on it, without the calibration (left) and with it (right).

    :param pairs: one row each: (rgb, ir), each (H, W); rgb uint8, ir float32 in [0, 1].
    """
    rows = [
        np.hstack([overlay(rgb, ir, how) for how in (Identity(), calibration)])
        for rgb, ir in pairs
    ]
    title = np.zeros((TITLE_PX, rows[0].shape[1], 3), np.uint8)
    for x, text in ((4, 'before: ir stretched over rgb'), (title.shape[1] // 2 + 4, 'after')):
        cv2.putText(title, text, (x, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, EDGES, 1, cv2.LINE_AA)
    if not cv2.imwrite(str(path), np.vstack([title, *rows])[..., ::-1]):
        raise CalibrationError(f'{path} cannot be written')


def overlay(rgb: np.ndarray, ir: np.ndarray, calibration: Calibration) -> np.ndarray:
    """
    Return rgb in gray with the edges of the registered ir image in a color.

    :returns: (H, W, 3) uint8, order R, G, B; dark where ir does not see.
    """
    there, valid = Registration(calibration).apply(ir, (rgb.shape[0], rgb.shape[1]))
    return draw_edges(rgb, there, valid)


def _camera(camera: Camera) -> dict[str, Any]:
    return {
        'size_hw': list(camera.size_hw),
        'k': camera.k.tolist(),
        'd': camera.d.tolist(),
    }
