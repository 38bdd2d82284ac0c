"""Real-time fusion of luma and infrared: plain convolutions at a fraction of the resolution."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch import Tensor
from torch.nn import functional

from tdfusion_ros.nets.blocks import composite
from tdfusion_ros.nets.blocks import PixelLinear


@dataclass(frozen=True)
class FusionRTConfig:
    """Settings of the fusion network, stored with its weights."""

    width: int = 16
    """Channels of the hidden layers; ONNX Runtime pads them to multiples of 16."""
    depth: int = 8
    """Number of convolutions, including the first one and the head."""
    scale: int = 2
    """Side of a cell, the pixel of the hidden layers, in pixels of the image: 2 or 4."""


MOMENTS = 5  # number of columns of moments()
NOTHING = 1e-6  # share of seen pixels below which there are none; 0 would divide by it
COARSE_PX = 16  # side of the squares whose mean change of brightness fades toward the border


def moments(sources: Tensor, seen: Tensor | None = None) -> Tensor:
    """
    Return first and second moments of two sources over the seen cells.

    :param sources: (B, 2, H, W).
    :param seen: (B, 1, H, W) weight of each cell; None: all have the same.
    :returns: (B, 5): the mean of each source, of the square of each, and of their product; 0 if
        nothing is seen.
    """
    first, second = sources.split(1, 1)
    return _mean(torch.cat((sources, sources.square(), first * second), 1), seen)


def _mean(x: Tensor, weight: Tensor | None) -> Tensor:
    """Return the weighted mean of (B, C, H, W) over all pixels, (B, C)."""
    if weight is None:
        return x.mean((2, 3))
    return (x * weight).mean((2, 3)) / weight.mean((2, 3)).clamp(min=NOTHING)


def _surrounding(x: Tensor, size: int) -> Tensor:
    """Return the mean over ``size`` x ``size`` neighbors within the image."""
    return functional.avg_pool2d(x, size, 1, padding=size // 2, count_include_pad=False)


class FusionRT(nn.Module):
    """
    Predict for each pixel how to mix the sources, instead of the fused intensity.

    ``f = clamp(a * ir + b * y + g * d + o)`` with smooth maps: the weights ``a`` and ``b`` of both
    sources, the gain ``g`` of the detail ``d`` (all in [0, 1]), and an offset ``o`` in
    [-1/2, 1/2]. The detail comes from the source that differs more from its 3x3 surrounding cells.
    A blend with ``a + b = 1`` loses contrast: the gain restores it in details, larger weights with
    a negative offset in whole regions. The offset depends on the whole scene, but the convolutions
    see only about 25 pixels to each side. So the means of the last layer and the moments of both
    sources shift all four maps. Memory traffic limits the speed of this network more than
    arithmetic, so it has few and simple operations.
    """

    def __init__(self, config: FusionRTConfig | None = None) -> None:
        super().__init__()
        self.config = config or FusionRTConfig()
        width, scale = self.config.width, self.config.scale
        # Equals a 3x3 convolution of the pixel-unshuffled image, without moving pixels.
        first = nn.Conv2d(2, width, 3 * scale, stride=scale, padding=scale)
        others = (nn.Conv2d(width, width, 3, padding=1) for _ in range(self.config.depth - 2))
        self.body = nn.ModuleList((first, *others))
        self.head = nn.Conv2d(width, 4, 1)
        # Half precision converts to float32 here: the sum over a scene would overflow.
        self.last: nn.Module = nn.Identity()
        self.scene = nn.Sequential(
            PixelLinear(width + MOMENTS, 2 * width), nn.ReLU(), PixelLinear(2 * width, 4)
        )

    def maps(self, luma: Tensor, ir: Tensor, coverage: Tensor | None = None) -> tuple[Tensor, ...]:
        """
        Return the weights of infrared and luma, the gain of details, and the offset.

        :param luma: (B, 1, H, W) in [0, 1], H and W multiples of ``scale``.
        :param ir: (B, 1, H, W) in [0, 1], on the grid of ``luma``.
        :param coverage: (B, 1, H, W) in [0, 1]: 1 where the thermal camera sees, 0 where not;
            None: it sees everywhere. Pixels with coverage 0 influence nothing.
        :returns: four (B, 1, H, W) maps, three in [0, 1] and the offset, in [-1/2, 1/2] away
            from the border of the thermal view.
        """
        return self._maps_and_surroundings(torch.cat((luma, ir), 1), coverage)[:4]

    def _maps_and_surroundings(
        self, sources: Tensor, coverage: Tensor | None
    ) -> tuple[Tensor, ...]:
        """Return the four maps, and the local means of luma and of infrared."""
        middle: float | Tensor = 0.5
        seen_cells = None
        if coverage is not None:
            seen = coverage.ceil()  # the border is soft in the blend, and hard in what is read
            sources, middle = sources * seen, 0.5 * seen
            seen_cells = functional.avg_pool2d(seen, self.config.scale)
        x = sources - middle  # 0 outside, as beyond the border of the image
        for convolution in self.body:
            x = functional.relu(convolution(x))
        cells = functional.avg_pool2d(sources, self.config.scale)
        around = _surrounding(cells, 3)
        if seen_cells is not None:
            around = around / _surrounding(seen_cells, 3).clamp(min=NOTHING)
            cells = cells / seen_cells.clamp(min=NOTHING)
        scene = torch.cat((_mean(self.last(x), seen_cells), moments(cells, seen_cells)), 1)
        # Split and joined because ONNX Runtime would continue with 16 channels for these 4.
        logits = torch.cat(self.head(x).split(1, 1), 1) + self.scene(scene[..., None, None])
        maps = logits.sigmoid()
        if seen_cells is not None:
            *weights, offset = maps.split(1, 1)
            offset = offset - self._excess(weights, offset, cells, seen_cells)
            maps = torch.cat((*weights, offset), 1)
        # Interpolated, not pixel-shuffled: Sobel does not see a checkerboard, so the loss would
        # not prevent one. In one call after the sigmoid, which saves time.
        weight_ir, weight_luma, gain, offset, *surroundings = functional.interpolate(
            torch.cat((maps, around), 1), scale_factor=float(self.config.scale), mode='bilinear'
        ).split(1, 1)
        return weight_ir, weight_luma, gain, offset - 0.5, *surroundings

    def _excess(
        self, weights: Sequence[Tensor], offset: Tensor, cells: Tensor, seen: Tensor
    ) -> Tensor:
        """
        Return what is too much in the offset near the border of the view.

        Fusion changes the brightness of whole regions, and a change that ends within the soft
        border is a visible rectangle. So the mean change over ``COARSE_PX`` fades over six times
        that distance, while hot objects keep their contrast up to the border.
        """
        luma, ir = cells.split(1, 1)
        change = (weights[0] * ir + (weights[1] - 1.0) * luma + offset - 0.5) * seen
        step = COARSE_PX // self.config.scale
        near = functional.avg_pool2d(seen, step)
        mean = _surrounding(functional.avg_pool2d(change, step), 5)
        mean = mean / _surrounding(near, 5).clamp(min=NOTHING)
        # 2.01 and not 2, so that rounding leaves an image that is seen everywhere as it is.
        depth = (2.01 * (_surrounding(near, 13) - 0.5)).clamp(0.0, 1.0)
        excess = mean * (1.0 - depth)
        return functional.interpolate(excess, scale_factor=float(step), mode='bilinear')

    def mix(self, luma: Tensor, ir: Tensor, coverage: Tensor | None = None) -> Tensor:
        """Return the fused luma as :meth:`forward`, but not clamped to [0, 1]."""
        return composite(luma, self._mixed(luma, ir, coverage), coverage)

    def _mixed(self, luma: Tensor, ir: Tensor, coverage: Tensor | None) -> Tensor:
        maps = self._maps_and_surroundings(torch.cat((luma, ir), 1), coverage)
        weight_ir, weight_luma, gain, offset, *around = maps
        detail_luma, detail_ir = luma - around[0], ir - around[1]
        # Equals torch.where, in operations that are faster in ONNX Runtime.
        use_ir = (detail_ir.abs() > detail_luma.abs()).to(luma.dtype)
        detail = detail_luma + use_ir * (detail_ir - detail_luma)
        return weight_ir * ir + weight_luma * luma + gain * detail + offset

    def covered(self, luma: Tensor, ir: Tensor, coverage: Tensor | None = None) -> Tensor:
        """Return the fused luma before it is composited: arbitrary where coverage is 0."""
        return self._mixed(luma, ir, coverage).clamp(0.0, 1.0)

    def forward(self, luma: Tensor, ir: Tensor, coverage: Tensor | None = None) -> Tensor:
        """
        Return the fused luma, (B, 1, H, W) in [0, 1]; inputs as in :meth:`maps`.

        It is ``luma`` where coverage is 0, and a blend at the soft border. With a coverage, H and
        W must be multiples of ``COARSE_PX``.
        """
        return composite(luma, self.covered(luma, ir, coverage), coverage)
