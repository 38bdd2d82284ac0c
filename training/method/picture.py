"""
The target of the loss ``picture``: luma where it is clear by day, elsewhere more of infrared.

The loss with w = 1/2 asks for the mean of both sources everywhere, so that by day a bright sky
becomes gray, a black car gray, and the whole image darker.
"""

import torch
from torch import Tensor
from torch.nn import functional

from tdfusion_ros.nets.display import BRIGHT_SCENE
from tdfusion_ros.nets.display import CLEAR
from tdfusion_ros.nets.display import ENOUGH
from tdfusion_ros.nets.display import FAINT
from tdfusion_ros.nets.display import RIVAL
from tdfusion_ros.nets.display import SOFT

# Standard deviations of blurs [px].
BASE = 3.0
NEAR = 5.0
WIDE = 40.0
DAY = 0.48
NIGHT = 0.45
"""Share of infrared in the base by day, and how much more it is where luma is dark far around."""
SKY = 0.5
"""How much bright surroundings in luma reduce the share and the details of infrared."""
SHADE = 0.5
"""How much darkness reduces changes that darken."""
SURROUNDING = 10.0
HIDDEN = 0.9
"""How much clear luma reduces the share and the details of infrared by day."""
GAIN_LUMA = 0.95
GAIN_IR = 1.0
"""Gains of the details; that of luma is 1 where it is clear."""
NOISE = 0.006
"""Standard deviation of details that are noise."""
LARGEST_STEP = 2
"""A blur is computed on cells of such a size that its radius is at most this many of them."""


def blur(image: Tensor, sigma: float) -> Tensor:
    """Return (B, C, H, W) blurred by repeated box filters, on larger cells for a large sigma."""
    size = image.shape[-2:]
    cell = 1
    while sigma / cell > LARGEST_STEP:
        cell *= 2
    cells = functional.avg_pool2d(image, cell, ceil_mode=True, count_include_pad=False)
    radius = min(max(1, round(sigma / cell)), min(cells.shape[-2:]) - 1)
    for _ in range(3 if sigma / cell > 1.5 else 2):
        padded = functional.pad(cells, (radius,) * 4, mode='replicate')
        cells = functional.avg_pool2d(padded, 2 * radius + 1, 1)
    return functional.interpolate(cells, size, mode='bilinear')


def step_up(value: Tensor, threshold: float, width: float) -> Tensor:
    """Return a soft step from 0 to 1 at ``threshold``."""
    return torch.sigmoid((value - threshold) / width)


def contrast(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation over SURROUNDING."""
    mean = blur(image, SURROUNDING)
    return mean, (blur(image.square(), SURROUNDING) - mean.square()).clamp(min=0).sqrt()


def clearness(luma: Tensor, ir: Tensor) -> Tensor:
    """Return near 1 where luma shows the scene clearly by day, else near 0."""
    mean, of_luma = contrast(luma)
    needed = (CLEAR + RIVAL * contrast(ir)[1]).clamp(max=ENOUGH)
    day = step_up(luma.mean((2, 3), keepdim=True), BRIGHT_SCENE, 0.02)
    return step_up(of_luma / (mean + FAINT) - needed, 0, SOFT) * day


@torch.no_grad()
def picture(luma: Tensor, ir: Tensor) -> Tensor:
    """
    Return the image to reach, in [0, 1], for two sources, (B, 1, H, W) each.

    * Where luma is clear by day it stays as it is: infrared would gray dark clothes, and double
      the edges of cameras that are not quite registered.
    * Base: luma, plus a share of infrared minus its mean over the scene, so that the mean luma
      stays. The share is smaller in a bright sky, and larger at night, when little gets darker.
    * Details: near each pixel from the source that has more. Both, or the stronger at
      each pixel, would change more from frame to frame than either source.
    """
    base_luma, base_ir = blur(luma, BASE), blur(ir, BASE)
    dark = 1 - step_up(blur(luma, WIDE), 0.22, 0.055)
    bright = SKY * step_up(blur(luma, NEAR), 0.72, 0.06)
    clear = clearness(luma, ir)
    share = (DAY + NIGHT * dark) * (1 - bright) * (1 - HIDDEN * clear)
    mean = (share * base_ir).mean((2, 3), keepdim=True) / share.mean((2, 3), keepdim=True)
    tone = share * (base_ir - mean)
    tone = torch.where(tone < 0, tone * (1 - SHADE * dark), tone)
    detail_luma = (GAIN_LUMA + (1 - GAIN_LUMA) * clear) * (luma - base_luma)
    detail_ir = GAIN_IR * (1 - bright) * (1 - HIDDEN * clear) * (ir - base_ir)
    weights = [blur(detail.square(), NEAR).square() for detail in (detail_luma, detail_ir)]
    details = weights[0] * detail_luma + weights[1] * detail_ir
    return (base_luma + tone + details / (sum(weights) + NOISE**4)).clamp(0, 1)
