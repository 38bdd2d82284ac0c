"""
YOLOX-Nano: an anchor-free detector that can hold weights trained on COCO.

Source: Ge et al., YOLOX: Exceeding YOLO Series in 2021, arXiv:2107.08430, and the released model,
whose BatchNorm is folded into the convolutions: here every convolution has a bias instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from torch import Tensor
from torch.nn import functional

from tdfusion_ros.nets.detector import anchor_points
from tdfusion_ros.nets.detector import STRIDES

LEVELS = 255.0
"""The weights are for gray levels, 0 to 255; the images of this code are in [0, 1]."""
WIDTHS = (16, 32, 64, 128, 256)
"""Channels at strides 2, 4, 8, 16 and 32."""
REPEATS = (1, 3, 3, 1)
"""Blocks at strides 4, 8, 16 and 32."""
HEAD = 64
"""Channels of the branches of each head."""
MAX_LOG_SIDE = 8.0
"""Of the side of a box, in strides: a box that no image has, and still a finite number."""


@dataclass(frozen=True)
class YoloxConfig:
    """Settings of the detector, stored with its weights."""

    outputs: tuple[int, ...] = (1, 1, 3)
    """Outputs of each class: its logit is the largest, as for a car of car, bus and truck."""
    inputs: int = 3
    """Channels of the image: 3 for the fused image, 4 for rgb and infrared."""

    @property
    def classes(self) -> int:
        """Return the number of classes."""
        return len(self.outputs)


def conv(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Return a convolution with bias, and SiLU."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups)
    return nn.Sequential(layer, nn.SiLU())


def separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return a depthwise 3x3 convolution followed by a 1x1 one."""
    return nn.Sequential(conv(inputs, inputs, 3, stride, inputs), conv(inputs, outputs))


