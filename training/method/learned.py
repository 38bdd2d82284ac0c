"""
Train a fusion network on a loss that the task teaches: three networks or more, one step.

G (the loss net) learns from the meta-gradient, F (the fusion network) from G's loss, each T (the
detector, the segmenter) from its own loss on what F makes. F never sees a task's gradient.
"""

import torch
from torch import nn

from training.config import TrainConfig
from training.data.augmentation import Batch
from training.data.augmentation import split
from training.method.combine import normalized
from training.method.combine import pcgrad
from training.method.combine import total
from training.method.loss_net import LossNetPaper
from training.method.loss_net import LossNetRT
from training.method.losses import fusion_loss
from training.method.meta import adam_preconditioner
from training.method.meta import constant_preconditioner
from training.method.meta import meta_gradient
from training.method.meta import MetaConfig
from training.method.meta import MetaGradient
from training.method.meta import normalized_sgd_step
from training.method.meta import pixel_gradient
from training.method.meta import TaskLoss
from training.method.task_networks import judge
from training.method.task_networks import kind_of
from training.method.task_networks import learn
from training.method.task_networks import make_teachers
from training.method.task_networks import pair_of
from training.method.tasks import box_classes
from training.method.tasks import descend
from training.method.tasks import fast_on_cpu
from training.method.tasks import Losses
from training.method.tasks import make_fusion
from training.method.tasks import make_optimizer
from training.method.tasks import run_network
from training.method.tasks import Task

# The meta-gradient is tiny (1e-6 to 1e-10); Adam's usual 1e-8 would stop G.
TINY = 1e-20
COMBINE = {'sum': total, 'normalized': normalized, 'pcgrad': pcgrad}


def learned_task(config: TrainConfig, device: torch.device) -> Task:
    """Return F, G and each T in training; the step interleaves them all."""
    fusion = make_fusion(config).to(device)
    kinds = make_teachers(config, device)
    teachers = {name: network for kind in kinds.values() for name, network in kind.items()}
    loss_net = LossNetRT() if config.loss_net == 'rt' else LossNetPaper()
    networks = {'fusion': fusion, **teachers, 'loss_net': fast_on_cpu(loss_net).to(device)}
    optimizers = make_optimizers(config, networks)

    def step(index: int, batch: Batch, earlier: list[Batch]) -> Losses:
        taught, parts = {}, split(batch, config.parts)
        lesson = index >= config.first_meta_step and index % config.meta_every == 0
        if lesson and len(earlier) == config.inner_steps:
            judges = [judge(kind, list(kinds[kind].values()), parts) for kind in kinds]
            judged = teach(config, networks, optimizers, judges, earlier).task_losses
            after = torch.tensor(judged, device=device)
            taught = _told('after_look_ahead', dict(zip(kinds, after, strict=True)))
        pair = pair_of(batch)
        with torch.no_grad():
            weight = loss_net(*pair)
        fused = run_network(fusion, pair, config.amp)
        losses = fusion_loss(fused, *pair, weight, config.gradient_weight, squared=config.squared)
        descend(optimizers['fusion'], fusion, losses['loss'])
        with torch.no_grad():
            images = run_network(fusion, pair, config.amp).chunk(len(parts))
        found = {
            kind: learn(kind, kinds[kind], optimizers, parts, images, amp=config.amp)
            for kind in kinds
        }
        weights = {'weight_ir': weight.mean(), 'spread': weight.std()}
        return {**losses, **_told('task', found), **weights, **taught}

    classes = box_classes(config) if 'detector' in kinds else ()
    return Task(networks, optimizers, step, memory=config.inner_steps, classes=classes)


def make_optimizers(
    config: TrainConfig, networks: dict[str, nn.Module]
) -> dict[str, torch.optim.Optimizer]:
    """Return an optimizer for each network, by the same name."""
    rates = {'detector': config.detector_lr, 'segmenter': config.segmenter_lr, 'fusion': config.lr}
    optimizers: dict[str, torch.optim.Optimizer] = {
        name: make_optimizer(network, rates[kind_of(name)], config.weight_decay)
        for name, network in networks.items()
        if kind_of(name) in rates
    }
    parameters = networks['loss_net'].parameters()
    optimizers['loss_net'] = torch.optim.Adam(parameters, lr=config.meta_lr, eps=TINY)
    return optimizers


def _told(what: str, losses: Losses) -> Losses:
    """Name the losses of the tasks for the log: their sum, and, of several, each one."""
    each = {f'{what}_{name}': loss for name, loss in losses.items()} if len(losses) > 1 else {}
    return {what: torch.stack(list(losses.values())).sum(), **each}


def teach(
    config: TrainConfig,
    networks: dict[str, nn.Module],
    optimizers: dict[str, torch.optim.Optimizer],
    judges: list[TaskLoss],
    earlier: list[Batch],
) -> MetaGradient:
    """Change G by one meta-step: F looks ahead on the earlier batches, and the tasks judge."""
    fusion, loss_net = networks['fusion'], networks['loss_net']
    form = MetaConfig(
        config.squared,
        config.gradient_weight,
        config.difference,
        config.prior_strength,
        COMBINE[config.combine],
    )
    if config.method == 'pixel':
        result = pixel_gradient(fusion, loss_net, judges, form)
    else:
        if config.method == 'paper':
            factors = constant_preconditioner(fusion, config.lr)
        else:
            factors = adam_preconditioner(fusion, optimizers['fusion'])
        pairs = [pair_of(other) for other in earlier]
        result = meta_gradient(fusion, loss_net, pairs, judges, precondition=factors, config=form)
    if config.method == 'paper':
        normalized_sgd_step(loss_net, result.gradient, config.meta_lr)
    else:
        for name, p in loss_net.named_parameters():
            p.grad = result.gradient[name]
        optimizers['loss_net'].step()
    return result
