"""Augmentation of rgb, ir, boxes and mask together; every function returns a new sample."""

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from tdfusion_ros.nets.blocks import luma
from training.data.boxes import IGNORED
from training.data.datasets import Sample
from training.data.pair_files import IGNORE

SIZE_MULTIPLE = 32
"""Multiple of the sides of images for networks, as in bundles."""
PADDING = 114
"""Gray level outside of the image: neither hot nor cold."""
OUTSIDE = {'mask': IGNORE, 'coverage': 1}
"""Values outside of the other images."""


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

    @property
    def pair(self) -> tuple[Tensor, ...]:
        """Luma, infrared and, if it is partial, coverage: what a fusion network reads."""
        seen = () if self.coverage is None else (self.coverage,)
        return luma(self.rgb), self.ir, *seen

    def to(self, device: torch.device) -> 'Batch':
        """Return the batch with all its tensors on ``device``."""
        tensors = {name: v for name, v in vars(self).items() if isinstance(v, Tensor)}
        moved: dict[str, Any] = {name: value.to(device) for name, value in tensors.items()}
        return replace(self, **moved)


def _each(
    sample: Sample, change: Callable[[np.ndarray, str], np.ndarray], **changes: Any
) -> Sample:
    """Return the sample with ``change(image, name)`` of each image that it has."""
    images = {name: getattr(sample, name) for name in ('rgb', 'ir', 'mask', 'coverage')}
    changed: dict[str, Any] = {n: change(x, n) for n, x in images.items() if x is not None}
    return replace(sample, **changed, **changes)


def flip(sample: Sample) -> Sample:
    """Mirror left and right."""
    boxes = sample.boxes_xyxy.copy()
    boxes[:, [0, 2]] = sample.ir.shape[1] - boxes[:, [2, 0]]
    return _each(sample, lambda x, _: np.ascontiguousarray(x[:, ::-1]), boxes_xyxy=boxes)


def pad(sample: Sample) -> Sample:
    """Extend the images below and right, as the robot does, to sides for networks."""
    below, right = (-side % SIZE_MULTIPLE for side in sample.ir.shape)
    if not below and not right:
        return sample

    def extend(image: np.ndarray, name: str) -> np.ndarray:
        kind = cv2.BORDER_CONSTANT if name == 'mask' else cv2.BORDER_REPLICATE
        return cv2.copyMakeBorder(image, 0, below, 0, right, kind, value=(IGNORE,))

    return _each(sample, extend)


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

    def cut(image: np.ndarray, name: str) -> np.ndarray:
        if name in OUTSIDE:
            window = _window(image, window_xyxy, OUTSIDE[name])
        else:
            window = _window(image, window_xyxy, PADDING if image.any() else 0)
        # EXACT takes the pixel under the center; plain nearest shifts by up to half a pixel.
        how = cv2.INTER_NEAREST_EXACT if name == 'mask' else method
        return cv2.resize(window, (width, height), interpolation=how)

    return _each(sample, cut, boxes_xyxy=clipped[keep], class_ids=sample.class_ids[keep])


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
    masks = _filled(samples, 'mask', np.uint8(IGNORE))
    coverages = _filled(samples, 'coverage', np.float32(1))
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


def _filled(samples: Sequence[Sample], name: str, value: np.generic) -> list[np.ndarray] | None:
    """Return the image of each sample, ``value`` where it has none; None if no sample has one."""
    images = [getattr(sample, name) for sample in samples]
    if all(image is None for image in images):
        return None
    return [
        np.full(sample.ir.shape, value) if image is None else image
        for image, sample in zip(images, samples, strict=True)
    ]


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
    masks = _filled(samples, 'mask', np.uint8(IGNORE))
    coverages = _filled(samples, 'coverage', np.float32(1))
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
