"""The image that people look at: close to rgb where rgb is clear by day, brighter in the dark."""

from dataclasses import dataclass

import torch
from torch import nn
from torch import Tensor
from torch.nn import functional

from tdfusion_ros.nets.blocks import bilinear_kernels
from tdfusion_ros.nets.blocks import COARSE_PX
from tdfusion_ros.nets.blocks import depth_in_view
from tdfusion_ros.nets.blocks import NOTHING
from tdfusion_ros.nets.blocks import surrounding

CLEAR = 0.06
RIVAL = 1.4
ENOUGH = 0.31
"""
Luma is clear where its contrast, relative to its mean, is above CLEAR plus RIVAL times the
contrast of infrared, or above ENOUGH: there luma alone shows the scene.
"""
FAINT = 0.05
"""Added to the mean luma that a contrast is relative to."""
SOFT = 0.04
"""Width of the step from unclear to clear."""
BRIGHT_SCENE = 0.27
"""Mean luma of a scene by day. At night nothing is clear, not even in the glare of a lamp."""
MOST = 2.0
"""Largest gain of the darkest pixels; a larger one would not keep the order of brightness."""


def _cells(x: Tensor) -> Tensor:
    """Return means over ``COARSE_PX``; in two steps, because ONNX Runtime is slow in one."""
    return functional.avg_pool2d(functional.avg_pool2d(x, 4), COARSE_PX // 4)


@dataclass(frozen=True)
class DisplayConfig:
    """Settings of the displayed image, stored with the networks."""

    details: float = 0.9
    """Share of the change of details by fusion that is taken back where luma is clear by day."""
    tone: float = 0.4
    """The same of the change of brightness over ``COARSE_PX``, which shows what is warm."""
    dark: float = 0.2
    """Mean brightness that a darker fused image gets, as far as a gain of ``MOST`` allows."""


class Display(nn.Module):
    """
    Change the fused luma for the eyes of people; detectors in the graph do not read this image.

    What serves a detector by day spoils the image for people: it grays dark clothes, and doubles
    the edges of cameras that are not quite registered. So the change by fusion is mostly taken
    back where luma shows the scene, except where infrared has the stronger contrast. At night the
    image gets brighter, because the fused image keeps the brightness of rgb.
    """

    bilinear: Tensor

    def __init__(self, config: DisplayConfig | None = None) -> None:
        super().__init__()
        self.config = config or DisplayConfig()
        self.register_buffer('bilinear', bilinear_kernels(COARSE_PX), persistent=False)

    def forward(self, luma: Tensor, ir: Tensor, fused: Tensor, coverage: Tensor) -> Tensor:
        """
        Return the luma to show, (B, 1, H, W) in [0, 1]: arbitrary where coverage is 0.

        :param luma: as ``ir``, ``fused`` and ``coverage`` (B, 1, H, W) in [0, 1], H and W
            multiples of ``COARSE_PX``. Pixels with coverage 0 influence nothing.
        """
        seen = coverage.ceil()
        sources, change = torch.cat((luma, ir), 1) * seen, (fused - luma) * seen
        cells = torch.cat([_cells(x) for x in (sources, sources * sources, change)], 1)
        share = _cells(seen)
        scene = cells.mean((2, 3), True) / share.mean((2, 3), True).clamp(min=NOTHING)
        near = surrounding(cells, 3) / surrounding(share, 3).clamp(min=NOTHING)
        clear = self._clearness(near, scene[:, :1])
        mean_fused = scene[:, :1] + scene[:, 4:]
        gain = (self.config.dark / mean_fused.clamp(min=NOTHING)).clamp(1.0, MOST) - 1.0
        kept = 1.0 - self.config.details * clear
        tone = (self.config.details - self.config.tone) * clear * near[:, 4:]
        maps = torch.cat((kept, tone, gain * depth_in_view(share)), 1)
        kept, tone, gain = self._pixels(maps).split(1, 1)
        shown = (luma + change * kept + tone).clamp(0.0, 1.0)
        return shown + gain * (shown - shown * shown)

    @staticmethod
    def _clearness(near: Tensor, brightness: Tensor) -> Tensor:
        """
        Return near 1 where luma shows the scene clearly by day, else near 0.

        :param near: (B, 5, h, w) means of luma, ir, their squares and the change.
        :param brightness: (B, 1, 1, 1) mean luma of the scene.
        """
        means, squares = near[:, :2], near[:, 2:4]
        contrast, of_ir = (squares - means * means).clamp(min=0.0).sqrt().split(1, 1)
        needed = (CLEAR + RIVAL * of_ir).clamp(max=ENOUGH)
        by_day = ((brightness - BRIGHT_SCENE) / 0.02).sigmoid()
        return ((contrast / (means[:, :1] + FAINT) - needed) / SOFT).sigmoid() * by_day

    def _pixels(self, maps: Tensor) -> Tensor:
        """Return coarse maps, (B, 3, h, w), interpolated for each pixel."""
        padded = functional.pad(maps, (1, 1, 1, 1), mode='replicate')
        kernels = self.bilinear.repeat(maps.shape[1], 1, 1, 1)
        pixels = functional.conv2d(padded, kernels, groups=maps.shape[1])
        return functional.pixel_shuffle(pixels, COARSE_PX)
