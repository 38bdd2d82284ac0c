"""What a run trains: networks, their optimizers, and what one step does to them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch import Tensor

from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.errors import ModelError
from tdfusion_ros.nets.blocks import luma
from tdfusion_ros.nets.blocks import recolor
from tdfusion_ros.nets.detector import Detector
from tdfusion_ros.nets.detector import DetectorConfig
from tdfusion_ros.nets.fusion_paper import FusionPaper
from tdfusion_ros.nets.fusion_rt import FusionRT
from tdfusion_ros.nets.fusion_rt import FusionRTConfig
from training import distributed
from training.checkpoint import load_fusion
from training.checkpoint import load_run
from training.checkpoint import read_description
from training.config import TrainConfig
from training.data.augmentation import Batch
from training.data.datasets import CLASSES
from training.data.datasets import mask_classes
from training.data.datasets import open_dataset
from training.data.pair_files import IGNORE
from training.method.detection import detection_loss
from training.method.detection import image_points
from training.method.losses import fusion_loss
from training.method.segmentation import segmentation_loss
from training.method.segmentation import Segmenter
from training.method.segmentation import SegmenterConfig

Losses = dict[str, Tensor]


@dataclass(frozen=True)
class Task:
    """
    A training in progress.

    :param networks: by name; the first one is what the run is about.
    :param step: changes the networks; is given the number of the step, its batch, and the
        batches before it, the latest last.
    :param memory: how many predecessors ``step`` needs.
    :param classes: names of what a task tells apart: of boxes, or, without boxes, of mask values.
    """

    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    step: Callable[[int, Batch, list[Batch]], Losses]
    memory: int = 0
    classes: tuple[str, ...] = ()


def make_optimizer(network: nn.Module, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW that decays convolution weights but neither biases nor norms."""
    parameters = list(network.parameters())
    groups = [
        {'params': [p for p in parameters if p.ndim > 1], 'weight_decay': weight_decay},
        {'params': [p for p in parameters if p.ndim <= 1], 'weight_decay': 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr)


def descend(optimizer: torch.optim.Optimizer, network: nn.Module, loss: Tensor) -> None:
    """Take one step down, its gradient clipped; the same one in all processes."""
    optimizer.zero_grad()
    loss.backward()
    distributed.average_gradients(network)
    nn.utils.clip_grad_norm_(network.parameters(), 10.0)
    optimizer.step()


def run_network(network: Callable[..., Any], inputs: tuple[Tensor, ...], amp: bool) -> Any:
    """
    Return what a network makes of its inputs.

    :param amp: compute in bfloat16 where autocast holds it to be safe. The result is float32 all
        the same: no loss is taken in bfloat16.
    """
    if not amp:
        return network(*inputs)
    with torch.autocast(inputs[0].device.type, torch.bfloat16):
        output = network(*inputs)
    return output.float() if isinstance(output, Tensor) else tuple(o.float() for o in output)


def fast_on_cpu(network: nn.Module) -> nn.Module:
    """Lay weights out channels last: 1.5 times faster on CPU; bf16 brings nothing there."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def make_fusion(config: TrainConfig) -> nn.Module:
    """Return the fusion network to train: that of a run, or a fresh one."""
    if config.fusion:
        network: nn.Module = load_fusion(config.fusion)
    elif config.network == 'fusion':
        network = FusionPaper()
    else:
        size = (config.fusion_width, config.fusion_depth, config.fusion_scale)
        network = FusionRT(FusionRTConfig(*size))
    return fast_on_cpu(network.train())


@torch.no_grad()
def task_input(batch: Batch, source: str, fusion: nn.Module | None, channels: int = 3) -> Tensor:
    """
    Return what the network of a task reads, (B, C, H, W) in [0, 1].

    :param source: ``rgb``; ``ir`` in equal channels; ``early``: luma and ir, two channels;
        ``average``, ``maximum`` or ``fused`` (by ``fusion``) luma with the colors of rgb.
    :param channels: 3; or 1: luma without colors. ``early`` takes no notice.
    """
    y, ir = luma(batch.rgb), batch.ir
    if source == 'rgb':
        return batch.rgb if channels == 3 else y
    if source == 'ir':
        return ir.expand(-1, channels, -1, -1)
    if source == 'early':
        return torch.cat((y, ir), 1)
    if source == 'average':
        return with_colors(batch, (y + ir) / 2, channels)
    if source == 'maximum':
        return with_colors(batch, torch.maximum(y, ir), channels)
    if fusion is None:
        raise ConfigError('source fused needs a fusion network')
    return with_colors(batch, fusion(y, ir), channels)


def with_colors(batch: Batch, fused: Tensor, channels: int) -> Tensor:
    """Return a fused luma in the colors of ``batch.rgb``, or, for one channel, as it is."""
    return fused if channels == 1 else recolor(batch.rgb, fused)


def detect(detector: nn.Module, image: Tensor, batch: Batch, amp: bool = False) -> Losses:
    """Return the detection loss of an image, (B, C, H, W), with the boxes of ``batch``."""
    image = image.contiguous(memory_format=torch.channels_last)
    boxes, logits = run_network(detector, (image,), amp)
    points = image_points(image.shape[-2], image.shape[-1], image.device)
    return detection_loss(boxes, logits, points, (batch.boxes_xyxy, batch.class_ids, batch.valid))


def segment(segmenter: nn.Module, image: Tensor, batch: Batch, amp: bool = False) -> Losses:
    """Return the segmentation loss of an image, (B, C, H, W), with the mask of ``batch``."""
    if batch.mask is None:
        raise FusionError(f'{", ".join(batch.names)}: no masks, and segmentation needs them')
    losses = segmentation_loss(run_network(segmenter, (image,), amp), batch.mask)
    # A mean over labeled pixels: where one process has more of them, it has more to say.
    own = (batch.mask != IGNORE).sum().float()
    mean = distributed.average([own])[0].clamp(min=1 / distributed.world_size())
    return {name: loss * (own.clamp(min=1) / mean) for name, loss in losses.items()}


def box_classes(config: TrainConfig) -> tuple[str, ...]:
    """
    Return the names of the classes of the boxes of the data.

    :raises FusionError: if they have no boxes.
    """
    data = open_dataset(config.data, config.split)
    if data.boxes is None:
        raise FusionError(
            f'{config.data} has no boxes, and detection needs them: add them, or point '
            'data=FOLDER to a data set with boxes'
        )
    return data.classes


def read_detector(run: str) -> tuple[Detector, tuple[str, ...]]:
    """
    Return the detector of a run and the names of its classes.

    A run that does not name them is of the time when there was one data set.

    :raises ModelError: if the run holds another network, or names too many classes or too few.
    """
    network = load_run(run)
    if not isinstance(network, Detector):
        raise ModelError(
            f'{run} holds a {type(network).__name__}, not a detector: take the run of a detector'
        )
    classes = tuple(read_description(run).get('classes', CLASSES))
    if len(classes) != network.config.classes:
        raise ModelError(
            f'{run} tells {network.config.classes} classes apart and names {len(classes)}: '
            'write "classes": [their names, in order] into its run.json, or train it again'
        )
    return network, classes


def load_detector(run: str, classes: tuple[str, ...]) -> Detector:
    """
    Return the detector of a run folder, ready for inference.

    :raises FusionError: if the run holds another network, or one for other classes.
    """
    network, known = read_detector(run)
    check_classes(run, known, classes)
    return network


def check_classes(run: str, known: tuple[str, ...], classes: tuple[str, ...]) -> None:
    """
    Check that a run knows the classes of the data.

    :raises FusionError: if it knows others, or in another order.
    """
    if known != classes:
        raise FusionError(
            f'{run} knows the classes {", ".join(known)}; those of the data are '
            f'{", ".join(classes)}: take another run or other data'
        )


def make_segmenter(config: TrainConfig) -> Segmenter:
    """Return the segmenter to train on the classes of the data: that of a run, or a fresh one."""
    classes = mask_classes(config.data, config.split)
    if not config.segmenter:
        early = config.task == 'segmentation' and config.source == 'early'
        inputs = 2 if early else config.segmenter_channels
        return Segmenter(SegmenterConfig(classes, inputs)).train()
    return load_segmenter(config.segmenter, classes).train()


def load_segmenter(run: str, classes: tuple[str, ...]) -> Segmenter:
    """
    Return the segmenter of a run folder, ready for inference.

    :raises FusionError: if the run holds another network, or one for other classes.
    """
    network = load_run(run)
    if not isinstance(network, Segmenter):
        raise FusionError(f'{run} holds a {type(network).__name__}, not a segmenter')
    check_classes(run, network.config.classes, classes)
    return network


def fusion_task(config: TrainConfig, device: torch.device) -> Task:
    """Train a fusion network on the loss with the weight 1/2 for both sources."""
    fusion = make_fusion(config).to(device)
    optimizer = make_optimizer(fusion, config.lr, config.weight_decay)
    weight_ir = torch.tensor(0.5, device=device)

    def step(_: int, batch: Batch, __: list[Batch]) -> Losses:
        y = luma(batch.rgb)
        fused = run_network(fusion, (y, batch.ir), config.amp)
        losses = fusion_loss(fused, y, batch.ir, weight_ir, config.gradient_weight)
        descend(optimizer, fusion, losses['loss'])
        return losses

    return Task({'fusion': fusion}, {'fusion': optimizer}, step)


def detection_task(config: TrainConfig, device: torch.device) -> Task:
    """Train a detector on the classes of the data; the fusion network before it stays frozen."""
    classes = box_classes(config)
    form = DetectorConfig(len(classes), inputs=2 if config.source == 'early' else 3)
    detector = fast_on_cpu(Detector(form).train()).to(device)
    optimizer = make_optimizer(detector, config.lr, config.weight_decay)
    fusion = frozen_fusion(config.fusion, device) if config.source == 'fused' else None

    def step(_: int, batch: Batch, __: list[Batch]) -> Losses:
        image = task_input(batch, config.source, fusion)
        losses = detect(detector, image, batch, config.amp)
        descend(optimizer, detector, losses['loss'])
        return losses

    return Task({'detector': detector}, {'detector': optimizer}, step, classes=classes)


def segmentation_task(config: TrainConfig, device: torch.device) -> Task:
    """Train a segmenter; the fusion network before it stays frozen."""
    segmenter = make_segmenter(config).to(device)
    optimizer = make_optimizer(segmenter, config.lr, config.weight_decay)
    fusion = frozen_fusion(config.fusion, device) if config.source == 'fused' else None
    classes = segmenter.config.classes

    def step(_: int, batch: Batch, __: list[Batch]) -> Losses:
        image = task_input(batch, config.source, fusion, segmenter.config.inputs)
        losses = segment(segmenter, image, batch, config.amp)
        descend(optimizer, segmenter, losses['loss'])
        return losses

    return Task({'segmenter': segmenter}, {'segmenter': optimizer}, step, classes=classes)


def frozen_fusion(run: str, device: torch.device) -> nn.Module:
    """Return the fusion network of a run, which no longer learns."""
    return fast_on_cpu(load_fusion(run).requires_grad_(False)).to(device)
