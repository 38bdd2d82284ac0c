"""Functions that fuse a sample: average, maximum, a run, a bundle; and a picture of results."""

from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
import re

import cv2
import numpy as np
import torch

from tdfusion_ros.build import build_pipeline
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.data import Frame
from tdfusion_ros.formats.image_files import list_files
from training.checkpoint import load_fusion
from training.data import augmentation
from training.data.datasets import DataSet
from training.data.datasets import open_dataset
from training.data.datasets import Sample
from training.data.layouts import Layout
from training.method.losses import pair_of

Fuser = Callable[[Sample], np.ndarray]
"""Returns the fused luma, (H, W) uint8."""


def open_folders(rgb: str, ir: str) -> DataSet:
    """
    Return the pairs of two folders, matched by stem, without labels.

    Day and night are known if all names are as in MSRS: 00001D, 00003N.

    :raises FusionError: naming the folder or the file that is missing.
    """
    names = list_files(Path(rgb))
    day_night = all(re.fullmatch(r'\d+[DN]', name) for name in names)
    layout = Layout('folders', rgb=rgb, ir=ir, labeled=False, day_night=day_night)
    return open_dataset('', 'all', layout)


def luma_levels(rgb: np.ndarray) -> np.ndarray:
    """Return the luma of an (H, W, 3) uint8 RGB image, (H, W) uint8, ITU-R BT.601."""
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)


def average(sample: Sample) -> np.ndarray:
    """Return the mean of both sources."""
    return np.rint((luma_levels(sample.rgb).astype(np.float32) + sample.ir) / 2).astype(np.uint8)


def maximum(sample: Sample) -> np.ndarray:
    """Return the brighter of both sources."""
    return np.maximum(luma_levels(sample.rgb), sample.ir)


BASELINES: dict[str, Fuser] = {'average': average, 'maximum': maximum}


def run_fuser(run: str) -> Fuser:
    """
    Return a fuser that uses the fusion network of a run.

    :raises ModelError: if the run has another network.
    """
    network = load_fusion(run)

    @torch.inference_mode()
    def fuse(sample: Sample) -> np.ndarray:
        height, width = sample.ir.shape
        batch = augmentation.collate([augmentation.pad(sample, augmentation.SIZE_MULTIPLE)])
        fused = network(*pair_of(batch))
        return (fused[0, 0, :height, :width] * 255).round().to(torch.uint8).numpy()

    return fuse


def bundle_fuser(model: str) -> Fuser:
    """
    Return a fuser that runs a bundle as the robot does.

    Its luma is taken from the colored output, which is clipped to 0..255; the luma of a run is the
    network's own output.
    """
    pipeline = build_pipeline(FusionConfig(model=model, backend='cpu'))

    def fuse(sample: Sample) -> np.ndarray:
        result = pipeline.process(Frame(sample.rgb, 0), Frame(sample.ir, 0))
        assert result.fused is not None  # requested by default
        return luma_levels(result.fused)

    return fuse


def side_by_side(sample: Sample, fused: Sequence[np.ndarray]) -> np.ndarray:
    """
    Return rgb, ir and the fused images side by side, (H, W * (2 + n), 3) uint8 RGB.

    :param fused: lumas, each (H, W) uint8; they get the colors of ``sample.rgb``.
    """
    shifts = (image.astype(np.int16) - luma_levels(sample.rgb) for image in fused)
    colored = (np.clip(sample.rgb + s[..., None], 0, 255).astype(np.uint8) for s in shifts)
    return np.hstack([sample.rgb, np.dstack([sample.ir] * 3), *colored])
