"""
Task ``fusion``: a loss of the fused image, and the losses of frozen task networks on it.

The detector was trained elsewhere and stays as it is, so the fusion network learns to make images
in which it finds more, and the fusion loss keeps the image natural. Other detectors, which had no
part in the training, find more in these images too. A frozen segmenter may take its place, or take
part as well.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.nets.fusion_rt import FusionRT
from training.checkpoint import load_loss_net
from training.config import FusionTask
from training.data.augmentation import Batch
from training.data.mixture import open_data
from training.method.losses import fusion_loss
from training.method.losses import Sources
from training.method.losses import sources_of
from training.method.optimization import descend
from training.method.optimization import Losses
from training.method.optimization import make_optimizer
from training.method.optimization import Networks
from training.method.optimization import run_network
from training.method.optimization import Training
from training.method.picture import blur
from training.method.picture import picture
from training.method.picture import SURROUNDING
from training.method.task_networks import load_segmenter
from training.method.task_networks import make_detector
from training.method.task_networks import task_losses
from training.method.task_networks import TaskNetwork
from training.method.task_networks import with_colors
from training.method.tasks import make_fusion

GAMMA = 0.35
CONTRAST = 0.25
"""Largest changes of the image that the frozen detector reads, as logarithms of a factor."""
MIDDLE = 0.4
"""Intensity that a change of contrast keeps."""
TONE = 3.0
"""
Weight of the mean squared distance of the means over SURROUNDING to the means of the picture.
Without it the mean luma by day was off by 1 to 4 levels.
"""


def fusion_training(config: FusionTask, device: torch.device) -> Training:
    """Train a fusion network on a fusion loss, and that of a frozen detector; or FusionError."""
    fusion = make_fusion(config).to(device)
    optimizer = make_optimizer(fusion, config.lr, config.weight_decay)
    loss_of = fusion_loss_of(config, device)
    tasks = frozen_networks(config, device)
    if not tasks:
        print('no frozen_detector, no frozen_segmenter: trained on the fusion loss alone')

    def step(_: int, batch: Batch, __: list[Batch]) -> Losses:
        noisy = with_noise(batch, config.noise)
        # Not clamped to [0, 1], because clamping removes the gradient.
        compute = fusion.mix if isinstance(fusion, FusionRT) else fusion
        fused = run_network(compute, noisy.pair, config.amp)
        losses = loss_of(fused, sources_of(batch.pair))
        image = vary(with_colors(noisy, fused.clamp(0, 1), 3)) if tasks else fused
        for name, (network, weight) in tasks.items():
            if name == 'task' or batch.mask is not None:  # no pair of a batch may have a mask
                task = task_losses(network, image, batch, config.amp)['loss']
                losses['loss'] = losses['loss'] + weight * task
                losses[name] = task.detach()
        descend(optimizer, fusion, losses['loss'])
        return losses

    def measure(averages: Networks, batch: Batch) -> float:
        pair = batch.pair
        return loss_of(averages['fusion'](*pair), sources_of(pair))['loss'].item()

    return Training({'fusion': fusion}, {'fusion': optimizer}, step, measure)


def fusion_loss_of(
    config: FusionTask, device: torch.device
) -> Callable[[Tensor, Sources], Losses]:
    """Return the loss of a fused luma and its sources: a fixed one, or that of a run."""
    loss_net = load_loss_net(config.loss).to(device) if config.loss else None
    half, gradient_weight = torch.tensor(0.5, device=device), config.gradient_weight

    def loss_of(fused: Tensor, sources: Sources) -> Losses:
        if loss_net is not None:
            with torch.no_grad():
                maps = loss_net(*sources)
            return loss_net.loss(fused, sources, maps, gradient_weight)
        if config.fixed_loss == 'half':
            return fusion_loss(fused, *sources, half, gradient_weight)
        target = picture(*sources)
        losses = fusion_loss(fused, target, target, half, gradient_weight)
        tone = blur(fused - target, SURROUNDING).square().mean()
        return losses | {'loss': losses['loss'] + TONE * tone, 'tone': tone.detach()}

    return loss_of


def frozen_networks(
    config: FusionTask, device: torch.device
) -> dict[str, tuple[TaskNetwork, float]]:
    """Return constant task networks and their weights by name; FusionError without labels."""
    found: dict[str, tuple[TaskNetwork, float]] = {}
    if config.frozen_detector:
        classes = open_data(config.data, config.split, 'boxes').classes
        detector = make_detector(classes, config.frozen_detector)
        found['task'] = detector, config.task_weight
    if config.frozen_segmenter:
        classes = open_data(config.data, config.split, 'masks').mask_classes
        segmenter = load_segmenter(config.frozen_segmenter, classes)
        found['segmentation'] = segmenter, config.segmentation_weight
    for network, _ in found.values():
        if network.config.inputs != 3:
            raise ConfigError(
                'the frozen task networks must read an image of 3 channels, as source=fused: got '
                f'one with {network.config.inputs}'
            )
        network.eval().requires_grad_(False).to(device)
    return found


def with_noise(batch: Batch, largest: float) -> Batch:
    """Return the batch with noise of random strength, which the loss does not compare with."""
    if not largest:
        return batch

    def noisy(image: Tensor) -> Tensor:
        strength = largest * _uniform(image, 0.0, 1.0)
        return (image + strength * torch.randn_like(image)).clamp(0, 1)

    return replace(batch, rgb=noisy(batch.rgb), ir=noisy(batch.ir))


def vary(image: Tensor) -> Tensor:
    """Change gamma, contrast, sharpness of (B, 3, H, W) at random, so that all detectors gain."""
    image = image.clamp(min=1e-4) ** _uniform(image, -GAMMA, GAMMA).exp()
    contrast = _uniform(image, -CONTRAST, CONTRAST).exp()
    image = ((image - MIDDLE) * contrast + MIDDLE).clamp(0, 1)
    soft = functional.avg_pool2d(functional.pad(image, (1, 1, 1, 1), mode='replicate'), 3, 1)
    return image + (soft - image) * _uniform(image, 0.0, 0.5)


def _uniform(images: Tensor, low: float, high: float) -> Tensor:
    """Return a random number for each image, (B, 1, 1, 1)."""
    return low + (high - low) * torch.rand(len(images), 1, 1, 1, device=images.device)
