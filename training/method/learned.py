"""
Task ``learned``: a fusion network F and a loss generator G, trained for task networks T.

Bai et al., Task-driven Image Fusion with Learnable Fusion Loss, CVPR 2025. F never gets a gradient
of the task loss: G learns from the meta gradient, F from the loss that G generates. A T that the
settings name is frozen; a new one learns along, as in the paper, from the images that F fuses.
"""

from collections.abc import Mapping
from collections.abc import Sequence

import torch
from torch import nn
from torch import Tensor

from training.config import LearnedTask
from training.data.augmentation import Batch
from training.data.mixture import open_data
from training.method import meta
from training.method import task_networks
from training.method.fusion import vary
from training.method.loss_net import LossNet
from training.method.loss_net import make_loss_net
from training.method.losses import sources_of
from training.method.optimization import channels_last
from training.method.optimization import descend
from training.method.optimization import Losses
from training.method.optimization import make_optimizer
from training.method.optimization import Networks
from training.method.optimization import run_network
from training.method.optimization import Training
from training.method.task_networks import TaskNetwork
from training.method.tasks import make_fusion

# The meta gradient is tiny (1e-6 to 1e-10): the usual 1e-8 of Adam would swamp the gradient.
EPS = 1e-20
# Few pixels decide the size of a meta gradient: forget the largest after a hundred steps.
BETAS = (0.9, 0.99)
Optimizers = dict[str, torch.optim.Optimizer]
TaskNetworks = dict[str, TaskNetwork]
"""By kind: detector, segmenter."""


def learned_training(config: LearnedTask, device: torch.device) -> Training:
    """Return F, G and each T in training; a step updates them all."""
    fusion = make_fusion(config).to(device)
    tasks, classes = make_task_networks(config, device)
    loss_net = make_loss_net(config.loss_net, config.squared).to(device)
    networks = {'fusion': fusion, **tasks, 'loss_net': channels_last(loss_net)}
    optimizers = make_optimizers(config, networks)

    def step(index: int, batch: Batch, previous: list[Batch]) -> Losses:
        outer_losses: Losses = {}
        # Meta step: inner update of F on the batches before, outer update of G on this batch.
        if index % config.meta_every == 0 and len(previous) == config.inner_steps:
            of_tasks = [
                task_loss(network, batch, varied=name not in optimizers)
                for name, network in tasks.items()
            ]
            gradient, values = compute_gradient(config, networks, optimizers, previous, of_tasks)
            outer_losses = summed('after_inner_update', tasks, torch.stack(values))
            if earlier := momentum(loss_net, optimizers['loss_net']):
                outer_losses['agreement'] = meta.agreement(gradient, earlier)
            update_loss_net(config, loss_net, gradient, optimizers['loss_net'])
        # Fusion step: F on the fusion loss that G generates.
        pair = batch.pair
        with torch.no_grad():
            maps = loss_net(*sources_of(pair))
        fused = run_network(fusion, pair, config.amp)
        losses = loss_net.loss(fused, sources_of(pair), maps, config.gradient_weight)
        descend(optimizers['fusion'], fusion, losses['loss'])
        # Task step: each new T on its task loss, on what the updated F fuses.
        new = {name: network for name, network in tasks.items() if name in optimizers}
        if new:
            with torch.no_grad():
                image = run_network(fusion, pair, config.amp)
            found = []
            for name, network in new.items():
                loss = task_networks.loss_on_fused(network, image, batch, config.amp)
                descend(optimizers[name], network, loss)
                found.append(loss.detach())
            losses |= summed('task', new, torch.stack(found))
        return {**losses, 'map_size': maps.square().mean().sqrt(), **outer_losses}

    def measure(averages: Networks, batch: Batch) -> float:
        fused = averages['fusion'](*batch.pair)
        found = [n for n in averages.values() if isinstance(n, TaskNetwork)]
        return sum(task_networks.loss_on_fused(n, fused, batch).item() for n in found)

    return Training(networks, optimizers, step, measure, config.inner_steps, classes)


