"""
The picture loss: infrared belongs where it shows something that luma does not.

The loss with w = 1/2 asks for the mean of both sources everywhere, so that by day a bright sky
becomes gray and a black car gray too. Here a target image is computed from both sources: luma
where it is well exposed and has contrast, and infrared added where it has more information.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.method.losses import DARK
from training.method.losses import sobel
from training.method.losses import stronger
from training.method.losses import weighted

# Standard deviations of blurs [px].
FINE = 3.0
NEAR = 6.0
MIDDLE = 12.0
AROUND = 28.0
WIDE = 40.0
NOISE = 0.009
"""Standard deviation of details that are noise."""
NIGHT = 1.4
LOW = 0.9
DIM = 0.45
ROOM = 1.15
NOISE_EDGE = 0.03
LARGEST_STEP = 2
"""A blur is computed on cells of such a size that its radius is at most this many of them."""


@dataclass(frozen=True)
class Picture:
    """What a fused image should look like."""

    target: Tensor
    """(B, 1, H, W) in [0, 1]."""
    freedom: Tensor
    """(B, 1, H, W) in [0, 1]: share of the stronger source gradient in the target's gradient."""


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


def positive(value: Tensor) -> Tensor:
    """Return about the positive part of ``value``, without an edge that noise would cross."""
    return (value + (value.square() + NOISE_EDGE**2).sqrt() - NOISE_EDGE) / 2


def variance(image: Tensor, sigma: float) -> Tensor:
    """Return the local mean square of ``image``, at least 0."""
    return blur(image.square(), sigma).clamp(min=0)


@torch.no_grad()
def picture(luma: Tensor, ir: Tensor) -> Picture:
    """
    Return the target of the picture loss for two sources, (B, 1, H, W) each, in [0, 1].

    * Tone: infrared minus its mean over the scene, weighted by the share that it has in the
      information of both sources, hardly where luma is bright (sky).
    * Objects: what is warmer than its surroundings, where luma lacks contrast.
    * Night: infrared above its background, where luma is dark far around.
    * Detail: that of infrared where it is stronger than the detail of luma, and than noise.

    Infrared brightens nothing that is darker than its surroundings in luma: a black car and a dark
    tree against the sky keep their contrast. Additions approach white without reaching it.
    """
    fine_luma, fine_ir = blur(luma, FINE), blur(ir, FINE)
    detail_luma, detail_ir = luma - fine_luma, ir - fine_ir
    fine_variances = variance(detail_luma, 5.0), variance(detail_ir, 5.0)
    around_luma, around_ir = blur(luma, AROUND), blur(ir, AROUND)
    dark = 1 - step_up(blur(luma, WIDE), 0.22, 0.055)
    bright = step_up(blur(luma, NEAR), 0.72, 0.06)
    lighter = step_up(fine_luma - around_luma, -0.07, 0.02)

    information_luma, information_ir = (
        variance(fine - blur(fine, MIDDLE), MIDDLE) + fine_variance
        for fine, fine_variance in zip((fine_luma, fine_ir), fine_variances, strict=True)
    )
    share = information_ir / (information_ir + information_luma + 0.03**2)
    weight = (0.15 + 0.75 * share) * (1 - 0.7 * bright)
    mean = ir.mean((2, 3), keepdim=True)
    tone = weight * (ir - mean)

    warmer = (fine_ir - around_ir - 0.02).clamp(min=0)
    contrast = blur((fine_luma - around_luma).abs(), NEAR)
    alone = warmer / (warmer + contrast + 0.05)  # warm, and luma shows nothing there
    objects = (ir - around_ir - 0.02).clamp(min=0) * alone * (0.65 + 0.35 * dark)
    night = NIGHT * dark * positive(ir - LOW * mean)

    more = torch.maximum(night, lighter * torch.maximum(objects, tone.clamp(min=0)))
    less = tone.clamp(max=0) * (1 - dark)
    detail_share = fine_variances[1] / (sum(fine_variances) + NOISE**2)
    noise_share = NOISE**2 / (fine_variances[0] + NOISE**2)
    detail = detail_share * (1 - weight) * detail_ir * (1 - dark) * (1 - alone) * (1 - bright)
    target = (
        luma * (1 - DIM * dark * luma / (luma + 0.2) + 1.4 * less)
        + (1 - luma) * more * ROOM * (1 - 0.3 * dark)
        + detail.clamp(-0.25, 0.25)
        - torch.maximum(noise_share, 0.7 * detail_share * (1 - bright)) * detail_luma
    )
    return Picture(target.clamp(0, 1), torch.maximum(dark, share) * (1 - bright))


def picture_loss(
    mixed: Tensor, luma: Tensor, ir: Tensor, gradient_weight: float = 1.0
) -> dict[str, Tensor]:
    """
    Return ``loss`` and its two terms: the distance to the target of ``picture``.

    Differences have more weight in the dark, as in ``imitation_loss``. Where luma is dark or has
    less information than infrared, half of the gradient to reach is the stronger of both sources.

    :param mixed: (B, 1, H, W), not clamped to [0, 1].
    """
    wanted = picture(luma, ir)
    half = 0.4 * wanted.freedom
    edges = (1 - half) * sobel(wanted.target) + half * stronger(sobel(luma), sobel(ir))
    intensity = ((mixed - wanted.target).abs() / (wanted.target + DARK)).mean()
    return weighted(intensity, 2 * (sobel(mixed) - edges).abs().mean(), gradient_weight)
