"""Functions that fuse a sample: average, maximum, a run, a bundle; and a picture of results."""

from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
import re

import cv2
import numpy as np

from tdfusion_ros.formats.image_files import list_files
from training.checkpoint import load_fusion
from training.data.datasets import DataSet
from training.data.datasets import open_dataset
from training.data.datasets import Sample
from training.data.layouts import Layout
from training.measure.inputs import bundle_runner
from training.measure.inputs import fuse

Fuser = Callable[[Sample], np.ndarray]
"""Returns the fused luma, (H, W) uint8."""


def open_folders(rgb: str, ir: str) -> DataSet:
    """Return pairs of two folders by stem, with light by names as 00001D; or raise FusionError."""
    names = list_files(Path(rgb))
    day_night = all(re.fullmatch(r'\d+[DN]', name) for name in names)
    layout = Layout('folders', rgb=rgb, ir=ir, labeled=False, day_night=day_night)
    return open_dataset('', 'all', layout)


def luma_levels(rgb: np.ndarray) -> np.ndarray:
    """Return the luma of an (H, W, 3) uint8 RGB image, (H, W) uint8, ITU-R BT.601."""
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)


BASELINES: dict[str, Fuser] = {
    'average': lambda sample: fuse(sample, 'average', channels=1)[..., 0],
    'maximum': lambda sample: fuse(sample, 'maximum', channels=1)[..., 0],
}


def run_fuser(run: str) -> Fuser:
    """Return a fuser that uses the fusion network of a run; ModelError if it has another."""
    network = load_fusion(run)
    return lambda sample: fuse(sample, 'fused', network, channels=1)[..., 0]


def bundle_fuser(model: str) -> Fuser:
    """
    Return a fuser that runs a bundle as the robot does.

    Its luma is taken from the colored output, which is clipped to 0..255; the luma of a run is the
    network's own output.
    """
    run = bundle_runner(model)
    return lambda sample: luma_levels(run(sample).image)


def side_by_side(sample: Sample, fused: Sequence[np.ndarray]) -> np.ndarray:
    """Return rgb, ir and the fused lumas in colors, (H, W * (2 + n), 3) uint8 RGB."""
    shifts = (image.astype(np.int16) - luma_levels(sample.rgb) for image in fused)
    colored = (np.clip(sample.rgb + s[..., None], 0, 255).astype(np.uint8) for s in shifts)
    return np.hstack([sample.rgb, np.dstack([sample.ir] * 3), *colored])
