"""Functions that detect or segment in a sample, from a run or a bundle."""

from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch import Tensor

from tdfusion_ros.backends.bundle import read_bundle
from tdfusion_ros.build import find_bundle
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.nets.segmenter import best_class
from training.checkpoint import load_fusion
from training.checkpoint import read_description
from training.data.augmentation import whole
from training.data.datasets import Sample
from training.data.mixture import Data
from training.data.mixture import open_data
from training.measure.inputs import AS_IT_IS
from training.measure.inputs import bundle_runner
from training.measure.inputs import Change
from training.measure.metrics import select
from training.method.task_networks import load_segmenter
from training.method.task_networks import read_detector
from training.method.task_networks import task_input

Predictor = Callable[[Sample], Detections]


def bundle_classes(model: str) -> tuple[str, ...]:
    """Return the names of the classes that a bundle detects."""
    return read_bundle(find_bundle(model)).contract.classes


def open_boxes(root: str, split: str) -> Data:
    """Return a split with boxes after reading all of them; FusionError without, or if wrong."""
    data = open_data(root, split)
    if data.boxes is None:
        raise FusionError(
            f'{root} has no boxes, and average precision needs them: add them, or point '
            '--data to a data set with boxes'
        )
    data.check()
    return data


def open_labeled(root: str, split: str, detector: str, classes: Sequence[str]) -> Data:
    """Return the split to measure a detector on; FusionError without its classes of boxes."""
    data = open_boxes(root, split)
    if data.classes != tuple(classes):
        raise FusionError(
            f'{detector} detects {", ".join(classes)}; the classes of {root} are '
            f'{", ".join(data.classes)}: use a detector trained on such data, or other data'
        )
    return data


def found_boxes(detector: nn.Module, image: Tensor, size_hw: tuple[int, int]) -> Detections:
    """Return what a detector finds in a batch of one image, (1, C, H, W) in [0, 1]."""
    boxes, logits = detector(image)
    return select(boxes[0].cpu().numpy(), logits[0].sigmoid().cpu().numpy(), size_hw)


def label_map(segmenter: nn.Module, image: Tensor, size_hw: tuple[int, int]) -> np.ndarray:
    """Return the class of each pixel of a batch of one image, (H, W) int64."""
    found = best_class(segmenter(image))[0, : size_hw[0], : size_hw[1]]
    return found.long().cpu().numpy()


def run_predictor(run: str, change: Change = AS_IT_IS) -> Predictor:
    """Return a predictor that uses the detector of a run, behind its fusion network if any."""
    detector, _ = read_detector(run)
    source, fusion = read_input(run)

    @torch.inference_mode()
    def predict(sample: Sample) -> Detections:
        image = task_input(whole(change(sample)), source, fusion, detector.config.inputs)
        return found_boxes(detector, image, sample.ir.shape)

    return predict


def run_segmenter(run: str, classes: tuple[str, ...]) -> Callable[[Sample], np.ndarray]:
    """Return a function that makes label maps, (H, W) int64, with the segmenter of a run."""
    segmenter = load_segmenter(run, classes)
    source, fusion = read_input(run)

    @torch.inference_mode()
    def predict(sample: Sample) -> np.ndarray:
        image = task_input(whole(sample), source, fusion, segmenter.config.inputs)
        return label_map(segmenter, image, sample.ir.shape)

    return predict


def read_input(run: str) -> tuple[str, nn.Module | None]:
    """Return what the network of a run reads, and the fusion network before it if any."""
    source, fusion_run = input_of(run)
    return source, load_fusion(fusion_run) if fusion_run else None


def input_of(run: str) -> tuple[str, str]:
    """Return what the network of a run reads, and the run of the fusion network or ''."""
    config = read_description(run)['config']
    if config['task'] == 'learned':  # the run of a task network is inside its fusion run
        return 'fused', str(Path(run).parent)
    source = config['source']
    return source, config['fusion'] if source == 'fused' else ''


def bundle_predictor(model: str, change: Change = AS_IT_IS) -> Predictor:
    """Return a predictor that runs a bundle as the robot does."""
    run = bundle_runner(model, change)
    return lambda sample: run(sample).detections
