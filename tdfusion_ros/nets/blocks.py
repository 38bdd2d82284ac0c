"""Parts of several networks: luma, maps by cell, and convolutions with BatchNorm."""

import torch
from torch import nn
from torch import Tensor
from torch.nn import functional

NOTHING = 1e-6  # share of seen pixels below which there are none; 0 would divide by it
COARSE_PX = 16  # side of the cells whose mean brightness a fused image changes softly


def luma(rgb: Tensor) -> Tensor:
    """Return the luma, (B, 1, H, W), of (B, 3, H, W) RGB; weights of ITU-R BT.601."""
    red, green, blue = rgb.unbind(1)
    return (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(1)


def recolor(rgb: Tensor, fused_luma: Tensor) -> Tensor:
    """Return (B, 3, H, W): a fused luma in the colors of rgb; equals replacing Y in YCrCb."""
    return (rgb + (fused_luma - luma(rgb))).clamp(0.0, 1.0)


def composite(luma: Tensor, fused_luma: Tensor, coverage: Tensor | None) -> Tensor:
    """Return the fused luma where ``coverage`` is 1 (None: everywhere), and luma where it is 0."""
    if coverage is None:
        return fused_luma
    return luma + coverage * (fused_luma - luma)


def bilinear_kernels(scale: int) -> Tensor:
    """Return the weights of 3x3 cells in each pixel of the middle one, (scale ** 2, 1, 3, 3)."""
    place = (torch.arange(scale) + 0.5) / scale - 0.5  # of a pixel, from the middle of its cell
    line = torch.stack((-place, 1 - place.abs(), place), 1).clamp(min=0)
    return (line[:, None, :, None] * line[None, :, None, :]).reshape(scale**2, 1, 3, 3)


def surrounding(x: Tensor, size: int) -> Tensor:
    """Return the mean over ``size`` x ``size`` neighbors within the image."""
    return functional.avg_pool2d(x, size, 1, padding=size // 2, count_include_pad=False)


def depth_in_view(share: Tensor) -> Tensor:
    """
    Return 0 at the border of the thermal view and 1 far inside, over six cells.

    :param share: (B, 1, h, w) seen share of each cell of ``COARSE_PX``.
    """
    # 2.01 and not 2, so that rounding leaves an image that is seen everywhere as it is.
    return (2.01 * (surrounding(share, 13) - 0.5)).clamp(0.0, 1.0)


class PixelLinear(nn.Linear):
    """
    A linear layer over the channels of each pixel, (B, C, H, W).

    A convolution also for a single pixel: TensorRT has no float32 matrix product for compute
    capability 7.5.
    """

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight[..., None, None], self.bias)


class ConvNorm(nn.Module):
    """Convolution, BatchNorm and ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.norm(self.conv(x)))

    def fold(self) -> None:
        """Merge BatchNorm into the convolution, for inference only."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = nn.utils.fuse_conv_bn_eval(self.conv.eval(), self.norm.eval())
            self.norm = nn.Identity()


class Residual(nn.Module):
    """Two 3x3 convolutions through half the channels, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = ConvNorm(channels, channels // 2)
        self.expand = ConvNorm(channels // 2, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.expand(self.squeeze(x))


@torch.no_grad()
def fold_batchnorm(network: nn.Module) -> nn.Module:
    """Fold every BatchNorm of ``network`` into its convolution, in place, and return it."""
    network.eval()
    for module in network.modules():
        if isinstance(module, ConvNorm):
            module.fold()
    return network
