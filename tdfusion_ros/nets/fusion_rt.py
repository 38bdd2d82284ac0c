"""Real-time fusion of luma and infrared: plain convolutions at a fraction of the resolution."""

from dataclasses import dataclass

import torch
from torch import nn
from torch import Tensor
from torch.nn import functional

from tdfusion_ros.nets.blocks import high_pass


@dataclass(frozen=True)
class FusionRTConfig:
    """Size of the fusion network; stored with the weights so that they can be loaded."""

    width: int = 16
    """Channels of the hidden layers; ONNX Runtime pads them to multiples of 16."""
    depth: int = 8
    """Number of convolutions, the first and the head included."""
    scale: int = 2
    """The hidden layers see one pixel for so many of each side: 2 or 4."""


class FusionRT(nn.Module):
    """
    Predict per pixel how to mix the sources, rather than the fused intensity itself.

    ``f = clamp(a * ir + b * y + g * d + o)`` with the weights ``a`` and ``b`` of both sources, the
    gain ``g`` (all in [0, 1]) of ``d``, the high-pass of the source whose detail is stronger, and
    an offset ``o`` (in [-1/2, 1/2]); all of them smooth. A blend with ``a + b = 1`` loses
    contrast: the gain restores that of details, and larger weights with a negative offset that of
    whole regions. How negative depends on the whole scene, of which the convolutions see some
    30 pixels to each side; so the mean of the last layer moves all four maps. Few and plain
    operations because the speed of this network is bound by memory more than by arithmetic.
    """

    def __init__(self, config: FusionRTConfig | None = None) -> None:
        super().__init__()
        self.config = config or FusionRTConfig()
        width, scale = self.config.width, self.config.scale
        # Strided, a 3x3 convolution of the unshuffled image, without moving its pixels first.
        first = nn.Conv2d(2, width, 3 * scale, stride=scale, padding=scale)
        others = (nn.Conv2d(width, width, 3, padding=1) for _ in range(self.config.depth - 2))
        self.body = nn.ModuleList((first, *others))
        self.head = nn.Conv2d(width, 4, 3, padding=1)
        self.scene = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, 4),
            nn.Unflatten(1, (4, 1, 1)),
        )

    def maps(self, luma: Tensor, ir: Tensor) -> tuple[Tensor, ...]:
        """
        Return the weights of infrared and luma, the gain of details, and the offset.

        :param luma: (B, 1, H, W) in [0, 1], H and W multiples of ``scale``.
        :param ir: (B, 1, H, W) in [0, 1], on the grid of ``luma``.
        :returns: four (B, 1, H, W) maps, three in [0, 1] and one in [-1/2, 1/2].
        """
        return self._maps(torch.cat((luma, ir), 1))

    def _maps(self, sources: Tensor) -> tuple[Tensor, ...]:
        x = sources - 0.5
        for convolution in self.body:
            x = functional.relu(convolution(x))
        # Split and joined for ONNX Runtime only, which would go on with 16 channels for these 4.
        logits = torch.cat(self.head(x).split(1, 1), 1) + self.scene(x)
        # Interpolated, not pixel-shuffled: Sobel is blind to a checkerboard, so the loss would let
        # the pixels of a cell drift apart.
        maps = functional.interpolate(
            logits, scale_factor=float(self.config.scale), mode='bilinear'
        ).sigmoid()
        weight_ir, weight_luma, gain, offset = maps.split(1, 1)
        return weight_ir, weight_luma, gain, offset - 0.5

    def forward(self, luma: Tensor, ir: Tensor) -> Tensor:
        """Return the fused luma, (B, 1, H, W) in [0, 1]; inputs as in :meth:`maps`."""
        sources = torch.cat((luma, ir), 1)
        weight_ir, weight_luma, gain, offset = self._maps(sources)
        detail_luma, detail_ir = high_pass(sources).split(1, 1)
        detail = torch.where(detail_ir.abs() > detail_luma.abs(), detail_ir, detail_luma)
        blend = weight_ir * ir + weight_luma * luma
        return (blend + gain * detail + offset).clamp(0.0, 1.0)
