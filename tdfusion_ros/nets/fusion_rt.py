"""Real-time fusion of luma and infrared: plain 3x3 convolutions at half resolution."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch import Tensor
from torch.nn import functional

from tdfusion_ros.nets.blocks import high_pass


@dataclass(frozen=True)
class FusionRTConfig:
    """Size of the fusion network; stored with the weights so that they can be loaded."""

    width: int = 16
    """Channels of the hidden layers."""
    depth: int = 8
    """Number of 3x3 convolutions, the first and the last included."""


class FusionRT(nn.Module):
    """
    Predict per pixel how to mix the sources, rather than the fused intensity itself.

    ``f = clamp(w * ir + (1 - w) * y + g * d)`` with the blend weight ``w`` of the infrared
    source, the detail gain ``g`` (both in [0, 1]) and ``d`` the high-pass of the source whose
    detail is stronger. The blend cannot invent intensities; the gain restores the contrast that
    a blend loses. Pixel-unshuffled input and folded plain convolutions because the speed of this
    network is bound by memory, not by arithmetic.
    """

    def __init__(self, config: FusionRTConfig | None = None) -> None:
        super().__init__()
        self.config = config or FusionRTConfig()
        width = self.config.width
        channels = [8, *[width] * (self.config.depth - 1)]
        self.body = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in pairwise(channels))
        self.head = nn.Conv2d(width, 2, 3, padding=1)

    def weights(self, luma: Tensor, ir: Tensor) -> tuple[Tensor, Tensor]:
        """
        Return blend weight of the infrared source and detail gain.

        :param luma: (B, 1, H, W) in [0, 1], H and W even.
        :param ir: (B, 1, H, W) in [0, 1], on the grid of ``luma``.
        :returns: two (B, 1, H, W) maps in [0, 1].
        """
        x = functional.pixel_unshuffle(torch.cat((luma, ir), 1) - 0.5, 2)
        for convolution in self.body:
            x = functional.relu(convolution(x))
        # Interpolated, not pixel-shuffled: Sobel is blind to a checkerboard, so the loss would let
        # the four pixels of a cell drift apart.
        logits = functional.interpolate(self.head(x), scale_factor=2.0, mode='bilinear')
        maps = logits.sigmoid()
        return maps[:, :1], maps[:, 1:]

    def forward(self, luma: Tensor, ir: Tensor) -> Tensor:
        """Return the fused luma, (B, 1, H, W) in [0, 1]; inputs as in :meth:`weights`."""
        weight, gain = self.weights(luma, ir)
        detail_luma, detail_ir = high_pass(luma), high_pass(ir)
        detail = torch.where(detail_ir.abs() > detail_luma.abs(), detail_ir, detail_luma)
        return (luma + weight * (ir - luma) + gain * detail).clamp(0.0, 1.0)
