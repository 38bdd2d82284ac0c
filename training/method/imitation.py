"""
Train the real-time network to make of a scene what another fusion network makes of it.

By the loss alone a small network comes to less contrast than a large one. Crops should be whole
frames, because what the paper's network makes of a pixel depends on all others.
"""

import torch
from torch import Tensor

from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.nets.fusion_rt import FusionRT
from training.config import TrainConfig
from training.data.augmentation import Batch
from training.method.losses import imitation_loss
from training.method.task_networks import pair_of
from training.method.tasks import descend
from training.method.tasks import frozen_fusion
from training.method.tasks import Losses
from training.method.tasks import make_fusion
from training.method.tasks import make_optimizer
from training.method.tasks import run_network
from training.method.tasks import Task


def imitation_task(config: TrainConfig, device: torch.device) -> Task:
    """
    Train a fusion network to imitate that of the run ``config.imitate``.

    :raises ConfigError: if it is not a real-time network.
    """
    fusion = make_fusion(config)
    if not isinstance(fusion, FusionRT):
        raise ConfigError('task imitation trains network=fusion_rt alone')
    fusion = fusion.to(device)
    shown = frozen_fusion(config.imitate, device)
    optimizer = make_optimizer(fusion, config.lr, config.weight_decay)
    kept: dict[int, Tensor] = {}

    def step(index: int, batch: Batch, _: list[Batch]) -> Losses:
        pair = pair_of(batch)
        view = config.batch_number(index) if config.views else -1
        target = kept.get(view)
        if target is None:
            with torch.no_grad():
                target = run_network(shown, pair, config.amp)
            target = target.half()  # 1/8 of a gray level, in half of the memory
            if config.views:
                kept[view] = target.cpu()
        mixed = run_network(fusion.mix, pair, config.amp)
        losses = imitation_loss(mixed, target.float().to(device), config.gradient_weight)
        descend(optimizer, fusion, losses['loss'])
        return losses

    return Task({'fusion': fusion}, {'fusion': optimizer}, step)
