"""
Task ``learned``: fusion network F, loss generator G and task networks T, trained together.

Bai et al., Task-driven Image Fusion with Learnable Fusion Loss, CVPR 2025. F never gets a gradient
of the task loss: G learns from the meta gradient, F from the loss that G generates, each T from
its task loss on the images that F fuses.
"""

from collections.abc import Mapping
from collections.abc import Sequence

import torch
from torch import nn
from torch import Tensor

from tdfusion_ros.core.errors import ConfigError
from training.config import LearnedTask
from training.data.augmentation import Batch
from training.data.augmentation import split
from training.data.datasets import mask_classes
from training.distributed import world_size
from training.method.loss_net import LossNetPaper
from training.method.loss_net import LossNetRT
from training.method.losses import fusion_loss
from training.method.losses import pair_of
from training.method.losses import sources_of
from training.method.meta import adam_preconditioner
from training.method.meta import constant_preconditioner
from training.method.meta import Fuse
from training.method.meta import meta_gradient
from training.method.meta import MetaGradient
from training.method.meta import normalized_sgd_step
from training.method.meta import pixel_gradient
from training.method.meta import TaskLoss
from training.method.optimization import channels_last
from training.method.optimization import descend
from training.method.optimization import Losses
from training.method.optimization import make_optimizer
from training.method.optimization import run_network
from training.method.optimization import Training
from training.method.task_networks import box_classes
from training.method.task_networks import evaluation_mode
from training.method.task_networks import loss_on_fused
from training.method.task_networks import make_detector
from training.method.task_networks import make_segmenter
from training.method.task_networks import TaskNetwork
from training.method.tasks import make_fusion

# The meta gradient is tiny (1e-6 to 1e-10): the usual 1e-8 of Adam would swamp the gradient.
EPS = 1e-20
Optimizers = dict[str, torch.optim.Optimizer]
TaskNetworks = dict[str, dict[str, TaskNetwork]]
"""By kind (detector, segmenter), then by name (detector_a, detector_b)."""


def learned_training(config: LearnedTask, device: torch.device) -> Training:
    """Return F, G and each T in training; a step updates them all."""
    fusion = make_fusion(config).to(device)
    tasks, classes = make_task_networks(config, device)
    generator = LossNetRT() if config.loss_net == 'rt' else LossNetPaper()
    loss_net = channels_last(generator).to(device)
    every_task = {name: net for networks in tasks.values() for name, net in networks.items()}
    networks = {'fusion': fusion, **every_task, 'loss_net': loss_net}
    optimizers = make_optimizers(config, networks)

    def step(index: int, batch: Batch, previous: list[Batch]) -> Losses:
        outer_losses: Losses = {}
        parts = split(batch, config.parts)
        # Meta step: inner update of F on the batches before, outer update of G on this batch.
        is_meta_step = index >= config.first_meta_step and index % config.meta_every == 0
        if is_meta_step and len(previous) == config.inner_steps:
            outer = [mean_task_loss([*group.values()], parts) for group in tasks.values()]
            gradient, values = compute_gradient(config, networks, optimizers, previous, outer)
            update_loss_net(config, loss_net, gradient, optimizers['loss_net'])
            after = torch.tensor(values, device=device)
            outer_losses = summed('after_inner_update', tasks, after)
        # Fusion step: F on the fusion loss (Eq. 4-6) with the weights that G generates.
        pair = pair_of(batch)
        with torch.no_grad():
            w = loss_net(*sources_of(pair))
        fused = run_network(fusion, pair, config.amp)
        losses = fusion_loss(
            fused, *sources_of(pair), w, config.gradient_weight, squared=config.squared
        )
        descend(optimizers['fusion'], fusion, losses['loss'])
        # Task step: each T on its task loss, on its own part, fused by the updated F.
        with torch.no_grad():
            images = run_network(fusion, pair, config.amp).chunk(len(parts))
        found = [
            task_step(group, optimizers, parts, images, config.amp) for group in tasks.values()
        ]
        losses |= {**summed('task', tasks, torch.stack(found)), 'weight_ir': w.mean()}
        return {**losses, 'weight_ir_std': w.std(), **outer_losses}

    return Training(
        networks, optimizers, step, previous_batches=config.inner_steps, classes=classes
    )


