"""What one training step computes: the two tasks, as functions from a batch to losses."""

from collections.abc import Callable

import torch
from torch import nn
from torch import Tensor

from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.nets.blocks import luma
from tdfusion_ros.nets.blocks import recolor
from tdfusion_ros.nets.detector import Detector
from tdfusion_ros.nets.fusion_rt import FusionRT
from training.checkpoint import load_run
from training.config import TrainConfig
from training.detection import detection_loss
from training.detection import image_points
from training.losses import fusion_loss
from training.transforms import Batch

Step = Callable[[nn.Module, Batch], dict[str, Tensor]]


@torch.no_grad()
def detector_input(batch: Batch, source: str, fusion: nn.Module | None) -> Tensor:
    """Return what the detector reads, (B, 3, H, W) in [0, 1]: fused, ir or rgb."""
    if source == 'rgb':
        return batch.rgb
    if source == 'ir':
        return batch.ir.expand(-1, 3, -1, -1)
    if fusion is None:
        raise ConfigError('source fused needs a fusion network')
    return recolor(batch.rgb, fusion(luma(batch.rgb), batch.ir))


def fusion_task(config: TrainConfig) -> tuple[nn.Module, Step]:
    """Return a fresh fusion network and its step: fixed weight 1/2 for both sources."""
    weight_ir = torch.tensor(0.5)

    def step(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        y = luma(batch.rgb)
        return fusion_loss(network(y, batch.ir), y, batch.ir, weight_ir, config.gradient_weight)

    return FusionRT(), step


def detection_task(config: TrainConfig) -> tuple[nn.Module, Step]:
    """Return a fresh detector and its step; the fusion network before it stays frozen."""
    fusion = load_run(config.fusion) if config.source == 'fused' else None
    if fusion is not None:
        fusion.requires_grad_(False).to(
            memory_format=torch.channels_last  # type: ignore[call-overload]
        )

    def step(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        image = detector_input(batch, config.source, fusion)
        image = image.contiguous(memory_format=torch.channels_last)
        boxes, logits = network(image)
        points = image_points(image.shape[-2], image.shape[-1], image.device)
        truth = (batch.boxes_xyxy, batch.class_ids, batch.valid)
        return detection_loss(boxes, logits, points, truth)

    return Detector(), step


TASK = {'fusion': fusion_task, 'detection': detection_task}
