"""Validation: how good the averaged networks are on a split that they are not trained on."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
import math
from typing import Any

import numpy as np
import torch
from torch import nn

from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.nets.detector import Detector
from tdfusion_ros.nets.segmenter import Segmenter
from tdfusion_ros.nets.yolox import Yolox
from training import distributed
from training.config import DownstreamTask
from training.config import FusionTask
from training.config import ImitationTask
from training.config import LearnedTask
from training.config import TrainConfig
from training.data.augmentation import Batch
from training.data.augmentation import whole
from training.data.batches import cache_samples
from training.data.datasets import Sample
from training.data.mixture import open_data
from training.method.fusion import fusion_loss_of
from training.method.losses import imitation_loss
from training.method.losses import pair_of
from training.method.losses import sources_of
from training.method.optimization import Training
from training.method.task_networks import loss_on_fused
from training.method.task_networks import task_input
from training.method.task_networks import TaskNetwork
from training.method.tasks import frozen_fusion

Networks = Mapping[str, nn.Module]


@dataclass(frozen=True)
class Measure:
    """A quality measure: ``evaluate`` looks at each image, ``summarize`` returns the value."""

    name: str
    higher_is_better: bool
    evaluate: Callable[[Any, Batch, Sample], Any]
    """Takes the networks by name, the padded image as a batch, and the image as it is."""
    summarize: Callable[[list[Any]], float] = np.mean


@dataclass
class Best:
    """The averaged networks when they were best, after which step, and their value."""

    networks: dict[str, nn.Module]
    step: int = -1
    value: float | None = None

    def offer(self, networks: Networks, step: int, value: float, higher_is_better: bool) -> None:
        """Copy the networks if they are better than the best so far."""
        if self.value is None or (value > self.value if higher_is_better else value < self.value):
            self.step, self.value = step, value
            for name, network in networks.items():
                self.networks[name].load_state_dict(network.state_dict())


@dataclass(frozen=True)
class Validation:
    """A measure and the images that it is taken on."""

    measure: Measure
    split: str
    samples: Sequence[Sample]
    device: torch.device

    def __call__(self, networks: Networks) -> float:
        """Return the value; each process evaluates its own images; or a FusionError."""
        found = []
        indices = distributed.share(range(len(self.samples)))
        with distributed.alone(), torch.inference_mode():
            for sample in (self.samples[index] for index in indices):
                batch = whole(sample).to(self.device)
                found.append(self.measure.evaluate(networks, batch, sample))
        value = float(self.measure.summarize(distributed.gather(found)))
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
            check_labels(data.classes if data.boxes else (), training.classes, config)
        elif isinstance(network, Segmenter):
            check_labels(data.mask_classes, network.config.classes, config)
    samples = cache_samples(data[: config.limit] if config.limit else data)
    measure = choose_measure(config, training, device)
    return Validation(measure, config.validate_split, samples, device)


def check_labels(found: tuple[str, ...], classes: tuple[str, ...], config: TrainConfig) -> None:
    """Raise FusionError if the validation split has other classes than are trained."""
    if found != classes:
        raise FusionError(
            f'split {config.validate_split} of {config.data} has the classes '
            f'{", ".join(found) or "none"}, split {config.split} has {", ".join(classes)}: choose '
            'another validate_split, or validate_every=0'
        )


def choose_measure(config: TrainConfig, training: Training, device: torch.device) -> Measure:
    """Return the measure of a task: its loss, AP50 of a detector, mIoU of a segmenter."""
    if isinstance(config, LearnedTask):
        return task_loss_measure()
    if isinstance(config, ImitationTask):
        return imitation_measure(config, device)
    if isinstance(config, FusionTask):
        return fusion_measure(config, device)
    assert isinstance(config, DownstreamTask)
    frozen = frozen_fusion(config.fusion, device) if config.source == 'fused' else None
    if config.task == 'segmentation':
        return segmentation_measure(config, frozen)
    return detection_measure(config, training.classes, frozen)


def fusion_measure(config: FusionTask, device: torch.device) -> Measure:
    """Measure the loss that the fusion network is trained on."""
    loss_of = fusion_loss_of(config, device)

    def evaluate(networks: Networks, batch: Batch, _: Sample) -> float:
        pair = pair_of(batch)
        return loss_of(networks['fusion'](*pair), sources_of(pair))['loss'].item()

    return Measure('loss', False, evaluate)


def imitation_measure(config: ImitationTask, device: torch.device) -> Measure:
    """Measure the distance of the fused image to the image to imitate."""
    imitated = frozen_fusion(config.imitate, device)

    def evaluate(networks: Networks, batch: Batch, _: Sample) -> float:
        pair = pair_of(batch)
        fused, target = networks['fusion'](*pair), imitated(*pair)
        return imitation_loss(fused, target, config.gradient_weight)['loss'].item()

    return Measure('loss', False, evaluate)


def task_loss_measure() -> Measure:
    """Measure the sum of the losses of all task networks on the fused image."""

    def evaluate(networks: Networks, batch: Batch, _: Sample) -> float:
        fused = networks['fusion'](*pair_of(batch))
        tasks = [net for net in networks.values() if isinstance(net, TaskNetwork)]
        return sum(loss_on_fused(network, fused, batch).item() for network in tasks)

    return Measure('task', False, evaluate)


def detection_measure(
    config: DownstreamTask, classes: tuple[str, ...], fusion: nn.Module | None
) -> Measure:
    """Measure AP50."""
    # Imported here because only this needs pycocotools.
    from training.measure.metrics import average_precision
    from training.measure.predictors import found_boxes

    def evaluate(networks: Networks, batch: Batch, sample: Sample) -> Any:
        detector: Any = networks['detector']
        image = task_input(batch, config.source, fusion, detector.config.inputs)
        found = found_boxes(detector, image, sample.ir.shape)
        none = np.zeros((0, 0), np.uint8)  # do not send pictures between processes
        return replace(sample, rgb=none, ir=none, mask=None), found

    def summarize(results: list[Any]) -> float:
        samples, found = zip(*results, strict=True)
        return average_precision(samples, found, classes=classes)['all']['AP50']

    return Measure('AP50', True, evaluate, summarize)


def segmentation_measure(config: DownstreamTask, fusion: nn.Module | None) -> Measure:
    """Measure the mean intersection over union."""
    from training.measure import metrics
    from training.measure.predictors import label_map

    def evaluate(networks: Any, batch: Batch, sample: Sample) -> np.ndarray:
        segmenter = networks['segmenter']
        image = task_input(batch, config.source, fusion, segmenter.config.inputs)
        predicted = label_map(segmenter, image, sample.ir.shape)
        assert sample.mask is not None
        return metrics.count_pixels(sample.mask, predicted, len(segmenter.config.classes))

    def summarize(counts: list[Any]) -> float:
        return metrics.mean_of_known(metrics.class_scores(np.sum(counts, 0))['IoU'])

    return Measure('mIoU', True, evaluate, summarize)
