"""Augmentation of rgb, ir, boxes and mask together; every function returns a new sample."""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from training.data.boxes import IGNORED
from training.data.datasets import Sample
from training.data.pair_files import IGNORE

SIZE_MULTIPLE = 32
"""Multiple of the sides of images for networks, as in bundles."""
PADDING = 114
"""Gray level outside of the image: neither hot nor cold."""


@dataclass(frozen=True)
class Batch:
    """Samples of one size as tensors; boxes are padded to the longest list."""

    names: tuple[str, ...]
    rgb: Tensor
    """(B, 3, H, W) float32 in [0, 1]."""
    ir: Tensor
    """(B, 1, H, W) float32 in [0, 1]."""
    boxes_xyxy: Tensor
    """(B, G, 4) float32 in pixels."""
    class_ids: Tensor
    """(B, G) int64; -1: a region that counts in no loss."""
    valid: Tensor
    """(B, G) bool, False for padding and for regions that do not count."""
    mask: Tensor | None = None
    """(B, H, W) int64, 255 is unlabeled; None if no sample has one."""
    labeled: Tensor | None = None
    """(B, C) bool, as in ``Sample``; None: all classes of all samples."""
    coverage: Tensor | None = None
    """(B, 1, H, W) float32 in [0, 1], as the robot's; None if the camera sees everywhere."""

    def to(self, device: torch.device) -> 'Batch':
        """Return the batch with all its tensors on ``device``."""
        tensors = {name: v for name, v in vars(self).items() if isinstance(v, Tensor)}
        moved: dict[str, Any] = {name: value.to(device) for name, value in tensors.items()}
        return replace(self, **moved)


def flip(sample: Sample) -> Sample:
    """Mirror left and right."""
    boxes = sample.boxes_xyxy.copy()
    boxes[:, [0, 2]] = sample.ir.shape[1] - boxes[:, [2, 0]]
    rgb, ir = np.ascontiguousarray(sample.rgb[:, ::-1]), np.ascontiguousarray(sample.ir[:, ::-1])
    mask, coverage = (
        None if image is None else np.ascontiguousarray(image[:, ::-1])
        for image in (sample.mask, sample.coverage)
    )
    return replace(sample, rgb=rgb, ir=ir, boxes_xyxy=boxes, mask=mask, coverage=coverage)


def pad(sample: Sample) -> Sample:
    """Extend the images below and right, as the robot does, to sides for networks."""
    below, right = (-side % SIZE_MULTIPLE for side in sample.ir.shape)
    if not below and not right:
        return sample
    border = (0, below, 0, right)
    sources = sample.rgb, sample.ir
    rgb, ir = (cv2.copyMakeBorder(image, *border, cv2.BORDER_REPLICATE) for image in sources)
    mask, coverage = sample.mask, sample.coverage
    if mask is not None:
        mask = cv2.copyMakeBorder(mask, *border, cv2.BORDER_CONSTANT, value=(IGNORE,))
    if coverage is not None:
        coverage = cv2.copyMakeBorder(coverage, *border, cv2.BORDER_REPLICATE)
    return replace(sample, rgb=rgb, ir=ir, mask=mask, coverage=coverage)


