"""
The loss generator G: from a pair of images to the fusion loss that F is trained on.

Needed in training only. Source: Bai et al., CVPR 2025, section 3.2; the layers before the softmax
as in the released network.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch import Tensor
from torch.nn import functional

from tdfusion_ros.nets.fusion_paper import conv
from tdfusion_ros.nets.fusion_paper import encoder
from tdfusion_ros.nets.fusion_paper import RestormerBlock
from training.method.loss_families import FAMILIES
from training.method.loss_families import Terms
from training.method.losses import Sources


@dataclass(frozen=True)
class LossNetConfig:
    """Settings of a loss generator, stored with its weights."""

    family: str = 'weight'
    """Name of the family of losses, in ``FAMILIES``."""
    width: int = 24
    """Channels of the hidden layers."""
    depth: int = 5
    """Number of convolutions."""
    scale: int = 4
    """Side of a pixel of the hidden layers, in pixels of the image."""


@dataclass(frozen=True)
class LossNetPaperConfig:
    """Settings of the loss generator of the paper, stored with its weights."""

    family: str = 'weight'
    """``weight``, or ``squared`` as in the released code."""


class LossNet(nn.Module):
    """Base of both generators, which give the maps of a family; the family computes the loss."""

    family: str

    def loss(self, fused: Tensor, sources: Sources, maps: Tensor, gradient_weight: float) -> Terms:
        """Return the generated fusion loss of (B, 1, H, W), by the maps that this network gave."""
        return FAMILIES[self.family].loss(fused, sources, maps, gradient_weight)

    def fixed_maps(self, luma: Tensor) -> Tensor:
        """Return the maps with which the loss is the fixed one of its family."""
        return luma.new_zeros(len(luma), FAMILIES[self.family].maps, *luma.shape[2:])


class LossNetPaper(LossNet):
    """G of the paper: 44 529 parameters, 44 kMAC per pixel; gives the weight of each source."""

    WIDTH = 16

    def __init__(self, config: LossNetPaperConfig | None = None) -> None:
        super().__init__()
        self.config = config or LossNetPaperConfig()
        self.family = self.config.family
        self.encode_ir = encoder(self.WIDTH)
        self.encode_luma = encoder(self.WIDTH)
        width, both = self.WIDTH, 2 * self.WIDTH
        blocks = RestormerBlock(both), RestormerBlock(both)
        layers = conv(both, width, 3), nn.PReLU(), conv(width, 2, 3)
        self.decode = nn.Sequential(*blocks, *layers)

    def forward(self, luma: Tensor, ir: Tensor) -> Tensor:
        """Return the logit, (B, 1, H, W), of the weight of ir: a softmax over two sources."""
        encoded = torch.cat((self.encode_ir(ir), self.encode_luma(luma)), 1)
        of_ir, of_luma = self.decode(encoded).split(1, 1)
        return of_ir - of_luma


class LossNetRT(LossNet):
    """G for any family: 3x3 convolutions at a quarter of the resolution, 2 kMAC per pixel."""

    def __init__(self, config: LossNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or LossNetConfig()
        self.family = self.config.family
        width, scale = self.config.width, self.config.scale
        layers: list[nn.Module] = [nn.PixelUnshuffle(scale)]
        inputs = 2 * scale**2
        for _ in range(self.config.depth - 1):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.LeakyReLU(0.1)]
            inputs = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv2d(width, FAMILIES[self.config.family].maps, 3, padding=1)
        # The default initialization shrinks the signal to a hundredth, and G then learns one
        # loss for all pixels.
        for layer in self.body:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        # Start near zero everywhere, the fixed loss.
        nn.init.normal_(self.head.weight, std=1e-3)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, luma: Tensor, ir: Tensor) -> Tensor:
        """Return the maps, (B, M, H, W), 0: fixed loss; H and W multiples of ``scale``."""
        maps = self.head(self.body(torch.cat((luma, ir), 1) - 0.5))
        return functional.interpolate(maps, scale_factor=float(self.config.scale), mode='bilinear')


def make_loss_net(name: str, squared: bool = False) -> LossNet:
    """Return a new loss generator: ``paper``, or of a family; ``squared`` as in released code."""
    if name == 'paper':
        return LossNetPaper(LossNetPaperConfig('squared' if squared else 'weight'))
    return LossNetRT(LossNetConfig('squared' if squared else name))
