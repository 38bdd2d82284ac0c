"""Detectors and segmenters that can be measured: a run, or a bundle."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tdfusion_ros.backends.cpu import CpuBackend
from tdfusion_ros.core.data import Detections
from training.checkpoint import load_run
from training.checkpoint import read_description
from training.datasets import Sample
from training.metrics import select
from training.segmentation import enlarge
from training.tasks import load_segmenter
from training.tasks import task_input
from training.transforms import collate

Predictor = Callable[[Sample], Detections]


def run_predictor(run: str) -> Predictor:
    """Return a predictor made of a detector's run, which says what it reads."""
    detector = load_run(run)
    source, fusion = _source(run)

    @torch.inference_mode()
    def predict(sample: Sample) -> Detections:
        boxes, logits = detector(task_input(collate([sample]), source, fusion))
        return select(boxes[0].numpy(), logits[0].sigmoid().numpy(), sample.ir.shape)

    return predict


def run_segmenter(run: str, classes: tuple[str, ...]) -> Callable[[Sample], np.ndarray]:
    """Return what makes a label map, (H, W) int64, with a segmenter's run for ``classes``."""
    segmenter = load_segmenter(run, classes)
    source, fusion = _source(run)

    @torch.inference_mode()
    def predict(sample: Sample) -> np.ndarray:
        image = task_input(collate([sample]), source, fusion, segmenter.config.inputs)
        height, width = sample.ir.shape
        return enlarge(segmenter(image), (height, width))[0].argmax(0).numpy()

    return predict


def _source(run: str) -> tuple[str, nn.Module | None]:
    """Return what the network of a run reads, and the fusion network before it, if any."""
    config = read_description(run)['config']
    if config['task'] == 'learned':  # they were trained together: F lies around T
        return 'fused', load_run(Path(run).parent)
    source = config['source']
    return source, load_run(config['fusion']) if source == 'fused' else None


def bundle_predictor(folder: str) -> Predictor:
    """Return a predictor that runs the exported graph of a bundle with ONNX Runtime."""
    backend = CpuBackend((Path(folder) / 'model.onnx').read_bytes())

    def predict(sample: Sample) -> Detections:
        raw = backend.run(sample.rgb, sample.ir.astype(np.float32) / 255)
        return select(raw.boxes_xyxy, raw.scores, sample.ir.shape)

    return predict
