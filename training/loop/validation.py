"""How good the averaged networks are on a split that they do not learn from."""

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
from training import distributed
from training.config import TrainConfig
from training.data.augmentation import Batch
from training.data.augmentation import collate
from training.data.augmentation import pad
from training.data.batches import cache_samples
from training.data.datasets import open_dataset
from training.data.datasets import Sample
from training.method.losses import fusion_loss
from training.method.losses import imitation_loss
from training.method.segmentation import enlarge
from training.method.segmentation import Segmenter
from training.method.task_networks import kind_of
from training.method.task_networks import LOSS
from training.method.task_networks import loss_of
from training.method.task_networks import pair_of
from training.method.tasks import frozen_fusion
from training.method.tasks import Task
from training.method.tasks import task_input

SIZE_MULTIPLE = 32
Networks = Mapping[str, nn.Module]
Look = Callable[[Networks, Batch, Sample], Any]
"""Looks at one image: the networks by name, the padded image as a batch, the image as it is."""


@dataclass(frozen=True)
class Measure:
    """What is measured: something of every image, and the figure that it all makes."""

    name: str
    higher: bool
    """True: more is better."""
    look: Look
    conclude: Callable[[list[Any]], float]


@dataclass
class Best:
    """The averaged networks when they were best, the step after which, and how good they were."""

    networks: dict[str, nn.Module]
    step: int = -1
    value: float | None = None

    def offer(self, networks: Networks, step: int, value: float, higher: bool) -> None:
        """Take over the networks if they are better than the best so far."""
        if self.value is None or (value > self.value if higher else value < self.value):
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
        """
        Return the figure of networks in evaluation mode; each process looks at its own images.

        :raises FusionError: if there is nothing to measure by.
        """
        seen = []
        indices = distributed.share(range(len(self.samples)))
        with distributed.alone(), torch.inference_mode():
            for sample in (self.samples[index] for index in indices):
                batch = collate([pad(sample, SIZE_MULTIPLE)]).to(self.device)
                seen.append(self.measure.look(networks, batch, sample))
        value = self.measure.conclude(distributed.gather(seen))
        if not math.isfinite(value):
            raise FusionError(
                f'{self.measure.name} of split {self.split} is {value}: does it have any labels? '
                'take another validate_split, or validate_every=0'
            )
        return value


def open_validation(config: TrainConfig, task: Task, device: torch.device) -> Validation | None:
    """
    Return what tells how good a task's networks are; None if nobody wants to know.

    :raises FusionError: if the split does not have what the task learns from.
    """
    if not config.validate_every:
        return None
    data = open_dataset(config.data, config.validate_split)
    for name, network in task.networks.items():
        if kind_of(name) == 'detector':
            check(data.classes if data.boxes else (), task.classes, config)
        elif isinstance(network, Segmenter):
            check(data.mask_classes, network.config.classes, config)
    if config.task == 'fusion':
        measure = fusion_measure(config, device)
    elif config.task == 'imitation':
        measure = imitation_measure(config, device)
    elif config.task == 'learned':
        measure = teachers_measure([name for name in task.networks if kind_of(name) in LOSS])
    elif config.task == 'detection':
        measure = detection_measure(config, task.classes, device)
    else:
        measure = segmentation_measure(config, device)
    samples = cache_samples(data[: config.limit] if config.limit else data)
    return Validation(measure, config.validate_split, samples, device)


def fusion_measure(config: TrainConfig, device: torch.device) -> Measure:
    """Measure the fusion loss with the weight 1/2."""
    half = torch.tensor(0.5, device=device)

    def look(networks: Networks, batch: Batch, _: Sample) -> float:
        y, ir = pair_of(batch)
        fused = networks['fusion'](y, ir)
        return fusion_loss(fused, y, ir, half, config.gradient_weight)['loss'].item()

    return Measure('loss', False, look, _mean)


def imitation_measure(config: TrainConfig, device: torch.device) -> Measure:
    """Measure how far the fused image is from the one to imitate."""
    shown = frozen_fusion(config.imitate, device)

    def look(networks: Networks, batch: Batch, _: Sample) -> float:
        pair = pair_of(batch)
        fused = networks['fusion'](*pair)
        return imitation_loss(fused, shown(*pair), config.gradient_weight)['loss'].item()

    return Measure('loss', False, look, _mean)


def teachers_measure(teachers: Sequence[str]) -> Measure:
    """Measure the sum of the teachers' losses on what the fusion network makes."""

    def look(networks: Networks, batch: Batch, _: Sample) -> float:
        fused = networks['fusion'](*pair_of(batch))
        found: Any = networks
        return sum(loss_of(kind_of(name), found[name], fused, batch).item() for name in teachers)

    return Measure('task', False, look, _mean)


def detection_measure(
    config: TrainConfig, classes: tuple[str, ...], device: torch.device
) -> Measure:
    """Measure AP50."""
    # Here, not above: only this needs pycocotools.
    from training.measure.metrics import average_precision
    from training.measure.metrics import select

    frozen = frozen_fusion(config.fusion, device) if config.source == 'fused' else None

    def look(networks: Networks, batch: Batch, sample: Sample) -> Any:
        boxes, logits = networks['detector'](task_input(batch, config.source, frozen))
        scores = logits[0].sigmoid().cpu().numpy()
        found = select(boxes[0].cpu().numpy(), scores, sample.ir.shape)
        none = np.zeros((0, 0), np.uint8)  # pictures need not travel between processes
        return replace(sample, rgb=none, ir=none, mask=None), found

    def conclude(seen: list[Any]) -> float:
        samples, found = zip(*seen, strict=True)
        return average_precision(samples, found, classes=classes)['all']['AP50']

    return Measure('AP50', True, look, conclude)


def segmentation_measure(config: TrainConfig, device: torch.device) -> Measure:
    """Measure the mean intersection over union."""
    from training.measure.metrics import count_pixels
    from training.measure.metrics import segmentation_scores

    frozen = frozen_fusion(config.fusion, device) if config.source == 'fused' else None

    def look(networks: Networks, batch: Batch, sample: Sample) -> np.ndarray:
        segmenter: Any = networks['segmenter']
        image = task_input(batch, config.source, frozen, segmenter.config.inputs)
        logits = enlarge(segmenter(image), (image.shape[-2], image.shape[-1]))[0]
        height, width = sample.ir.shape
        predicted = logits[:, :height, :width].argmax(0).cpu().numpy()
        assert sample.mask is not None
        return count_pixels(sample.mask, predicted, len(segmenter.config.classes))

    def conclude(seen: list[Any]) -> float:
        return segmentation_scores(np.sum(seen, 0))['mIoU']

    return Measure('mIoU', True, look, conclude)


def check(found: tuple[str, ...], classes: tuple[str, ...], config: TrainConfig) -> None:
    """
    Check that the split is labeled with the classes that are trained.

    :raises FusionError: if not.
    """
    if found != classes:
        raise FusionError(
            f'split {config.validate_split} of {config.data} has the classes '
            f'{", ".join(found) or "none"}, split {config.split} has {", ".join(classes)}: take '
            'another validate_split, or validate_every=0'
        )


def _mean(values: list[float]) -> float:
    return float(np.mean(values))
