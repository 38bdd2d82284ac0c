"""Ways to fuse that can be measured: average, maximum, a run, a bundle; and how they look."""

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
from tdfusion_ros.nets.blocks import luma
from training.checkpoint import load_fusion
from training.data.datasets import DataSet
from training.data.datasets import open_dataset
from training.data.datasets import Sample
from training.data.layouts import Layout
from training.data.pair_files import list_files

Fuser = Callable[[Sample], np.ndarray]
"""Returns the fused luma, (H, W) uint8."""

SIZE_MULTIPLE = 32
"""Sides that networks get, as the bundles ask for."""


def open_folders(rgb: str, ir: str) -> DataSet:
    """
    Return the pairs of two folders, files of the same stem whatever the suffix, without labels.

    Day and night are known if the names say so as those of MSRS do: 00001D, 00003N.

    :raises FusionError: naming the folder or the file that is missing.
    """
    names = list_files(Path(rgb))
    day_night = all(re.fullmatch(r'\d+[DN]', name) for name in names)
    layout = Layout('folders', rgb=rgb, ir=ir, labeled=False, day_night=day_night)
    return open_dataset('', 'all', layout)


def luma_levels(rgb: np.ndarray) -> np.ndarray:
    """Return the luma of an (H, W, 3) uint8 RGB image in whole levels, ITU-R BT.601."""
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)


def average(sample: Sample) -> np.ndarray:
    """Fuse by the mean of both sources."""
    return np.rint((luma_levels(sample.rgb).astype(np.float32) + sample.ir) / 2).astype(np.uint8)


def maximum(sample: Sample) -> np.ndarray:
    """Fuse by the brighter of both sources."""
    return np.maximum(luma_levels(sample.rgb), sample.ir)


def run_fuser(run: str) -> Fuser:
    """
    Return a way to fuse made of a fusion network's run.

    :raises ModelError: if the run is another network's.
    """
    network = load_fusion(run)

    @torch.inference_mode()
    def fuse(sample: Sample) -> np.ndarray:
        height, width = sample.ir.shape
        border = (0, -height % SIZE_MULTIPLE, 0, -width % SIZE_MULTIPLE)
        rgb, ir = (
            torch.from_numpy(cv2.copyMakeBorder(image, *border, cv2.BORDER_REPLICATE)) / 255
            for image in (sample.rgb, sample.ir)
        )
        fused = network(luma(rgb.permute(2, 0, 1)[None]), ir[None, None])
        return (fused[0, 0, :height, :width] * 255).round().to(torch.uint8).numpy()

    return fuse


def bundle_fuser(model: str) -> Fuser:
    """
    Return a way to fuse that runs a bundle just as the robot does.

    Its luma is that of the colored image that comes out, so colors that had to be clipped to
    0..255 count; the luma of a run is the network's own.
    """
    pipeline = build_pipeline(FusionConfig(model=model, backend='cpu'))

    def fuse(sample: Sample) -> np.ndarray:
        result = pipeline.process(Frame(sample.rgb, 0), Frame(sample.ir, 0))
        assert result.fused is not None  # it was asked for
        return luma_levels(result.fused)

    return fuse


def side_by_side(sample: Sample, fused: Sequence[np.ndarray]) -> np.ndarray:
    """
    Return rgb, infrared and the fused images beside each other, (H, W * (2 + n), 3) uint8 RGB.

    :param fused: lumas, each (H, W) uint8; they get the colors of ``sample.rgb``.
    """
    shifts = (image.astype(np.int16) - luma_levels(sample.rgb) for image in fused)
    colored = (np.clip(sample.rgb + s[..., None], 0, 255).astype(np.uint8) for s in shifts)
    return np.hstack([sample.rgb, np.dstack([sample.ir] * 3), *colored])
