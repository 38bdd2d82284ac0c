"""Loss of the fusion network: intensity and gradient terms of the TDFusion paper (Eq. 4-6)."""

import torch
from torch import Tensor
from torch.nn import functional

DARK = 0.1
"""Intensity at which a difference counts half of what it does in the dark."""
SOBEL_X = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))


def sobel(image: Tensor) -> Tensor:
    """
    Return the un-normalized Sobel derivatives in x and y.

    :param image: (B, 1, H, W).
    :returns: (B, 2, H, W). Replicate border: with zeros a constant image would have an edge.
    """
    kernel = torch.tensor(SOBEL_X, dtype=image.dtype, device=image.device)
    kernels = torch.stack((kernel, kernel.T)).unsqueeze(1)
    return functional.conv2d(functional.pad(image, (1, 1, 1, 1), mode='replicate'), kernels)


def intensity_loss(
    fused: Tensor, luma: Tensor, ir: Tensor, weight_ir: Tensor, *, squared: bool = False
) -> Tensor:
    """
    Return the mean weighted squared distance to both sources.

    :param weight_ir: weight of the infrared source in [0, 1], a (B, 1, H, W) map or a scalar
        tensor; luma gets ``1 - weight_ir``.
    :param squared: False: weights enter as the paper writes; True: squared, as its code does.
    """
    weight_luma = 1 - weight_ir
    if squared:
        weight_ir, weight_luma = weight_ir.square(), weight_luma.square()
    return (weight_ir * (fused - ir) ** 2 + weight_luma * (fused - luma) ** 2).mean()


def gradient_loss(fused: Tensor, luma: Tensor, ir: Tensor) -> Tensor:
    """
    Return the L1 distance of the gradients to the stronger source gradient, with its sign.

    x and y are separate choices; at a tie the infrared source wins. Sum over the two directions,
    mean over pixels.
    """
    of_luma, of_ir = sobel(luma), sobel(ir)
    target = torch.where(of_luma.abs() > of_ir.abs(), of_luma, of_ir)
    return 2 * (sobel(fused) - target).abs().mean()


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
    gradient = gradient_loss(fused, luma, ir)
    return {
        'loss': intensity + gradient_weight * gradient,
        'intensity': intensity.detach(),
        'gradient': gradient.detach(),
    }


def imitation_loss(
    mixed: Tensor, shown: Tensor, gradient_weight: float = 1.0
) -> dict[str, Tensor]:
    """
    Return ``loss`` and its two terms: how far an image is from the one to imitate.

    Differences of intensity count more in the dark, as they do for an eye, and for SSIM and VIF.

    :param mixed: (B, 1, H, W), also below 0 and above 1: clamped, it would have no gradient there.
    :param shown: (B, 1, H, W) in [0, 1].
    """
    distance = ((mixed - shown).abs() / (shown + DARK)).mean()
    gradient = 2 * sobel(mixed - shown).abs().mean()
    return {
        'loss': distance + gradient_weight * gradient,
        'distance': distance.detach(),
        'gradient': gradient.detach(),
    }
