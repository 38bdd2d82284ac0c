"""Validation: how good the averaged networks are on a split that they are not trained on."""

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
import math
from typing import Any

import numpy as np
import torch

from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.nets.detector import Detector
from tdfusion_ros.nets.segmenter import Segmenter
from tdfusion_ros.nets.yolox import Yolox
from training.config import DownstreamTask
from training.config import TrainConfig
from training.data.augmentation import Batch
from training.data.augmentation import whole
from training.data.batches import cache_samples
from training.data.datasets import Sample
from training.data.mixture import open_data
from training.method.optimization import Networks
from training.method.optimization import Training
from training.method.task_networks import task_input
from training.method.tasks import frozen_fusion


@dataclass(frozen=True)
class Measure:
    """A quality measure: ``evaluate`` looks at each image, ``summarize`` returns the value."""

    name: str
    higher_is_better: bool
    evaluate: Callable[[Any, Batch, Sample], Any]
    """Takes the networks by name, the padded image as a batch, and the image as it is."""
    summarize: Callable[[list[Any]], float] = np.mean


@dataclass(frozen=True)
class Validation:
    """A measure and the images that it is taken on."""

    measure: Measure
    split: str
    samples: Sequence[Sample]
    device: torch.device

    def __call__(self, networks: Networks) -> float:
        """Return the value, or raise FusionError."""
        found = []
        with torch.inference_mode():
            for sample in self.samples:
                batch = whole(sample).to(self.device)
                found.append(self.measure.evaluate(networks, batch, sample))
        value = float(self.measure.summarize(found))
        if not math.isfinite(value):
            raise FusionError(
                f'{self.measure.name} of split {self.split} is {value}: does it have labels? '
                'Choose another validate_split, or validate_every=0'
            )
        return value


def open_validation(
    config: TrainConfig, training: Training, device: torch.device
) -> Validation | None:
    """Return the validation of a run; None if it has none; FusionError without its labels."""
    if not config.validate_every:
        return None
    data = open_data(config.data, config.validate_split)
    for network in training.networks.values():
        if isinstance(network, Detector | Yolox):
            found, classes = data.classes if data.boxes else (), training.classes
        elif isinstance(network, Segmenter):
            found, classes = data.mask_classes, network.config.classes
        else:
            continue
        if found != classes:
            raise FusionError(
                f'split {config.validate_split} of {config.data} has the classes '
                f'{", ".join(found) or "none"}, split {config.split} has {", ".join(classes)}: '
                'choose another validate_split, or validate_every=0'
            )
    samples = cache_samples(data[: config.limit] if config.limit else data)
    measure = choose_measure(config, training, device)
    return Validation(measure, config.validate_split, samples, device)


def choose_measure(config: TrainConfig, training: Training, device: torch.device) -> Measure:
    """Return the measure of a task: its loss, AP50 of a detector, mIoU of a segmenter."""
    if (loss_of := training.measure) is not None:
        name = 'task' if config.task == 'learned' else 'loss'
        return Measure(name, False, lambda networks, batch, _: loss_of(networks, batch))
    # Imported here because only this needs pycocotools.
    from training.measure import metrics
    from training.measure import predictors

    assert isinstance(config, DownstreamTask)
    source, classes = config.source, training.classes
    fusion = frozen_fusion(config.fusion, device) if source == 'fused' else None

    def find(networks: Any, batch: Batch, sample: Sample) -> Any:
        detector = networks['detector']
        image = task_input(batch, source, fusion, detector.config.inputs)
        found = predictors.found_boxes(detector, image, sample.ir.shape)
        none = np.zeros((0, 0), np.uint8)  # do not keep pictures
        return replace(sample, rgb=none, ir=none, mask=None), found

    def average_precision(results: list[Any]) -> float:
        samples, found = zip(*results, strict=True)
        return metrics.average_precision(samples, found, classes=classes)['all']['AP50']

    def count(networks: Any, batch: Batch, sample: Sample) -> np.ndarray:
        segmenter = networks['segmenter']
        image = task_input(batch, source, fusion, segmenter.config.inputs)
        predicted = predictors.label_map(segmenter, image, sample.ir.shape)
        assert sample.mask is not None
        return metrics.count_pixels(sample.mask, predicted, len(classes))

    def mean_iou(counts: list[Any]) -> float:
        return metrics.mean_of_known(metrics.class_scores(np.sum(counts, 0))['IoU'])

    if config.task == 'segmentation':
        return Measure('mIoU', True, count, mean_iou)
    return Measure('AP50', True, find, average_precision)