def crop_resize(
    sample: Sample, window_xyxy: tuple[int, int, int, int], size_hw: tuple[int, int]
) -> Sample:
    """
    Crop a window and resize it; pixels outside of the image become gray and unlabeled.

    A box that loses more than 70 % of its area, or gets thinner than 3 px, is dropped: what is
    left of the object could not be recognized. A region to ignore stays, however small.
    """
    x0, y0, x1, y1 = window_xyxy
    height, width = size_hw
    scale = np.array([width / (x1 - x0), height / (y1 - y0)] * 2, dtype=np.float32)
    boxes = (sample.boxes_xyxy - np.array([x0, y0] * 2, dtype=np.float32)) * scale
    clipped = np.clip(boxes, 0, np.array([width, height] * 2, dtype=np.float32))
    sides = clipped[:, 2:] - clipped[:, :2]
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    keep = (sides.prod(1) > 0.3 * area) & (sides.min(1, initial=np.inf) >= 3)
    keep |= (sample.class_ids == IGNORED) & (sides.prod(1) > 0)
    # Area averaging is the antialiased way down; it must not be used on the way up.
    method = cv2.INTER_AREA if height < y1 - y0 else cv2.INTER_LINEAR
    rgb, ir = (
        cv2.resize(window, (width, height), interpolation=method)
        for image in (sample.rgb, sample.ir)
        for window in [_window(image, window_xyxy, PADDING if image.any() else 0)]
    )
    mask = sample.mask
    if mask is not None:
        # EXACT takes the pixel under the center; plain nearest shifts by up to half a pixel.
        window = _window(mask, window_xyxy, IGNORE)
        mask = cv2.resize(window, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    coverage = sample.coverage
    if coverage is not None:
        window = _window(coverage, window_xyxy, 1)
        coverage = cv2.resize(window, (width, height), interpolation=method)
    boxes, class_ids = clipped[keep], sample.class_ids[keep]
    found = replace(sample, boxes_xyxy=boxes, class_ids=class_ids)
    return replace(found, rgb=rgb, ir=ir, mask=mask, coverage=coverage)


def _window(image: np.ndarray, window_xyxy: tuple[int, int, int, int], outside: int) -> np.ndarray:
    x0, y0, x1, y1 = window_xyxy
    height, width = image.shape[:2]
    inside = image[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    border = (max(-y0, 0), max(y1 - height, 0), max(-x0, 0), max(x1 - width, 0))
    if not any(border):
        return inside
    return cv2.copyMakeBorder(inside, *border, cv2.BORDER_CONSTANT, value=(outside,) * 3)


def random_crop(
    sample: Sample,
    rng: np.random.Generator,
    size_hw: tuple[int, int],
    scale_range: tuple[float, float],
) -> Sample:
    """Crop a random window, scaled by a random factor to ``size_hw``."""
    scale = np.exp(rng.uniform(*np.log(scale_range)))
    stretch = np.exp(rng.uniform(-0.08, 0.08)) if scale_range[0] < scale_range[1] else 1.0
    height, width = sample.ir.shape
    window_h, window_w = round(size_hw[0] / scale), round(size_hw[1] / scale * stretch)
    x0 = int(rng.integers(min(0, width - window_w), max(0, width - window_w) + 1))
    y0 = int(rng.integers(min(0, height - window_h), max(0, height - window_h) + 1))
    return crop_resize(sample, (x0, y0, x0 + window_w, y0 + window_h), size_hw)


def mosaic(samples: Sequence[Sample], size_hw: tuple[int, int]) -> Sample:
    """Join four samples of half the size, two by two."""
    half_h, half_w = size_hw[0] // 2, size_hw[1] // 2
    offsets = np.array([[0, 0], [half_w, 0], [0, half_h], [half_w, half_h]], dtype=np.float32)
    boxes = [s.boxes_xyxy + np.tile(o, 2) for s, o in zip(samples, offsets, strict=True)]
    masks, coverages = _masks(samples), _coverages(samples)
    known = [sample.labeled for sample in samples if sample.labeled is not None]
    return Sample(
        '+'.join(s.name for s in samples),
        _two_by_two([s.rgb for s in samples]),
        _two_by_two([s.ir for s in samples]),
        np.concatenate(boxes),
        np.concatenate([s.class_ids for s in samples]),
        None if masks is None else _two_by_two(masks),
        dict(set.intersection(*(set(s.strata.items()) for s in samples))),
        labeled=np.logical_and.reduce(known) if known else None,
        coverage=None if coverages is None else _two_by_two(coverages),
    )


def _two_by_two(images: Sequence[np.ndarray]) -> np.ndarray:
    return np.vstack((np.hstack(images[:2]), np.hstack(images[2:])))


def _masks(samples: Sequence[Sample]) -> list[np.ndarray] | None:
    """Return a mask per sample, unlabeled where it has none; None if no sample has one."""
    if all(sample.mask is None for sample in samples):
        return None
    return [np.full_like(s.ir, IGNORE) if s.mask is None else s.mask for s in samples]


def _coverages(samples: Sequence[Sample]) -> list[np.ndarray] | None:
    """Return the coverage of each sample; None if the camera sees everywhere in all of them."""
    if all(sample.coverage is None for sample in samples):
        return None
    return [np.ones(s.ir.shape, np.float32) if s.coverage is None else s.coverage for s in samples]


def whole(sample: Sample) -> Batch:
    """Return the batch of one whole image, extended to sides for networks."""
    return collate([pad(sample)])


def collate(samples: Sequence[Sample], device: torch.device | None = None) -> Batch:
    """Stack samples of one size into tensors; images reach a device in 8 bits, not in 32."""

    def stack(images: Sequence[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(images)).to(device)

    most = max(1, *(len(s.class_ids) for s in samples))
    boxes = torch.zeros(len(samples), most, 4)
    class_ids = torch.zeros(len(samples), most, dtype=torch.int64)
    valid = torch.zeros(len(samples), most, dtype=torch.bool)
    for row, sample in enumerate(samples):
        count = len(sample.class_ids)
        boxes[row, :count] = torch.from_numpy(sample.boxes_xyxy)
        class_ids[row, :count] = torch.from_numpy(sample.class_ids)
        valid[row, :count] = torch.from_numpy(sample.class_ids != IGNORED)
    rgb = stack([s.rgb for s in samples]).permute(0, 3, 1, 2)
    ir = stack([s.ir for s in samples]).unsqueeze(1)
    names = tuple(s.name for s in samples)
    masks, coverages = _masks(samples), _coverages(samples)
    known = next((s.labeled for s in samples if s.labeled is not None), None)
    labeled = None
    if known is not None:
        rows = [np.ones_like(known) if s.labeled is None else s.labeled for s in samples]
        labeled = torch.from_numpy(np.stack(rows))
    mask = None if masks is None else stack(masks).long()
    coverage = None if coverages is None else stack(coverages)[:, None]
    images = rgb.float() / 255, ir.float() / 255
    batch = Batch(names, *images, boxes, class_ids, valid, mask, labeled, coverage)
    return batch if device is None else batch.to(device)
