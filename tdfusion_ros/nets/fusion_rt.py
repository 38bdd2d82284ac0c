"""Real-time fusion of luma and infrared: plain convolutions at a fraction of the resolution."""

from dataclasses import dataclass

import torch
from torch import nn
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class FusionRTConfig:
    """Size of the fusion network; stored with the weights so that they can be loaded."""

    width: int = 16
    """Channels of the hidden layers; ONNX Runtime pads them to multiples of 16."""
    depth: int = 8
    """Number of convolutions, the first and the head included."""
    scale: int = 2
    """The hidden layers see one pixel for so many of each side: 2 or 4."""


MOMENTS = 5


def moments(sources: Tensor) -> Tensor:
    """
    Return how bright two sources are, how far they vary, and how alike.

    :param sources: (B, 2, H, W).
    :returns: (B, 5): the mean of each source, of the square of each, and of their product.
    """
    first, second = sources.split(1, 1)
    return torch.cat((sources, sources.square(), first * second), 1).mean((2, 3))


class FusionRT(nn.Module):
    """
    Predict per pixel how to mix the sources, rather than the fused intensity itself.

    ``f = clamp(a * ir + b * y + g * d + o)`` with the weights ``a`` and ``b`` of both sources, the
    gain ``g`` (all in [0, 1]) of the detail ``d``, and an offset ``o`` (in [-1/2, 1/2]); all of
    them smooth. The detail is that of the source which differs more from its surroundings, 3x3
    cells. A blend with ``a + b = 1`` loses contrast: the gain restores that of details, and larger
    weights with a negative offset that of whole regions. How negative depends on the whole scene,
    of which the convolutions see some 25 pixels to each side; so the means of the last layer and
    the moments of both sources move all four maps. Few and plain operations because the speed of
    this network is bound by memory more than by arithmetic.
    """

    def __init__(self, config: FusionRTConfig | None = None) -> None:
        super().__init__()
        self.config = config or FusionRTConfig()
        width, scale = self.config.width, self.config.scale
        # Strided, a 3x3 convolution of the unshuffled image, without moving its pixels first.
        first = nn.Conv2d(2, width, 3 * scale, stride=scale, padding=scale)
        others = (nn.Conv2d(width, width, 3, padding=1) for _ in range(self.config.depth - 2))
        self.body = nn.ModuleList((first, *others))
        self.head = nn.Conv2d(width, 4, 1)
        self.mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.scene = nn.Sequential(
            nn.Linear(width + MOMENTS, 2 * width),
            nn.ReLU(),
            nn.Linear(2 * width, 4),
            nn.Unflatten(1, (4, 1, 1)),
        )

    def maps(self, luma: Tensor, ir: Tensor) -> tuple[Tensor, ...]:
        """
        Return the weights of infrared and luma, the gain of details, and the offset.

        :param luma: (B, 1, H, W) in [0, 1], H and W multiples of ``scale``.
        :param ir: (B, 1, H, W) in [0, 1], on the grid of ``luma``.
        :returns: four (B, 1, H, W) maps, three in [0, 1] and one in [-1/2, 1/2].
        """
        return self._look(torch.cat((luma, ir), 1))[:4]

    def _look(self, sources: Tensor) -> tuple[Tensor, ...]:
        """Return the four maps, and what surrounds each pixel of luma and of infrared."""
        x = sources - 0.5
        for convolution in self.body:
            x = functional.relu(convolution(x))
        cells = functional.avg_pool2d(sources, self.config.scale)
        scene = torch.cat((self.mean(x), moments(cells)), 1)
        # Split and joined for ONNX Runtime only, which would go on with 16 channels for these 4.
        logits = torch.cat(self.head(x).split(1, 1), 1) + self.scene(scene)
        around = functional.avg_pool2d(cells, 3, 1, padding=1, count_include_pad=False)
        # Interpolated, not pixel-shuffled: Sobel is blind to a checkerboard, so the loss would let
        # the pixels of a cell drift apart. All at once, and the sigmoid before: both save time.
        weight_ir, weight_luma, gain, offset, *surroundings = functional.interpolate(
            torch.cat((logits.sigmoid(), around), 1),
            scale_factor=float(self.config.scale),
            mode='bilinear',
        ).split(1, 1)
        return weight_ir, weight_luma, gain, offset - 0.5, *surroundings

    def mix(self, luma: Tensor, ir: Tensor) -> Tensor:
        """Return the fused luma as :meth:`forward`, but below 0 and above 1 where it would be."""
        weight_ir, weight_luma, gain, offset, *around = self._look(torch.cat((luma, ir), 1))
        detail_luma, detail_ir = luma - around[0], ir - around[1]
        # As torch.where, in operations that ONNX Runtime is quicker at.
        of_ir = (detail_ir.abs() > detail_luma.abs()).to(luma.dtype)
        detail = detail_luma + of_ir * (detail_ir - detail_luma)
        return weight_ir * ir + weight_luma * luma + gain * detail + offset

    def forward(self, luma: Tensor, ir: Tensor) -> Tensor:
        """Return the fused luma, (B, 1, H, W) in [0, 1]; inputs as in :meth:`maps`."""
        return self.mix(luma, ir).clamp(0.0, 1.0)