def compute_gradient(
    config: LearnedTask,
    networks: Mapping[str, nn.Module],
    optimizers: Optimizers,
    previous: Sequence[Batch],
    of_tasks: Sequence[meta.TaskLoss],
) -> meta.MetaGradient:
    """Return the meta gradient for G."""
    fusion, loss_net = networks['fusion'], networks['loss_net']
    assert isinstance(loss_net, LossNet)
    if config.method == 'pixel':
        return meta.pixel_gradient(fusion, loss_net, of_tasks, config)
    if config.method == 'paper':
        factors = meta.constant_preconditioner(fusion, config.lr)
    else:
        factors = meta.adam_preconditioner(fusion, optimizers['fusion'])
    pairs = [batch.pair for batch in previous]
    return meta.meta_gradient(
        fusion, loss_net, pairs, of_tasks, precondition=factors, config=config
    )


@torch.no_grad()
def update_loss_net(
    config: LearnedTask, loss_net: LossNet, gradient: meta.Params, optimizer: torch.optim.Optimizer
) -> None:
    """Take the outer update: one step of G along the meta gradient."""
    if config.method == 'paper':  # as the released code: over its largest entry
        largest = torch.stack([g.abs().max() for g in gradient.values()]).max().clamp(min=1e-30)
        for name, p in loss_net.named_parameters():
            p.sub_(config.meta_lr * gradient[name] / largest)
        return
    for name, p in loss_net.named_parameters():
        p.grad = gradient[name]
    optimizer.step()


def momentum(loss_net: nn.Module, optimizer: torch.optim.Optimizer) -> meta.Params:
    """Return Adam's running mean of the meta gradients, by parameter name; empty before."""
    states = {name: optimizer.state.get(p, {}) for name, p in loss_net.named_parameters()}
    return {name: state['exp_avg'] for name, state in states.items() if state}


def task_loss(network: TaskNetwork, batch: Batch, *, varied: bool = False) -> meta.TaskLoss:
    """Return the task loss of a batch as a function of how to fuse; ``varied``: at random."""

    def loss(fuse: meta.Fuse) -> Tensor:
        image = task_networks.with_colors(batch, fuse(*batch.pair), network.config.inputs)
        image = vary(image) if varied else image
        with task_networks.evaluation_mode(network):
            return task_networks.task_losses(network, image, batch)['loss']

    return loss


def summed(name: str, tasks: TaskNetworks, losses: Tensor) -> Losses:
    """Return the sum of the losses of all tasks; with several tasks, also each of them."""
    each = {f'{name}_{kind}': loss for kind, loss in zip(tasks, losses, strict=True)}
    return {name: losses.sum(), **(each if len(each) > 1 else {})}


def make_task_networks(
    config: LearnedTask, device: torch.device
) -> tuple[TaskNetworks, tuple[str, ...]]:
    """Return the task networks and the class names of boxes, if used, or raise FusionError."""
    tasks: TaskNetworks = {}
    classes: tuple[str, ...] = ()
    if config.task_networks in ('detection', 'both'):
        classes = open_data(config.data, config.split, 'boxes').classes
        tasks['detector'] = task_networks.make_detector(classes, config.detector).to(device)
    if config.task_networks in ('segmentation', 'both'):
        names = open_data(config.data, config.split, 'masks').mask_classes
        if config.segmenter:
            segmenter = task_networks.load_segmenter(config.segmenter, names)
        else:
            segmenter = task_networks.make_segmenter(names, inputs=config.segmenter_channels)
        tasks['segmenter'] = segmenter.to(device)
    for name, network in tasks.items():
        network.requires_grad_(not getattr(config, name))
    return tasks, classes


def make_optimizers(config: LearnedTask, networks: Mapping[str, nn.Module]) -> Optimizers:
    """Return an optimizer for each network that learns, by the same name."""
    rates = {'fusion': config.lr, 'detector': config.detector_lr, 'segmenter': config.segmenter_lr}
    optimizers: Optimizers = {
        name: make_optimizer(network, rates[name], config.weight_decay)
        for name, network in networks.items()
        if name in rates and any(p.requires_grad for p in network.parameters())
    }
    parameters = networks['loss_net'].parameters()
    optimizers['loss_net'] = torch.optim.Adam(parameters, lr=config.meta_lr, betas=BETAS, eps=EPS)
    return optimizers
