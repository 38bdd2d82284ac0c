"""
Train a fusion network on a loss that the task teaches: three networks, one step.

G (the loss net) learns from the meta-gradient, F (the fusion network) from G's loss, T (the
detector) from its own loss on what F makes. F never sees the task's gradient.
"""

import torch
from torch import nn

from tdfusion_ros.nets.blocks import luma
from tdfusion_ros.nets.blocks import recolor
from tdfusion_ros.nets.detector import Detector
from training.checkpoint import load_run
from training.config import TrainConfig
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
from training.tasks import descend
from training.tasks import detect
from training.tasks import detector_input
from training.tasks import fast_on_cpu
from training.tasks import Losses
from training.tasks import make_fusion
from training.tasks import make_optimizer
from training.tasks import Task
from training.transforms import Batch

# The meta-gradient is tiny (1e-6 to 1e-10); Adam's usual 1e-8 would stop G.
TINY = 1e-20


def pair_of(batch: Batch) -> Pair:
    """Return what F and G read."""
    return luma(batch.rgb), batch.ir


def detection_judge(detector: nn.Module, batch: Batch) -> TaskLoss:
    """Return the detector's loss on ``batch`` as a function of how it is fused."""

    def judge(fuse: Fuse) -> torch.Tensor:
        image = recolor(batch.rgb, fuse(*pair_of(batch)))
        return detect(detector, image, batch)['loss']

    return judge


def learned_task(config: TrainConfig) -> Task:
    """Return F, G and T in training; the step interleaves all three."""
    fusion = make_fusion(config)
    detector = load_run(config.detector) if config.detector else Detector()
    fast_on_cpu(detector.train())
    loss_net = LossNetRT() if config.loss_net == 'rt' else LossNetPaper()
    networks = {'fusion': fusion, 'detector': detector, 'loss_net': fast_on_cpu(loss_net)}
    optimizers: dict[str, torch.optim.Optimizer] = {
        'fusion': make_optimizer(fusion, config.lr, config.weight_decay),
        'detector': make_optimizer(detector, config.detector_lr, config.weight_decay),
        'loss_net': torch.optim.Adam(loss_net.parameters(), lr=config.meta_lr, eps=TINY),
    }
    form = MetaConfig(config.squared, config.gradient_weight, config.difference, config.pull)

    def step(index: int, batch: Batch, earlier: list[Batch]) -> Losses:
        taught = {}
        if index % config.meta_every == 0 and len(earlier) == config.look_ahead:
            gradient = teach(config, networks, optimizers, batch, earlier, form=form)
            taught = {'after_look_ahead': torch.tensor(gradient.task_loss)}
        pair = pair_of(batch)
        with torch.no_grad():
            weight = loss_net(*pair)
        losses = fusion_loss(
            fusion(*pair), *pair, weight, config.gradient_weight, squared=config.squared
        )
        descend(optimizers['fusion'], fusion, losses['loss'])
        task = detect(detector, detector_input(batch, 'fused', fusion), batch)
        descend(optimizers['detector'], detector, task['loss'])
        found = {'task': task['loss'].detach(), 'weight_ir': weight.mean(), 'spread': weight.std()}
        return {**losses, **found, **taught}

    return Task(networks, optimizers, step, memory=config.look_ahead)


def teach(
    config: TrainConfig,
    networks: dict[str, nn.Module],
    optimizers: dict[str, torch.optim.Optimizer],
    batch: Batch,
    earlier: list[Batch],
    *,
    form: MetaConfig,
) -> MetaGradient:
    """Change G by one meta-step: F looks ahead on the earlier batches, T judges on ``batch``."""
    fusion, detector, loss_net = (networks[name] for name in ('fusion', 'detector', 'loss_net'))
    detector.eval()  # its statistics stay as they are, and it judges every batch alike
    judge = detection_judge(detector, batch)
    if config.method == 'pixel':
        result = pixel_gradient(fusion, loss_net, judge, form)
    else:
        if config.method == 'paper':
            factors = constant_preconditioner(fusion, config.lr)
        else:
            factors = adam_preconditioner(fusion, optimizers['fusion'])
        pairs = [pair_of(other) for other in earlier]
        result = meta_gradient(fusion, loss_net, pairs, judge, precondition=factors, config=form)
    detector.train()
    if config.method == 'paper':
        normalized_sgd_step(loss_net, result.gradient, config.meta_lr)
    else:
        for name, p in loss_net.named_parameters():
            p.grad = result.gradient[name]
        optimizers['loss_net'].step()
    return result
