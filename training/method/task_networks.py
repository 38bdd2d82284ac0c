"""The task networks T, a detector and a segmenter: classes, input, task loss, and loading."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch import Tensor

from tdfusion_ros.compose.class_names import COCO
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.errors import ModelError
from tdfusion_ros.nets.blocks import recolor
from tdfusion_ros.nets.detector import Detector
from tdfusion_ros.nets.detector import DetectorConfig
from tdfusion_ros.nets.segmenter import Segmenter
from tdfusion_ros.nets.segmenter import SegmenterConfig
from tdfusion_ros.nets.yolox import Yolox
from training.checkpoint import is_bundle
from training.checkpoint import load_detector
from training.checkpoint import load_network
from training.checkpoint import read_contract
from training.checkpoint import read_description
from training.data.augmentation import Batch
from training.data.datasets import CLASSES
from training.method.detection import detection_loss
from training.method.detection import image_points
from training.method.detection import Truth
from training.method.losses import sources_of
from training.method.optimization import channels_last
from training.method.optimization import Losses
from training.method.optimization import run_network
from training.method.pretrained import is_pretrained
from training.method.pretrained import load_yolox
from training.method.segmentation import segmentation_loss

TaskNetwork = Detector | Yolox | Segmenter


@torch.no_grad()
def task_input(batch: Batch, source: str, fusion: nn.Module | None, channels: int = 3) -> Tensor:
    """
    Return the input of a task network, (B, C, H, W) in [0, 1].

    :param source: ``rgb``; ``ir`` in equal channels; ``early``: both, the last channel is ir;
        ``average``, ``maximum`` or ``fused`` (by ``fusion``) luma with the colors of rgb.
    :param channels: 3; or 1: luma without colors; for ``early`` 2 (luma and ir) or 4.
    """
    pair = batch.pair
    y, ir = sources_of(pair)
    if source == 'rgb':
        return batch.rgb if channels == 3 else y
    if source == 'ir':
        return batch.ir.expand(-1, channels, -1, -1)
    if source == 'early':
        return torch.cat((batch.rgb if channels == 4 else y, batch.ir), 1)
    if source == 'average':
        return with_colors(batch, (y + ir) / 2, channels)
    if source == 'maximum':
        return with_colors(batch, torch.maximum(y, ir), channels)
    assert fusion is not None
    return with_colors(batch, fusion(*pair), channels)


def with_colors(batch: Batch, fused: Tensor, channels: int) -> Tensor:
    """Return a fused luma with the colors of ``batch.rgb``; for one channel, the luma itself."""
    return fused if channels == 1 else recolor(batch.rgb, fused)


def detect(detector: nn.Module, image: Tensor, batch: Batch, amp: bool = False) -> Losses:
    """Return the detection loss of an image, (B, C, H, W), for the boxes of ``batch``."""
    image = image.contiguous(memory_format=torch.channels_last)
    boxes, logits = run_network(detector, (image,), amp)
    points = image_points(image.shape[-2], image.shape[-1], image.device)
    truth = Truth(batch.boxes_xyxy, batch.class_ids, batch.valid, batch.labeled)
    return detection_loss(boxes, logits, points, truth)


def segment(segmenter: nn.Module, image: Tensor, batch: Batch, amp: bool = False) -> Losses:
    """Return the segmentation loss of an image, (B, C, H, W), for the mask of ``batch``."""
    if batch.mask is None:
        raise FusionError(f'{", ".join(batch.names)}: no masks, and segmentation needs them')
    logits = run_network(segmenter, (image,), amp)
    return segmentation_loss(logits, batch.mask)


def task_losses(network: TaskNetwork, image: Tensor, batch: Batch, amp: bool = False) -> Losses:
    """Return ``loss`` and its terms of a task network on its input, (B, C, H, W)."""
    compute = segment if isinstance(network, Segmenter) else detect
    return compute(network, image, batch, amp)


def loss_on_fused(network: TaskNetwork, fused: Tensor, batch: Batch, amp: bool = False) -> Tensor:
    """Return the task loss L_t, a scalar, of a network on a fused luma, (B, 1, H, W)."""
    image = with_colors(batch, fused, network.config.inputs)
    return task_losses(network, image, batch, amp)['loss']


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Fix statistics and switch dropout off for a while, so that the loss is deterministic."""
    before = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(before)


def make_detector(classes: tuple[str, ...], start: str = '', inputs: int = 3) -> Detector | Yolox:
    """Return a detector to train, new, of a run or bundle, or of a file of weights."""
    detector: Detector | Yolox
    if is_pretrained(start):
        detector = load_yolox(start, classes, inputs)
    elif start:
        detector, known = read_detector(start)
        check_classes(start, known, classes)
    else:
        detector = Detector(DetectorConfig(len(classes), inputs=inputs))
    channels_last(detector.train())
    return detector


def make_segmenter(classes: tuple[str, ...], start: str = '', inputs: int = 3) -> Segmenter:
    """
    Return a new segmenter to train; with ``start`` only its head, on frozen features.

    :param start: where the features come from: file of pretrained weights, detector run or bundle.
    """
    if not start:
        network = Segmenter(SegmenterConfig(classes, inputs))
    else:
        detector = (
            load_yolox(start, COCO, inputs) if is_pretrained(start) else load_detector(start)
        )
        if not isinstance(detector, Yolox):
            raise ModelError(f'{start}: masks need a detector that started from YOLOX-Nano')
        network = Segmenter(SegmenterConfig(classes, detector.config.inputs))
        network.load_state_dict(detector.state_dict(), strict=False)
        network.requires_grad_(False).head.requires_grad_(True)
    channels_last(network.train())
    return network


def read_detector(run: str) -> tuple[Detector | Yolox, tuple[str, ...]]:
    """Return the detector of a run or bundle and its class names, or raise ModelError."""
    network = load_detector(run)
    said = read_contract(run) if is_bundle(run) else read_description(run)
    classes = tuple(said.get('classes', CLASSES))
    if len(classes) != network.config.classes:
        raise ModelError(
            f'{run} has a detector of {network.config.classes} classes but {len(classes)} class '
            'names: write "classes": [names, in order] into its run.json, or train it again'
        )
    return network, classes


def load_segmenter(run: str, classes: tuple[str, ...]) -> Segmenter:
    """Return the segmenter of a run; FusionError for another network, or other classes."""
    network = load_network(run, Segmenter)
    check_classes(run, network.config.classes, classes)
    channels_last(network)
    return network


def check_classes(run: str, known: tuple[str, ...], classes: tuple[str, ...]) -> None:
    """Raise FusionError if a network was trained for other classes than the data has."""
    if known != classes:
        raise FusionError(
            f'{run} was trained for the classes {", ".join(known)}, but the data have '
            f'{", ".join(classes)}: choose another run or other data'
        )
