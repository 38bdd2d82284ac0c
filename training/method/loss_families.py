"""
Families of fusion losses, as functions of maps that a loss generator gives for each pixel.

Maps that are zero everywhere give the fixed loss of the family, with the weight 1/2 for both
sources. The sources are luma y and infrared ir, and e is the stronger source gradient:

    weight   w (f - ir)^2 + (1 - w)(f - y)^2 + 2 |grad f - e|        the paper, 1 map
    affine   (f - a ir - b y - c)^2 + 2 |grad f - s e|               4 maps
    bands    (F - a I - b Y - c)^2 + 4 sum_k |f_k - s_k d_k|         6 maps

In the last, f_k is the detail of the fused image in one of three bands (pixels of 1, 2 and 4), d_k
that of the source in which it is stronger, and capitals are the images without these details.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor
from torch.nn import functional

from training.method.losses import fusion_loss
from training.method.losses import sobel
from training.method.losses import Sources
from training.method.losses import stronger
from training.method.losses import weighted

SMOOTH = 0.1
"""Gradient difference up to which ``smooth_abs`` is quadratic."""
SMOOTH_DETAIL = 0.02
"""The same for a difference of intensities."""

Terms = dict[str, Tensor]
FamilyLoss = Callable[[Tensor, Sources, Tensor, float], Terms]
"""Takes the fused image, the sources, the maps and gradient_weight; returns ``loss`` and terms."""


@dataclass(frozen=True)
class Family:
    """A family of fusion losses."""

    maps: int
    """Number of maps for each pixel."""
    loss: FamilyLoss


def smooth_abs(x: Tensor, width: float) -> Tensor:
    """Return about the absolute value, with a second derivative, which a meta gradient needs."""
    return (x.square() + width**2).sqrt() - width


def weight_loss(
    fused: Tensor, sources: Sources, maps: Tensor, gradient_weight: float, *, squared: bool = False
) -> Terms:
    """Return the loss of the paper, or ``squared``; the map is the logit of infrared's weight."""
    return fusion_loss(fused, *sources, maps.sigmoid(), gradient_weight, squared=squared)


def target_of(sources: Sources, maps: Tensor) -> Tensor:
    """Return the intensity that three maps ask for; gains in [0, 1], offset in [-1/2, 1/2]."""
    (luma, ir), (a, b, c) = sources, maps.tanh().div(2).split(1, 1)
    return (0.5 + a) * ir + (0.5 + b) * luma + c


def affine_loss(fused: Tensor, sources: Sources, maps: Tensor, gradient_weight: float) -> Terms:
    """Return the distance to an affine mix of the sources, and to a scaled contrast."""
    intensity = (fused - target_of(sources, maps[:, :3])).square().mean()
    away = sobel(fused) - maps[:, 3:].tanh().exp() * stronger(*map(sobel, sources))
    return weighted(intensity, 2 * smooth_abs(away, SMOOTH).mean(), gradient_weight)


def bands_loss(fused: Tensor, sources: Sources, maps: Tensor, gradient_weight: float) -> Terms:
    """Return the distance to scaled details in each band, and to an affine mix below them."""
    base: tuple[Tensor, ...] = (fused, *sources)
    of_base = maps[:, :3]
    gradient = fused.new_zeros(())
    for gain in maps[:, 3:].tanh().exp().split(1, 1):
        smaller = tuple(functional.avg_pool2d(image, 2) for image in base)
        detail, *of_sources = (
            image - functional.interpolate(low, image.shape[-2:], mode='bilinear')
            for image, low in zip(base, smaller, strict=True)
        )
        gain = functional.interpolate(gain, detail.shape[-2:], mode='area')
        away = detail - gain * stronger(*of_sources)
        gradient = gradient + 4 * smooth_abs(away, SMOOTH_DETAIL).mean()
        base, of_base = smaller, functional.avg_pool2d(of_base, 2)
    fused, luma, ir = base
    intensity = (fused - target_of((luma, ir), of_base)).square().mean()
    return weighted(intensity, gradient, gradient_weight)


FAMILIES = {
    'weight': Family(1, weight_loss),
    'squared': Family(1, partial(weight_loss, squared=True)),
    'affine': Family(4, affine_loss),
    'bands': Family(6, bands_loss),
}
"""The families, by name."""
