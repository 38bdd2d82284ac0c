"""
Train a fusion network on a loss that the task teaches: three networks or more, one step.

G (the loss net) learns from the meta-gradient, F (the fusion network) from G's loss, each T (the
detector, the segmenter) from its own loss on what F makes. F never sees a task's gradient.
"""

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch import Tensor

from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.nets.blocks import luma
from tdfusion_ros.nets.detector import Detector
from training.checkpoint import load_run
from training.combine import normalized
from training.combine import pcgrad
from training.combine import total
from training.config import TrainConfig
from training.datasets import open_dataset
from training.loss_net import LossNetPaper
from training.loss_net import LossNetRT
from training.losses import fusion_loss
from training.meta import adam_preconditioner
from training.meta import constant_preconditioner
from training.meta import Fuse
from training.meta import meta_gradient
from training.meta import MetaConfig
from training.meta import MetaGradient
from training.meta import normalized_sgd_step
from training.meta import Pair
from training.meta import pixel_gradient
from training.meta import TaskLoss
from training.segmentation import Segmenter
from training.tasks import descend
from training.tasks import detect
from training.tasks import fast_on_cpu
from training.tasks import Losses
from training.tasks import make_fusion
from training.tasks import make_optimizer
from training.tasks import make_segmenter
from training.tasks import segment
from training.tasks import Task
from training.tasks import with_colors
from training.transforms import Batch

# The meta-gradient is tiny (1e-6 to 1e-10); Adam's usual 1e-8 would stop G.
TINY = 1e-20
TEACHERS = {
    'detection': ('detector',),
    'segmentation': ('segmenter',),
    'both': ('detector', 'segmenter'),
}
COMBINE = {'sum': total, 'normalized': normalized, 'pcgrad': pcgrad}

Teacher = Detector | Segmenter
LossOf = Callable[[nn.Module, Tensor, Batch], Losses]


def pair_of(batch: Batch) -> Pair:
    """Return what F and G read."""
    return luma(batch.rgb), batch.ir


@contextmanager
def judging(network: nn.Module) -> Iterator[None]:
    """Keep statistics as they are and nothing dropped, so that every batch is judged alike."""
    before = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(before)


def detection_judge(detector: Detector, batch: Batch) -> TaskLoss:
    """Return the detector's loss on ``batch`` as a function of how it is fused."""
    return _judge(detector, detect, batch)


def segmentation_judge(segmenter: Segmenter, batch: Batch) -> TaskLoss:
    """Return the segmenter's loss on ``batch`` as a function of how it is fused."""
    return _judge(segmenter, segment, batch)


def _judge(network: Teacher, loss_of: LossOf, batch: Batch) -> TaskLoss:
    def judge(fuse: Fuse) -> Tensor:
        image = with_colors(batch, fuse(*pair_of(batch)), network.config.inputs)
        with judging(network):
            return loss_of(network, image, batch)['loss']

    return judge


LOSS: dict[str, LossOf] = {'detector': detect, 'segmenter': segment}
JUDGE: dict[str, Callable[[Any, Batch], TaskLoss]] = {
    'detector': detection_judge,
    'segmenter': segmentation_judge,
}


def make_teachers(config: TrainConfig) -> dict[str, Teacher]:
    """
    Return the networks that teach, those of runs or fresh ones, by name.

    :raises FusionError: if the data lack what one of them learns from.
    """
    make: dict[str, Callable[[TrainConfig], Teacher]] = {
        'detector': make_detector,
        'segmenter': make_segmenter,
    }
    return {name: make[name](config) for name in TEACHERS[config.teacher]}


def make_detector(config: TrainConfig) -> Detector:
    """Return the detector that teaches: that of a run, or a fresh one."""
    if open_dataset(config.data, config.split).boxes is None:
        raise FusionError(f'{config.data} has no boxes: add them, or take teacher=segmentation')
    detector = load_run(config.detector) if config.detector else Detector()
    if not isinstance(detector, Detector):
        raise FusionError(f'{config.detector} holds a {type(detector).__name__}, not a detector')
    fast_on_cpu(detector.train())
    return detector


def learned_task(config: TrainConfig) -> Task:
    """Return F, G and each T in training; the step interleaves them all."""
    fusion = make_fusion(config)
    teachers = make_teachers(config)
    loss_net = LossNetRT() if config.loss_net == 'rt' else LossNetPaper()
    networks = {'fusion': fusion, **teachers, 'loss_net': fast_on_cpu(loss_net)}
    rates = {'detector': config.detector_lr, 'segmenter': config.segmenter_lr}
    optimizers: dict[str, torch.optim.Optimizer] = {
        'fusion': make_optimizer(fusion, config.lr, config.weight_decay),
        **{n: make_optimizer(t, rates[n], config.weight_decay) for n, t in teachers.items()},
        'loss_net': torch.optim.Adam(loss_net.parameters(), lr=config.meta_lr, eps=TINY),
    }

    def step(index: int, batch: Batch, earlier: list[Batch]) -> Losses:
        taught = {}
        if index % config.meta_every == 0 and len(earlier) == config.look_ahead:
            judges = [JUDGE[name](teacher, batch) for name, teacher in teachers.items()]
            after = torch.tensor(teach(config, networks, optimizers, judges, earlier).task_losses)
            taught = _told('after_look_ahead', dict(zip(teachers, after, strict=True)))
        pair = pair_of(batch)
        with torch.no_grad():
            weight = loss_net(*pair)
        losses = fusion_loss(
            fusion(*pair), *pair, weight, config.gradient_weight, squared=config.squared
        )
        descend(optimizers['fusion'], fusion, losses['loss'])
        with torch.no_grad():
            fused = fusion(*pair)
        found = {}
        for name, teacher in teachers.items():
            image = with_colors(batch, fused, teacher.config.inputs)
            loss = LOSS[name](teacher, image, batch)['loss']
            descend(optimizers[name], teacher, loss)
            found[name] = loss.detach()
        weights = {'weight_ir': weight.mean(), 'spread': weight.std()}
        return {**losses, **_told('task', found), **weights, **taught}

    return Task(networks, optimizers, step, memory=config.look_ahead)


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
        config.pull,
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
