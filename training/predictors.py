"""Detectors that can be measured: a run, or a bundle."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from tdfusion_ros.backends.cpu import CpuBackend
from tdfusion_ros.core.data import Detections
from training.checkpoint import load_run
from training.checkpoint import read_description
from training.datasets import Sample
from training.metrics import select
from training.tasks import detector_input
from training.transforms import collate

Predictor = Callable[[Sample], Detections]


def run_predictor(run: str) -> Predictor:
    """Return a predictor made of a detector's run, which says what it reads."""
    config = read_description(run)['config']
    detector = load_run(run)
    source = config['source']
    fusion = load_run(config['fusion']) if source == 'fused' else None

    @torch.inference_mode()
    def predict(sample: Sample) -> Detections:
        boxes, logits = detector(detector_input(collate([sample]), source, fusion))
        return select(boxes[0].numpy(), logits[0].sigmoid().numpy(), sample.ir.shape)

    return predict


def bundle_predictor(folder: str) -> Predictor:
    """Return a predictor that runs the exported graph of a bundle with ONNX Runtime."""
    backend = CpuBackend((Path(folder) / 'model.onnx').read_bytes())

    def predict(sample: Sample) -> Detections:
        raw = backend.run(sample.rgb, sample.ir.astype(np.float32) / 255)
        return select(raw.boxes_xyxy, raw.scores, sample.ir.shape)

    return predict
