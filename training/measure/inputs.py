"""What detectors read: one camera, a simple fusion, the fused image of a run or a bundle."""

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from tdfusion_ros.build import build_pipeline
from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.data import FusionResult
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.core.thermal import ThermalScaler
from training.checkpoint import DESCRIPTION
from training.checkpoint import load_fusion
from training.data.augmentation import whole
from training.data.datasets import Sample
from training.measure.metrics import EVERYTHING
from training.method.task_networks import task_input

Input = Callable[[Sample], list[np.ndarray]]
"""Returns the images that a detector reads, (H, W, 3) uint8 RGB: one; two for late fusion."""

SIMPLE = ('rgb', 'ir', 'average', 'maximum')
LATE = 'late'
"""The detections in rgb and in ir together, after non-maximum suppression."""


@torch.inference_mode()
def fuse(
    sample: Sample, source: str, network: torch.nn.Module | None = None, channels: int = 3
) -> np.ndarray:
    """Return the input that a task network would be trained on, (H, W, channels) uint8."""
    height, width = sample.ir.shape
    [image] = task_input(whole(sample), source, network, channels)
    levels = (image[:, :height, :width] * 255).round().to(torch.uint8)
    return np.ascontiguousarray(levels.permute(1, 2, 0).numpy())


@dataclass(frozen=True)
class Change:
    """Changes of a sample before it is measured."""

    without: str = ''
    """``rgb`` or ``ir``: the camera is missing, and its image black."""
    stretched: bool = False
    """Whether ir is scaled as the node scales the first frame of a 16-bit camera."""

    def __call__(self, sample: Sample) -> Sample:
        """Return the changed sample, with 8-bit images."""
        if self.stretched:
            scaled = ThermalScaler(IrConfig()).scale(sample.ir.astype(np.uint16))
            sample = replace(sample, ir=cv2.convertScaleAbs(scaled, alpha=255))
        if self.without == 'rgb':
            return replace(sample, rgb=np.zeros_like(sample.rgb))
        return replace(sample, ir=np.zeros_like(sample.ir)) if self.without else sample

    def __str__(self) -> str:
        parts = (f'{self.without} black' * bool(self.without), 'ir stretched' * self.stretched)
        return ', '.join(filter(None, parts))


AS_IT_IS = Change()


def open_input(name: str, change: Change = AS_IT_IS) -> Input:
    """Return an input (of ``SIMPLE``, ``late``, a fusion run or bundle), or raise FusionError."""
    if name == LATE:
        return lambda sample: [fuse(change(sample), source) for source in ('rgb', 'ir')]
    if name in SIMPLE:
        return lambda sample: [fuse(change(sample), name)]
    if (Path(name) / DESCRIPTION).is_file():
        network = load_fusion(name)
        return lambda sample: [fuse(change(sample), 'fused', network)]
    run = bundle_runner(name, change)
    return lambda sample: [run(sample).image]


def bundle_runner(model: str, change: Change = AS_IT_IS) -> Callable[[Sample], FusionResult]:
    """Return a function that runs a bundle as the robot does; almost all detections are kept."""
    pipeline = build_pipeline(replace(EVERYTHING, model=model, backend='cpu'))
    mode = {'': 'fused', 'rgb': 'ir_only', 'ir': 'rgb_only'}[change.without]

    def run(sample: Sample) -> FusionResult:
        counts = sample.ir.astype(np.uint16) if change.stretched else sample.ir
        rgb, ir = Frame(sample.rgb, 0), Frame(counts, 0)
        pipeline.reset()  # each sample is a scene of its own
        given = None if mode == 'ir_only' else rgb, None if mode == 'rgb_only' else ir
        return pipeline.process_pair(FramePair(*given, mode, reference=rgb))

    return run