def compute_gradient(
    config: LearnedTask,
    networks: Mapping[str, nn.Module],
    optimizers: Optimizers,
    previous: Sequence[Batch],
    task_losses: Sequence[TaskLoss],
) -> MetaGradient:
    """Return the meta gradient for G, and the task losses after the inner update."""
    fusion, loss_net = networks['fusion'], networks['loss_net']
    if config.method == 'pixel':
        return pixel_gradient(fusion, loss_net, task_losses, config)
    if config.method == 'paper':
        precondition = constant_preconditioner(fusion, config.lr)
    else:
        precondition = adam_preconditioner(fusion, optimizers['fusion'])
    pairs = [pair_of(batch) for batch in previous]
    return meta_gradient(
        fusion, loss_net, pairs, task_losses, precondition=precondition, config=config
    )


def update_loss_net(
    config: LearnedTask,
    loss_net: nn.Module,
    gradient: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Take the outer update: one step of G along the meta gradient."""
    if config.method == 'paper':
        normalized_sgd_step(loss_net, gradient, config.meta_lr)
        return
    for name, p in loss_net.named_parameters():
        p.grad = gradient[name]
    optimizer.step()


def mean_task_loss(networks: Sequence[TaskNetwork], parts: Sequence[Batch]) -> TaskLoss:
    """
    Return the mean task loss of the networks of a kind as a function of how images are fused.

    With ``cross_fit``, each network is evaluated on the part of the batch that the other one is
    trained on. A network finds objects that it was trained on in any fused image, and its gradient
    there is noise: if a fused image follows infrared more, the loss of a detector changes by
    -0.037 ± 0.012 on unseen images and by 0.000 ± 0.010 on seen ones
    (``test/training/oracle/memorization.py``).
    """

    def task_loss(fuse: Fuse) -> Tensor:
        losses = []
        for network, part in zip(networks, reversed(parts), strict=True):
            fused = fuse(*pair_of(part))
            with evaluation_mode(network):
                losses.append(loss_on_fused(network, fused, part))
        return torch.stack(losses).mean()

    return task_loss


def task_step(
    networks: Mapping[str, TaskNetwork],
    optimizers: Optimizers,
    parts: Sequence[Batch],
    fused: Sequence[Tensor],
    amp: bool,
) -> Tensor:
    """Train every network of a kind on its own part of the batch; return the mean loss."""
    losses = []
    for (name, network), part, image in zip(networks.items(), parts, fused, strict=True):
        loss = loss_on_fused(network, image, part, amp)
        descend(optimizers[name], network, loss)
        losses.append(loss.detach())
    return torch.stack(losses).mean()


def summed(name: str, tasks: TaskNetworks, losses: Tensor) -> Losses:
    """Return the sum of the losses of all tasks; with several tasks, also each of them."""
    each = {f'{name}_{kind}': loss for kind, loss in zip(tasks, losses, strict=True)}
    return {name: losses.sum(), **(each if len(each) > 1 else {})}


def make_task_networks(
    config: LearnedTask, device: torch.device
) -> tuple[TaskNetworks, tuple[str, ...]]:
    """
    Return the task networks, of runs or new, and the class names of the boxes if they are used.

    :raises FusionError: if the data lack the labels of one of them.
    """
    both = config.task_networks == 'both'
    if both and world_size() > 1 and config.method == 'pixel' and config.combine != 'sum':
        raise ConfigError(
            f'combine={config.combine} with method=pixel compares gradients of all pixels, which '
            'are spread over several processes: use another method, combine=sum, or one process'
        )
    names = ('_a', '_b') if config.cross_fit else ('',)
    tasks: TaskNetworks = {}
    classes: tuple[str, ...] = ()
    if config.task_networks in ('detection', 'both'):
        classes = box_classes(config)
        tasks['detector'] = {
            f'detector{name}': make_detector(classes, config.detector).to(device) for name in names
        }
    if config.task_networks in ('segmentation', 'both'):
        of_masks = mask_classes(config.data, config.split)
        tasks['segmenter'] = {
            f'segmenter{name}': make_segmenter(
                of_masks, config.segmenter, config.segmenter_channels
            ).to(device)
            for name in names
        }
    return tasks, classes


def make_optimizers(config: LearnedTask, networks: Mapping[str, nn.Module]) -> Optimizers:
    """Return an optimizer for each network, by the same name."""
    rates = {'detector': config.detector_lr, 'segmenter': config.segmenter_lr, 'fusion': config.lr}
    optimizers: Optimizers = {
        name: make_optimizer(network, rates[kind], config.weight_decay)
        for name, network in networks.items()
        if (kind := name.partition('_')[0]) in rates
    }
    parameters = networks['loss_net'].parameters()
    optimizers['loss_net'] = torch.optim.Adam(parameters, lr=config.meta_lr, eps=EPS)
    return optimizers
