"""
Quality of fused images: the eight figures that papers on image fusion print.

All images are gray, (H, W), 0 to 255, of one size; the two sources are luma and infrared, in any
order. Higher counts as better in all, but noise also raises EN, SF and AG. The functions of one
source are not symmetric: source first, fused image second.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from skimage.measure import shannon_entropy
from skimage.metrics import structural_similarity

VIF_SCALES = 4
VIF_MIN_SIDE = 41
"""So that the coarsest of the four scales has one window."""
VIF_NOISE = 2.0
"""Variance of the noise of the visual system, in squared gray levels."""
TINY = 1e-10


def fusion_quality(fused: np.ndarray, sources: Sequence[np.ndarray]) -> dict[str, float]:
    """
    Return the eight figures, VIF and SSIM in both conventions.

    :param fused: (H, W), 0 to 255.
    :param sources: two images like ``fused``.
    :returns: EN, SF, SD, AG, SCD, VIF, Qabf, SSIM (VIF and SSIM: mean over the two sources), then
        ``VIF sum`` and ``SSIM sum``, which many papers print as VIF and SSIM.
    :raises ValueError: if the images do not meet these conditions.
    """
    for image in (fused, *sources):
        if image.ndim != 2 or image.shape != fused.shape:
            raise ValueError(f'expected gray images of one size, got {image.shape}')
        if image.min() < 0 or image.max() > 255:
            raise ValueError(f'expected 0 to 255, got {image.min()} to {image.max()}')
    fidelity = sum(vif(source, fused) for source in sources)
    similarity = sum(ssim(source, fused) for source in sources)
    return {
        'EN': entropy(fused),
        'SF': spatial_frequency(fused),
        'SD': standard_deviation(fused),
        'AG': average_gradient(fused),
        'SCD': scd(fused, sources),
        'VIF': fidelity / 2,
        'Qabf': qabf(fused, sources),
        'SSIM': similarity / 2,
        'VIF sum': fidelity,
        'SSIM sum': similarity,
    }


def entropy(image: np.ndarray) -> float:
    """Return the entropy [bit] of the gray levels, rounded to 256 levels."""
    return float(shannon_entropy(np.rint(image).astype(np.uint8)))


def spatial_frequency(image: np.ndarray) -> float:
    """Return the root of the mean squared differences of neighbors, horizontal plus vertical."""
    image = image.astype(np.float64)
    return float(np.sqrt(sum((np.diff(image, axis=axis) ** 2).mean() for axis in (0, 1))))


def standard_deviation(image: np.ndarray) -> float:
    """Return the standard deviation of the gray levels."""
    return float(image.astype(np.float64).std())


def average_gradient(image: np.ndarray) -> float:
    """Return the mean of sqrt((dx^2 + dy^2) / 2), with differences to the next pixel."""
    image = image.astype(np.float64)
    across, down = np.diff(image, axis=1)[:-1], np.diff(image, axis=0)[:, :-1]
    return float(np.sqrt((across**2 + down**2) / 2).mean())


def scd(fused: np.ndarray, sources: Sequence[np.ndarray]) -> float:
    """
    Return the sum of correlations of differences, -2 to 2.

    The difference between the fused image and one source should resemble the other source. A
    constant difference counts as 0.

    Source: Aslantas and Bendes, AEU 69 (2015).
    """
    first, second = (source.astype(np.float64) for source in sources)
    return _correlation(first, fused - second) + _correlation(second, fused - first)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / scale) if scale > TINY else 0.0


def vif(source: np.ndarray, fused: np.ndarray) -> float:
    """
    Return the visual information fidelity: the share of the source's information in ``fused``.

    The pixel-domain form: in each window of four scales, fused = gain * source + noise; the ratio
    of the information that a noisy eye gets from the fused image and from the source. 1 for the
    source itself, more if contrast was added, NaN for a constant source.

    :raises ValueError: if a side has less than 41 px.

    Source: Sheikh and Bovik, IEEE TIP 15 (2006), as in the authors' ``vifp_mscale``.
    """
    if min(source.shape) < VIF_MIN_SIDE:
        raise ValueError(f'expected sides of {VIF_MIN_SIDE} px or more, got {source.shape}')
    source, fused = source.astype(np.float64), fused.astype(np.float64)
    kept = total = 0.0
    for scale in range(VIF_SCALES):
        size = 2 ** (VIF_SCALES - scale) + 1
        if scale:
            source, fused = _blur(source, size)[::2, ::2], _blur(fused, size)[::2, ::2]
        mean_s, mean_f = _blur(source, size), _blur(fused, size)
        var_s = np.maximum(_blur(source * source, size) - mean_s**2, 0)
        var_f = np.maximum(_blur(fused * fused, size) - mean_f**2, 0)
        cov = _blur(source * fused, size) - mean_s * mean_f
        # A flat or inverted window has no gain: all of it is noise.
        related = (var_s >= TINY) & (var_f >= TINY) & (cov > 0)
        gain = np.where(related, cov / (var_s + TINY), 0)
        noise = np.maximum(var_f - gain * cov, TINY)
        kept += np.log1p(gain**2 * var_s / (noise + VIF_NOISE)).sum()
        total += np.log1p(var_s / VIF_NOISE).sum()
    return float(kept / total) if total > TINY else float('nan')


def _blur(image: np.ndarray, size: int) -> np.ndarray:
    """Return the Gaussian mean of every whole window of ``size`` px, without padding."""
    kernel = cv2.getGaussianKernel(size, size / 5)
    radius = size // 2
    return cv2.sepFilter2D(image, -1, kernel, kernel)[radius:-radius, radius:-radius]


def qabf(fused: np.ndarray, sources: Sequence[np.ndarray]) -> float:
    """
    Return the share of the edges of both sources that is preserved, 0 to 1, by edge strength.

    NaN if neither source has an edge.

    Source: Xydeas and Petrovic, Electronics Letters 36 (2000); constants as usual.
    """
    edges = _edges(fused)
    kept = total = 0.0
    for source in sources:
        strength, angle = _edges(source)
        kept += (strength * _preserved((strength, angle), edges)).sum()
        total += strength.sum()
    return float(kept / total) if total else float('nan')


def _edges(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return strength and angle in (-pi/2, pi/2] of every pixel's edge; zeros around the image."""
    across, down = (
        cv2.Sobel(image.astype(np.float64), -1, *order, borderType=cv2.BORDER_CONSTANT)
        for order in ((1, 0), (0, 1))
    )
    slope = np.divide(down, across, out=np.full_like(down, np.inf), where=across != 0)
    return np.hypot(across, down), np.arctan(slope)


def _preserved(
    source: tuple[np.ndarray, np.ndarray], fused: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Return the preserved share of each edge, from the results of ``_edges``."""
    low, high = np.minimum(source[0], fused[0]), np.maximum(source[0], fused[0])
    # Without any edge the ratio does not matter: its weight is 0.
    ratio = np.divide(low, high, out=np.ones_like(low), where=high > 0)
    alignment = 1 - np.abs(source[1] - fused[1]) / (np.pi / 2)
    strength = 0.9994 / (1 + np.exp(-15 * (ratio - 0.5)))
    orientation = 0.9879 / (1 + np.exp(-22 * (alignment - 0.8)))
    return strength * orientation


def ssim(source: np.ndarray, fused: np.ndarray) -> float:
    """Return the structural similarity, cut to uint8, by scikit-image, as TDFusion evaluates."""
    levels = source.astype(np.uint8), fused.astype(np.uint8)
    return float(structural_similarity(*levels, data_range=255))
