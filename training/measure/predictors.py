"""Functions that read, fuse, detect or segment in a sample, from a run or a bundle."""

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
import re

import cv2
import numpy as np
import torch
from torch import nn
from torch import Tensor

from tdfusion_ros.build import build_pipeline
from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.data import FusionResult
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.core.thermal import ThermalScaler
from tdfusion_ros.formats.image_files import list_files
from tdfusion_ros.nets.segmenter import best_class
from training.checkpoint import is_run
from training.checkpoint import load_fusion
from training.checkpoint import read_description
from training.data.augmentation import whole
from training.data.datasets import DataSet
from training.data.datasets import open_dataset
from training.data.datasets import Sample
from training.data.layouts import Layout
from training.data.mixture import Data
from training.data.mixture import open_data
from training.measure.metrics import EVERYTHING
from training.measure.metrics import select
from training.method.task_networks import check_classes
from training.method.task_networks import load_segmenter
from training.method.task_networks import read_detector
from training.method.task_networks import task_input

Input = Callable[[Sample], list[np.ndarray]]
"""Returns the images that a detector reads, (H, W, 3) uint8 RGB: one; two for late fusion."""
Fuser = Callable[[Sample], np.ndarray]
"""Returns the fused luma, (H, W) uint8."""
Predictor = Callable[[Sample], Detections]
SIMPLE = ('rgb', 'ir', 'average', 'maximum')
LATE = 'late'
"""The detections in rgb and in ir together, after non-maximum suppression."""


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


def open_labeled(root: str, split: str, detector: str, classes: Sequence[str]) -> Data:
    """Return the split to measure a detector on; FusionError without its classes of boxes."""
    data = open_data(root, split, 'boxes')
    data.check()
    check_classes(detector, tuple(classes), data.classes)
    return data


def open_folders(rgb: str, ir: str) -> DataSet:
    """Return pairs of two folders by stem, with light by names as 00001D; or raise FusionError."""
    day_night = all(re.fullmatch(r'\d+[DN]', name) for name in list_files(Path(rgb)))
    layout = Layout('folders', rgb=rgb, ir=ir, day_night=day_night)
    return open_dataset('', 'all', layout)


@torch.inference_mode()
def fuse(
    sample: Sample, source: str, network: nn.Module | None = None, channels: int = 3
) -> np.ndarray:
    """Return the input that a task network would be trained on, (H, W, channels) uint8."""
    height, width = sample.ir.shape
    [image] = task_input(whole(sample), source, network, channels)
    levels = (image[:, :height, :width] * 255).round().to(torch.uint8)
    return np.ascontiguousarray(levels.permute(1, 2, 0).numpy())


def open_input(name: str, change: Change = AS_IT_IS) -> Input:
    """Return an input (of ``SIMPLE``, ``late``, a fusion run or bundle), or raise FusionError."""
    if name == LATE:
        return lambda sample: [fuse(change(sample), source) for source in ('rgb', 'ir')]
    if name in SIMPLE:
        return lambda sample: [fuse(change(sample), name)]
    if is_run(name):
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


@torch.inference_mode()
def found_boxes(detector: nn.Module, image: Tensor, size_hw: tuple[int, int]) -> Detections:
    """Return what a detector finds in a batch of one image, (1, C, H, W) in [0, 1]."""
    boxes, logits = detector(image)
    return select(boxes[0].cpu().numpy(), logits[0].sigmoid().cpu().numpy(), size_hw)


@torch.inference_mode()
def label_map(segmenter: nn.Module, image: Tensor, size_hw: tuple[int, int]) -> np.ndarray:
    """Return the class of each pixel of a batch of one image, (H, W) int64."""
    found = best_class(segmenter(image))[0, : size_hw[0], : size_hw[1]]
    return found.long().cpu().numpy()


def run_predictor(run: str, change: Change = AS_IT_IS) -> Predictor:
    """Return a predictor that uses the detector of a run, behind its fusion network if any."""
    detector, _ = read_detector(run)
    read = run_input(run, detector.config.inputs)
    return lambda sample: found_boxes(detector, read(change(sample)), sample.ir.shape)


def bundle_predictor(model: str, change: Change = AS_IT_IS) -> Predictor:
    """Return a predictor that runs a bundle as the robot does."""
    run = bundle_runner(model, change)
    return lambda sample: run(sample).detections


def run_segmenter(run: str, classes: tuple[str, ...]) -> Callable[[Sample], np.ndarray]:
    """Return a function that makes label maps, (H, W) int64, with the segmenter of a run."""
    segmenter = load_segmenter(run, classes)
    read = run_input(run, segmenter.config.inputs)
    return lambda sample: label_map(segmenter, read(sample), sample.ir.shape)


def run_input(run: str, channels: int) -> Callable[[Sample], Tensor]:
    """Return a function that makes what the network of a run reads, (1, channels, H, W)."""
    source, fusion_run = input_of(run)
    fusion = load_fusion(fusion_run) if fusion_run else None
    return lambda sample: task_input(whole(sample), source, fusion, channels)


def input_of(run: str) -> tuple[str, str]:
    """Return what the network of a run reads, and the run of the fusion network or ''."""
    config = read_description(run)['config']
    if config['task'] == 'learned':  # the run of a task network is inside its fusion run
        return 'fused', str(Path(run).parent)
    source = config['source']
    return source, config['fusion'] if source == 'fused' else ''