class CrossStage(nn.Module):
    """Send one half of the channels through blocks, the other half past them (CSPNet)."""

    def __init__(self, inputs: int, outputs: int, repeats: int = 1, residual: bool = False):
        super().__init__()
        half = outputs // 2
        self.residual = residual
        self.through, self.past = conv(inputs, half), conv(inputs, half)
        self.blocks = nn.ModuleList(
            nn.Sequential(conv(half, half), separable(half, half)) for _ in range(repeats)
        )
        self.join = conv(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        through = self.through(x)
        for block in self.blocks:
            through = through + block(through) if self.residual else block(through)
        return self.join(torch.cat((through, self.past(x)), 1))


class PoolPyramid(nn.Module):
    """Join the maxima over windows of 1, 5, 9 and 13 cells (SPP)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = conv(channels, channels // 2)
        self.join = conv(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        pools = [self.squeeze(x)]
        for _ in range(3):  # a maximum over 9 is one over 5 of one over 5
            pools.append(functional.max_pool2d(pools[-1], 5, 1, 2))
        return self.join(torch.cat(pools, 1))


class Neck(nn.Module):
    """Join three levels of features from coarse to fine, then from fine to coarse (PANet)."""

    def __init__(self, fine: int, middle: int, coarse: int) -> None:
        super().__init__()
        self.from_coarse = conv(coarse, middle)
        self.down_middle = CrossStage(2 * middle, middle)
        self.from_middle = conv(middle, fine)
        self.down_fine = CrossStage(2 * fine, fine)
        self.step_fine = separable(fine, fine, 2)
        self.up_middle = CrossStage(2 * fine, middle)
        self.step_middle = separable(middle, middle, 2)
        self.up_coarse = CrossStage(2 * middle, coarse)

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> tuple[Tensor, ...]:
        from_coarse = self.from_coarse(coarse)
        middle = self.down_middle(torch.cat((_enlarge(from_coarse), middle), 1))
        from_middle = self.from_middle(middle)
        fine = self.down_fine(torch.cat((_enlarge(from_middle), fine), 1))
        middle = self.up_middle(torch.cat((self.step_fine(fine), from_middle), 1))
        coarse = self.up_coarse(torch.cat((self.step_middle(middle), from_coarse), 1))
        return fine, middle, coarse


def backbone(inputs: int) -> tuple[nn.Sequential, nn.ModuleList]:
    """Return the stem, at stride 2, and the stages at strides 4, 8, 16 and 32."""
    # Equals the 3x3 convolution of four half images side by side, without moving pixels.
    stem = nn.Sequential(nn.Conv2d(inputs, WIDTHS[0], 6, 2, 2), nn.SiLU())
    stages = nn.ModuleList()
    coarsest = WIDTHS[-1]
    for before, width, repeats in zip(WIDTHS, WIDTHS[1:], REPEATS, strict=False):
        parts: list[nn.Module] = [separable(before, width, 2)]
        parts += [PoolPyramid(width)] if width == coarsest else []
        parts += [CrossStage(width, width, repeats, residual=width != coarsest)]
        stages.append(nn.Sequential(*parts))
    return stem, stages


def _enlarge(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode='nearest')


class HeadOutput(NamedTuple):
    """The output of a head for each cell, (B, h * w, n), row by row, float32."""

    boxes: Tensor
    """Center relative to the corner of the cell, and log of width and height, in strides."""
    objectness: Tensor
    """Logit of whether there is an object at all."""
    classes: Tensor
    """Logits of the class if there is an object."""


class Head(nn.Module):
    """Classes, boxes and objectness of one level."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.squeeze = conv(inputs, HEAD)
        self.class_branch = nn.Sequential(separable(HEAD, HEAD), separable(HEAD, HEAD))
        self.classes = nn.Conv2d(HEAD, outputs, 1)
        self.box_branch = nn.Sequential(separable(HEAD, HEAD), separable(HEAD, HEAD))
        self.boxes = nn.Conv2d(HEAD, 4, 1)
        self.objectness = nn.Conv2d(HEAD, 1, 1)

    def forward(self, x: Tensor) -> HeadOutput:
        x = self.squeeze(x)
        x, classes = self.box_branch(x), self.classes(self.class_branch(x))
        maps = self.boxes(x), self.objectness(x), classes
        return HeadOutput(*(raw.float().flatten(2).transpose(1, 2) for raw in maps))


def joint_logit(objectness: Tensor, classes: Tensor) -> Tensor:
    """
    Return the logit of the product of both probabilities, which is the score of a class.

    1 / (sigmoid(o) sigmoid(c)) - 1 = exp(-o) + exp(-c) + exp(-o - c): no probability is computed,
    whose distance from 0 or 1 would be lost in rounding.
    """
    return -torch.logaddexp(torch.logaddexp(-objectness, -classes), -objectness - classes)


class Trunk(nn.Module):
    """Backbone and neck."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.stem, self.stages = backbone(inputs)
        self.neck = Neck(*WIDTHS[-3:])

    def features(self, image: Tensor, white: float = 1.0) -> tuple[Tensor, ...]:
        """
        Return the features at stride 4, of the backbone, and at 8, 16 and 32, of the neck.

        :param image: (B, inputs, H, W) in [0, ``white``], R, G, B, infrared; H and W multiples
            of 32.
        """
        x, features = self.stem(image * (LEVELS / white)), []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features[0], *self.neck(*features[-3:])


class Yolox(Trunk):
    """Backbone, neck and one head for each level; convolutions in the order of their use."""

    def __init__(self, config: YoloxConfig | None = None) -> None:
        config = config or YoloxConfig()
        super().__init__(config.inputs)
        self.config = config
        self.heads = nn.ModuleList(
            Head(width, sum(self.config.outputs)) for width in WIDTHS[-len(STRIDES) :]
        )

    def raw(self, features: Sequence[Tensor]) -> list[HeadOutput]:
        """Return the output of each head, stride 8 first."""
        return [head(level) for head, level in zip(self.heads, features[1:], strict=True)]

    def forward(self, image: Tensor, white: float = 1.0) -> tuple[Tensor, Tensor]:
        """Detect objects in (B, inputs, H, W), R, G, B, infrared; as ``Detector``."""
        return self.detect(self.features(image, white))

    def detect(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Detect objects by the features of an image; as ``Detector``."""
        boxes, logits = [], []
        for raw, level, stride in zip(self.raw(features), features[1:], STRIDES, strict=True):
            grid_hw = (level.shape[-2], level.shape[-1])
            corners = anchor_points(grid_hw, stride, level.device) - stride / 2
            centers = corners + raw.boxes[..., :2] * stride
            half_sides = raw.boxes[..., 2:].clamp(max=MAX_LOG_SIDE).exp() * (stride / 2)
            boxes.append(torch.cat((centers - half_sides, centers + half_sides), -1))
            groups = raw.classes.split(self.config.outputs, -1)
            classes = torch.cat([group.amax(-1, keepdim=True) for group in groups], -1)
            logits.append(joint_logit(raw.objectness, classes))
        return torch.cat(boxes, 1), torch.cat(logits, 1)
