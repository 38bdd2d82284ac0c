"""
The fusion network of the paper: Restormer blocks at full resolution, two encoders.

Source: Bai et al., Task-driven Image Fusion with Learnable Fusion Loss, CVPR 2025, section 3 and
supplement. 59 856 parameters and 60 kMAC per pixel: too slow for a robot, but a reference.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch import Tensor
from torch.nn import functional

from tdfusion_ros.nets.blocks import composite

HEADS = 8


@dataclass(frozen=True)
class FusionPaperConfig:
    """Settings of the paper's network, stored with its weights."""

    width: int = 16
    """Channels of each encoder; a multiple of the 8 heads."""


def conv(inputs: int, outputs: int, kernel: int = 1, groups: int = 1) -> nn.Conv2d:
    """Return a convolution without bias that keeps the size."""
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)


def expand(inputs: int, outputs: int) -> nn.Sequential:
    """Return a 1x1 convolution followed by a depthwise 3x3 one."""
    return nn.Sequential(conv(inputs, outputs), conv(outputs, outputs, 3, groups=outputs))


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of each pixel, with scale and shift."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        # Not layer_norm, which needs channels last and is slower; jvp supports all of these.
        centered = x - x.mean(1, keepdim=True)
        scale = torch.rsqrt(centered.square().mean(1, keepdim=True) + 1e-5)
        return centered * scale * self.weight[:, None, None] + self.bias[:, None, None]


def channel_attention(q: Tensor, k: Tensor, v: Tensor, temperature: Tensor) -> Tensor:
    """
    Mix the channels of ``v``, (B, C, H, W), within each head; q, k as ``v``.

    :param temperature: (heads,) factor of the logits.
    """
    split = [x.unflatten(1, (HEADS, -1)).flatten(3) for x in (q, k, v)]
    q, k = (functional.normalize(x, dim=-1) for x in split[:2])
    weights = (temperature[:, None, None] * (q @ k.transpose(-1, -2))).softmax(-1)
    return (weights @ split[2]).flatten(1, 2).unflatten(-1, v.shape[-2:])


class RestormerBlock(nn.Module):
    """Channel attention and a gated feed-forward layer, each added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention_norm = ChannelNorm(channels)
        self.qkv = expand(channels, 3 * channels)
        self.temperature = nn.Parameter(torch.ones(HEADS))
        self.attention_out = conv(channels, channels)
        self.gate_norm = ChannelNorm(channels)
        self.gate = expand(channels, 4 * channels)
        self.gate_out = conv(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H, W) from (B, C, H, W)."""
        q, k, v = self.qkv(self.attention_norm(x)).chunk(3, 1)
        x = x + self.attention_out(channel_attention(q, k, v, self.temperature))
        gate, value = self.gate(self.gate_norm(x)).chunk(2, 1)
        return x + self.gate_out(functional.gelu(gate) * value)


class CrossFusion(nn.Module):
    """The paper's adaptive fusion module: cross attention in both directions, then gates."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.qkv = nn.ModuleList(expand(channels, 3 * channels) for _ in range(2))
        self.temperature = nn.ParameterList(torch.ones(HEADS) for _ in range(2))
        self.attention_out = nn.ModuleList(conv(channels, channels) for _ in range(2))
        self.gates = expand(2 * channels, 8 * channels)
        self.values = nn.ModuleList(expand(channels, 4 * channels) for _ in range(2))
        self.value_out = nn.ModuleList(conv(4 * channels, 2 * channels) for _ in range(2))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return (B, 2C, H, W) from two (B, C, H, W)."""
        streams = [first, second]
        qkv = [self.qkv[i](streams[i]).chunk(3, 1) for i in (0, 1)]
        for i in (0, 1):
            (_, k, v), other_q = qkv[i], qkv[1 - i][0]
            mixed = channel_attention(other_q, k, v, self.temperature[i])
            streams[i] = streams[i] + self.attention_out[i](mixed)
        joined = torch.cat(streams, 1)
        gates = self.gates(joined).chunk(2, 1)
        for i in (0, 1):
            value = functional.gelu(gates[i]) * self.values[i](streams[i])
            joined = joined + self.value_out[i](value)
        return joined


def encoder(width: int) -> nn.Sequential:
    """Return the stem of one modality: a 3x3 convolution and two Restormer blocks."""
    return nn.Sequential(conv(1, width, 3), RestormerBlock(width), RestormerBlock(width))


class FusionPaper(nn.Module):
    """Fuse infrared and luma as in the paper, at any height and width."""

    def __init__(self, config: FusionPaperConfig | None = None) -> None:
        super().__init__()
        self.config = config or FusionPaperConfig()
        width = self.config.width
        self.encode_ir = encoder(width)
        self.encode_luma = encoder(width)
        self.cross = CrossFusion(width)
        blocks = RestormerBlock(2 * width), RestormerBlock(2 * width)
        layers = conv(2 * width, width, 3), nn.LeakyReLU(0.01), conv(width, 1, 3), nn.Sigmoid()
        self.decode = nn.Sequential(*blocks, *layers)

    def covered(self, luma: Tensor, ir: Tensor, coverage: Tensor | None = None) -> Tensor:
        """Return the fused luma before it is composited: arbitrary where coverage is 0."""
        seen = 1.0 if coverage is None else coverage.ceil()
        return self.decode(self.cross(self.encode_ir(ir * seen), self.encode_luma(luma * seen)))

    def forward(self, luma: Tensor, ir: Tensor, coverage: Tensor | None = None) -> Tensor:
        """Return the fused luma, (B, 1, H, W) in (0, 1); inputs as in ``FusionRT.maps``."""
        return composite(luma, self.covered(luma, ir, coverage), coverage)
