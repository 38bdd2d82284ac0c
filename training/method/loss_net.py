"""
The loss generator G: it gives each pixel the weight of each source in the fusion loss.

Needed in training only. Source: Bai et al., CVPR 2025, section 3.2; the layers before the softmax
as in the released network.
"""

import torch
from torch import nn
from torch import Tensor
from torch.nn import functional

from tdfusion_ros.nets.fusion_paper import conv
from tdfusion_ros.nets.fusion_paper import encoder
from tdfusion_ros.nets.fusion_paper import RestormerBlock


class LossNetPaper(nn.Module):
    """G of the paper: 44 529 parameters, 44 kMAC per pixel."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.encode_ir = encoder(width)
        self.encode_luma = encoder(width)
        self.decode = nn.Sequential(
            RestormerBlock(2 * width),
            RestormerBlock(2 * width),
            conv(2 * width, width, 3),
            nn.PReLU(),
            conv(width, 2, 3),
        )

    def forward(self, luma: Tensor, ir: Tensor) -> Tensor:
        """
        Return the weight of the infrared source; luma gets one minus it.

        :param luma: (B, 1, H, W) in [0, 1]; ``ir`` the same.
        :returns: (B, 1, H, W) in (0, 1).
        """
        logits = self.decode(torch.cat((self.encode_ir(ir), self.encode_luma(luma)), 1))
        return logits.softmax(1)[:, :1]


class LossNetRT(nn.Module):
    """G for training without a GPU: 3x3 convolutions at half resolution, 4 kMAC per pixel."""

    def __init__(self, width: int = 16, depth: int = 8) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 8
        for _ in range(depth - 1):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
            inputs = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv2d(width, 1, 3, padding=1)
        # The default initialization shrinks the signal to a hundredth, and G then learns one
        # weight for all pixels.
        for layer in self.body:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity='relu')
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        # Start near one half everywhere, as G of the paper does: plain averaging.
        nn.init.normal_(self.head.weight, std=1e-3)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, luma: Tensor, ir: Tensor) -> Tensor:
        """Return the weight of the infrared source, (B, 1, H, W) in (0, 1); H and W even."""
        x = functional.pixel_unshuffle(torch.cat((luma, ir), 1) - 0.5, 2)
        logits = self.head(self.body(x))
        return functional.interpolate(logits, scale_factor=2.0, mode='bilinear').sigmoid()


LossNet = LossNetPaper | LossNetRT
