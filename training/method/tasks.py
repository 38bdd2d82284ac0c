"""The tasks with one network in training, other than fusion: imitation and downstream."""

from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch import Tensor

from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.nets.fusion_paper import FusionPaper
from tdfusion_ros.nets.fusion_rt import FusionRT
from tdfusion_ros.nets.fusion_rt import FusionRTConfig
from tdfusion_ros.nets.yolox import Yolox
from training.checkpoint import load_fusion
from training.config import DetectionTask
from training.config import DownstreamTask
from training.config import FusionNetworkTask
from training.config import ImitationTask
from training.config import SegmentationTask
from training.data.augmentation import Batch
from training.data.mixture import open_data
from training.method.losses import imitation_loss
from training.method.optimization import channels_last
from training.method.optimization import descend
from training.method.optimization import Losses
from training.method.optimization import make_optimizer
from training.method.optimization import Networks
from training.method.optimization import run_network
from training.method.optimization import Training
from training.method.task_networks import make_detector
from training.method.task_networks import make_segmenter
from training.method.task_networks import task_input
from training.method.task_networks import task_losses
from training.method.task_networks import TaskNetwork


def make_fusion(config: FusionNetworkTask) -> nn.Module:
    """Return the fusion network to train, loaded from a run or new."""
    if config.fusion:
        network: nn.Module = load_fusion(config.fusion)
    elif config.network == 'fusion':
        network = FusionPaper()
    else:
        size = (config.fusion_width, config.fusion_depth, config.fusion_scale)
        network = FusionRT(FusionRTConfig(*size))
    if config.fusion_steady and isinstance(network, FusionRT):
        network.config = replace(network.config, steady=True)
    return channels_last(network.train())


def frozen_fusion(run: str, device: torch.device) -> nn.Module:
    """Return the fusion network of a run or a bundle with constant weights."""
    return channels_last(load_fusion(run).requires_grad_(False)).to(device)


def imitation_training(config: ImitationTask, device: torch.device) -> Training:
    """
    Train a real-time fusion network to produce the images of the fusion network of another run.

    Trained on the loss alone, a small network gets less contrast than a large one. Crops should be
    whole frames: the output of the paper's network at a pixel depends on all other pixels.

    :raises ConfigError: if the network to train is not a real-time network.
    """
    fusion = make_fusion(config)
    if not isinstance(fusion, FusionRT):
        raise ConfigError('task imitation trains only network=fusion_rt')
    fusion = fusion.to(device)
    imitated = frozen_fusion(config.imitate, device)
    optimizer = make_optimizer(fusion, config.lr, config.weight_decay)
    targets: dict[int, Tensor] = {}

    def step(index: int, batch: Batch, _: list[Batch]) -> Losses:
        pair, view = batch.pair, config.batch_number(index)
        target = targets.get(view)
        if target is None:
            with torch.no_grad():
                # float16: an error of 1/8 gray level, half the memory
                target = run_network(imitated, pair, config.amp).half()
            if config.views:
                targets[view] = target.cpu()
        mixed = run_network(fusion.mix, pair, config.amp)
        losses = imitation_loss(mixed, target.float().to(device), config.gradient_weight)
        descend(optimizer, fusion, losses['loss'])
        return losses

    def measure(averages: Networks, batch: Batch) -> float:
        pair = batch.pair
        fused, target = averages['fusion'](*pair), imitated(*pair)
        return imitation_loss(fused, target, config.gradient_weight)['loss'].item()

    return Training({'fusion': fusion}, {'fusion': optimizer}, step, measure)


def downstream_training(config: DownstreamTask, device: torch.device) -> Training:
    """Train a detector or a segmenter; its fusion network, if any, stays frozen."""
    network: TaskNetwork
    early = config.source == 'early'
    inputs = (4 if config.pretrained else 2) if early else 3
    if isinstance(config, SegmentationTask):
        name, classes = 'segmenter', open_data(config.data, config.split, 'masks').mask_classes
        network = make_segmenter(classes, config.pretrained, inputs)
    else:
        name, classes = 'detector', open_data(config.data, config.split, 'boxes').classes
        network = make_detector(classes, config.pretrained, inputs)
        if config.pretrained and isinstance(network, Yolox) and not early:
            # Its weights are for 255 gray levels, so the same step of AdamW changes its output
            # 255 times as much: it would soon destroy what all later layers rely on.
            network.stem.requires_grad_(False)
    inputs = network.config.inputs
    if early != (inputs in (2, 4)):
        raise ConfigError(
            f'{config.pretrained} reads {inputs} channels, so it does not fit source='
            f'{config.source}: early needs 2 (luma and ir) or 4 (rgb and ir), other sources 1 or 3'
        )
    network = network.to(device)
    if config.compile:
        network.compile(dynamic=False)  # all batches have one shape
    optimizer = make_optimizer(network, config.lr, config.weight_decay)
    fusion = frozen_fusion(config.fusion, device) if config.source == 'fused' else None

    def step(_: int, batch: Batch, __: list[Batch]) -> Losses:
        image = task_input(batch, config.source, fusion, inputs)
        losses = task_losses(network, image, batch, config.amp)
        descend(optimizer, network, losses['loss'])
        return losses

    return Training({name: network}, {name: optimizer}, step, classes=classes)


@torch.no_grad()
def blend_with_start(detector: Any, config: DetectionTask, classes: tuple[str, ...]) -> None:
    """Move the weights of a trained detector toward its pretrained ones, in place."""
    start = make_detector(classes, config.pretrained, detector.config.inputs).state_dict()
    for name, weight in detector.state_dict().items():
        weight.lerp_(start[name].to(weight), config.pretrained_share)
