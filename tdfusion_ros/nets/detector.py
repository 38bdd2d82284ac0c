"""Small anchor-free single-stage detector at strides 8, 16 and 32."""

from dataclasses import dataclass
import math

import torch
from torch import nn
from torch import Tensor
from torch.nn import functional

from tdfusion_ros.nets.blocks import ConvNorm
from tdfusion_ros.nets.blocks import Residual

STRIDES = (8, 16, 32)


@dataclass(frozen=True)
class DetectorConfig:
    """Settings of the detector, stored with its weights."""

    classes: int = 3
    """Number of classes."""
    inputs: int = 3
    """Channels of the image: 3 for the fused image, 2 for luma and infrared."""
    widths: tuple[int, ...] = (16, 24, 56, 96, 128)
    """Channels at strides 2, 4, 8, 16 and 32."""
    repeats: tuple[int, ...] = (0, 1, 2, 2, 1)
    """Residual blocks at strides 2, 4, 8, 16 and 32."""
    neck: int = 40
    """Channels of the feature pyramid."""
    head: int = 32
    """Channels of the two branches of each head."""


def anchor_points(grid_hw: tuple[int, int], stride: int, device: torch.device) -> Tensor:
    """Return the image points of the cells of a feature map, (h * w, 2) x, y, row by row."""
    y, x = (
        (torch.arange(size, device=device, dtype=torch.float32) + 0.5) * stride for size in grid_hw
    )
    return torch.stack((x.expand(grid_hw), y[:, None].expand(grid_hw)), -1).flatten(0, 1)


class Head(nn.Module):
    """Class logits and border distances of one level, in two separate branches."""

    def __init__(self, inputs: int, width: int, classes: int) -> None:
        super().__init__()
        self.class_branch = ConvNorm(inputs, width)
        self.class_logits = nn.Conv2d(width, classes, 1)
        self.border_branch = ConvNorm(inputs, width)
        self.borders = nn.Conv2d(width, 4, 1)
        # Start at a probability of 0.01, or background would dominate the first steps.
        nn.init.constant_(self.class_logits.bias, -math.log(99.0))  # type: ignore[arg-type]
        nn.init.constant_(self.borders.bias, 2.0)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, h * w, C) and border distances (B, h * w, 4) >= 0, in strides."""
        logits = self.class_logits(self.class_branch(x))
        borders = functional.softplus(self.borders(self.border_branch(x)).float())
        return logits.flatten(2).transpose(1, 2), borders.flatten(2).transpose(1, 2)


class Detector(nn.Module):
    """Backbone, top-down feature pyramid and one small head per level."""

    def __init__(self, config: DetectorConfig | None = None) -> None:
        super().__init__()
        self.config = config or DetectorConfig()
        stages = []
        inputs = self.config.inputs
        for width, repeats in zip(self.config.widths, self.config.repeats, strict=True):
            blocks = [Residual(width) for _ in range(repeats)]
            stages.append(nn.Sequential(ConvNorm(inputs, width, stride=2), *blocks))
            inputs = width
        self.stages = nn.ModuleList(stages)
        neck = self.config.neck
        levels = self.config.widths[-len(STRIDES) :]
        self.lateral = nn.ModuleList(ConvNorm(width, neck, kernel=1) for width in levels)
        self.smooth = nn.ModuleList(ConvNorm(neck, neck) for _ in levels)
        outputs = self.config.head, self.config.classes
        self.heads = nn.ModuleList(Head(neck, *outputs) for _ in levels)

    def pyramid(self, image: Tensor) -> list[Tensor]:
        """Return the feature maps at strides 8, 16 and 32 of a (B, inputs, H, W) image."""
        x, features = image - 0.5, []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        features = [lat(f) for lat, f in zip(self.lateral, features[-3:], strict=True)]
        for level in (1, 0):
            above = functional.interpolate(features[level + 1], scale_factor=2.0, mode='nearest')
            features[level] = features[level] + above
        return [smooth(f) for smooth, f in zip(self.smooth, features, strict=True)]

    def forward(self, image: Tensor, white: float = 1.0) -> tuple[Tensor, Tensor]:
        """
        Detect objects in (B, inputs, H, W) in [0, ``white``], H and W multiples of 32.

        :returns: ``boxes_xyxy`` (B, A, 4) float32 in pixels, not clipped to the image, and class
            logits (B, A, C); one row per anchor point, stride 8 first.
        """
        boxes, logits = [], []
        for feature, head, stride in zip(
            self.pyramid(image / white), self.heads, STRIDES, strict=True
        ):
            level_logits, borders = head(feature)
            points = anchor_points((feature.shape[-2], feature.shape[-1]), stride, feature.device)
            left_top, right_bottom = (borders * stride).split(2, -1)
            boxes.append(torch.cat((points - left_top, points + right_bottom), -1))
            logits.append(level_logits)
        return torch.cat(boxes, 1), torch.cat(logits, 1)
