"""Losses of the fusion network: the fusion loss of the paper (Eq. 4-6), and the imitation loss."""

import torch
from torch import Tensor
from torch.nn import functional

from tdfusion_ros.nets.blocks import composite

Pair = tuple[Tensor, ...]
"""
Luma and infrared, (B, 1, H, W) each, in [0, 1]: the input of F. A third one is the coverage, if
the thermal camera does not see everywhere.
"""
Sources = tuple[Tensor, Tensor]
"""Luma and infrared as G and the losses see them."""
DARK = 0.1
"""Intensity at which a difference has half the weight that it has at 0."""
SOBEL_X = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))


def sources_of(pair: Pair) -> Sources:
    """
    Return the sources of a pair.

    Where the thermal camera does not see, infrared is luma, as the fused image is: nothing there
    contributes to a loss.
    """
    luma, ir, *seen = pair
    return luma, composite(luma, ir, *seen) if seen else ir


def sobel(image: Tensor) -> Tensor:
    """Return unnormalized Sobel derivatives, (B, 2, H, W); a replicated border has no edge."""
    kernel = torch.tensor(SOBEL_X, dtype=image.dtype, device=image.device)
    kernels = torch.stack((kernel, kernel.T)).unsqueeze(1)
    return functional.conv2d(functional.pad(image, (1, 1, 1, 1), mode='replicate'), kernels)


def stronger(of_luma: Tensor, of_ir: Tensor) -> Tensor:
    """Return the values of larger magnitude, with their sign; a tie goes to infrared."""
    return torch.where(of_luma.abs() > of_ir.abs(), of_luma, of_ir)


def weighted(intensity: Tensor, gradient: Tensor, gradient_weight: float) -> dict[str, Tensor]:
    """Return the loss of two terms, ``loss``, and the terms."""
    loss = intensity + gradient_weight * gradient
    return {'loss': loss, 'intensity': intensity.detach(), 'gradient': gradient.detach()}


def intensity_loss(
    fused: Tensor, luma: Tensor, ir: Tensor, weight_ir: Tensor, *, squared: bool = False
) -> Tensor:
    """
    Return the mean weighted squared distance to both sources.

    :param weight_ir: in [0, 1], (B, 1, H, W) or a scalar; luma gets ``1 - weight_ir``.
    :param squared: square the weights, as the released code does; the paper does not.
    """
    weight_luma = 1 - weight_ir
    if squared:
        weight_ir, weight_luma = weight_ir.square(), weight_luma.square()
    return (weight_ir * (fused - ir) ** 2 + weight_luma * (fused - luma) ** 2).mean()


def gradient_loss(fused: Tensor, luma: Tensor, ir: Tensor) -> Tensor:
    """Return the L1 distance to the stronger source gradient, x and y chosen separately."""
    return 2 * (sobel(fused) - stronger(sobel(luma), sobel(ir))).abs().mean()


def fusion_loss(
    fused: Tensor,
    luma: Tensor,
    ir: Tensor,
    weight_ir: Tensor,
    gradient_weight: float = 1.0,
    *,
    squared: bool = False,
) -> dict[str, Tensor]:
    """Return ``loss`` and its two terms; all images (B, 1, H, W) in [0, 1]."""
    intensity = intensity_loss(fused, luma, ir, weight_ir, squared=squared)
    return weighted(intensity, gradient_loss(fused, luma, ir), gradient_weight)


def imitation_loss(
    mixed: Tensor, target: Tensor, gradient_weight: float = 1.0
) -> dict[str, Tensor]:
    """
    Return ``loss`` and its two terms: the distance of an image to the image to imitate.

    Intensity differences have more weight in the dark, as in human vision, SSIM and VIF.

    :param mixed: (B, 1, H, W), not clamped to [0, 1], because clamping removes the gradient.
    """
    intensity = ((mixed - target).abs() / (target + DARK)).mean()
    return weighted(intensity, 2 * sobel(mixed - target).abs().mean(), gradient_weight)
