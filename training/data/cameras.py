"""Changes of the images of a sample, as between cameras and rigs; its boxes and mask stay."""

from dataclasses import replace

import cv2
import numpy as np

from tdfusion_ros.core.coverage import soft
from training.data.datasets import Sample


def photometric(sample: Sample, rng: np.random.Generator, strength: float = 1.0) -> Sample:
    """Change brightness, contrast, gamma of each modality; an image that is black stays so."""
    images = []
    for image in (sample.rgb, sample.ir):
        gamma = np.exp(strength * rng.uniform(-0.4, 0.4))
        contrast = np.exp(strength * rng.uniform(-0.25, 0.25))
        brightness = strength * rng.uniform(-0.1, 0.1)
        levels = (np.linspace(0, 1, 256) ** gamma - 0.5) * contrast + 0.5 + brightness
        table = np.clip(np.rint(levels * 255), 0, 255).astype(np.uint8)
        images.append(cv2.LUT(image, table) if image.any() else image)
    return replace(sample, rgb=images[0], ir=images[1])


def stretch_ir(sample: Sample, rng: np.random.Generator, invert: float) -> Sample:
    """Stretch ir to all gray levels, as of a 16-bit camera; a share of it black-hot."""
    if not sample.ir.any():
        return sample
    low, high = np.percentile(sample.ir, (rng.uniform(0, 3), rng.uniform(97, 100)))
    levels = np.clip((np.arange(256) - low) / max(high - low, 1.0), 0, 1)
    if rng.random() < invert:
        levels = 1 - levels
    table = np.rint(levels * 255).astype(np.uint8)
    return replace(sample, ir=cv2.LUT(sample.ir, table))


def drop_modality(sample: Sample, rng: np.random.Generator) -> Sample:
    """Make one of both images black, unless one is, and coverage 0 without ir; boxes stay."""
    if not sample.rgb.any() or not sample.ir.any():
        return sample
    if rng.random() < 0.5:
        return replace(sample, rgb=np.zeros_like(sample.rgb))
    uncovered = np.zeros(sample.ir.shape, np.float32)
    return replace(sample, ir=np.zeros_like(sample.ir), coverage=uncovered)


def narrow_view(sample: Sample, rng: np.random.Generator) -> Sample:
    """
    Let the thermal camera see only a random part: a warped rectangle, or all but a strip.

    Outside ir is black and coverage 0, as on a robot whose thermal view is narrower than the rgb
    view, which is the usual rig; at the border coverage is soft. Without an rgb image nothing
    changes: objects outside would be invisible.
    """
    if not sample.rgb.any():
        return sample
    height, width = sample.ir.shape
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    if rng.random() < 0.3:  # one side is missing: the cameras look in different directions
        side, quad = rng.integers(4), corners.astype(float)
        inward = corners[side] - corners[side - 1]
        quad[[side, (side + 1) % 4]] -= rng.uniform(0.05, 0.4) * inward
    else:
        share, angle = rng.uniform(0.45, 0.95), rng.normal(0, 0.05)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        quad = share * (corners - 0.5) @ turn + rng.normal(0, 0.03, (4, 2))
        quad += 0.5 + (1 - share) * rng.uniform(-0.5, 0.5, 2)
    seen = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(seen, np.rint(quad * (width, height)).astype(np.int32), 1)
    before = 1.0 if sample.coverage is None else sample.coverage
    coverage = soft(seen > 0) * np.float32(before)
    return replace(sample, ir=sample.ir * (coverage > 0), coverage=coverage)


def shift_ir(sample: Sample, rng: np.random.Generator, largest_px: float) -> Sample:
    """Move ir by up to some pixels, as on a rig whose calibration or parallax is off."""
    x, y = rng.uniform(-largest_px, largest_px, 2)
    height, width = sample.ir.shape
    shift, border = np.array([[1, 0, x], [0, 1, y]]), cv2.BORDER_REPLICATE
    moved = cv2.warpAffine(sample.ir, shift, (width, height), borderMode=border)
    return replace(sample, ir=moved)
