"""Augmentation of rgb, ir, boxes and mask together; every function returns a new sample."""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import fields
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor

from training.data.datasets import Sample
from training.data.pair_files import IGNORE

PADDING = 114
"""Gray level outside of the image: neither hot nor dark."""


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
    """(B, G) int64."""
    valid: Tensor
    """(B, G) bool, False for padding."""
    mask: Tensor | None = None
    """(B, H, W) int64, 255 is unlabeled; None if no sample has one."""

    def to(self, device: torch.device) -> 'Batch':
        """Return the batch with all its tensors on ``device``."""
        return Batch(
            self.names,
            self.rgb.to(device),
            self.ir.to(device),
            self.boxes_xyxy.to(device),
            self.class_ids.to(device),
            self.valid.to(device),
            None if self.mask is None else self.mask.to(device),
        )


def split(batch: Batch, count: int) -> list[Batch]:
    """Return ``count`` equal parts of a batch, in order."""
    size, rest = divmod(len(batch.names), count)
    if rest:
        raise ValueError(f'{len(batch.names)} samples do not make {count} equal parts')
    parts = []
    for start in range(0, len(batch.names), size):
        rows = {
            f.name: value[start : start + size]
            for f in fields(batch)
            if (value := getattr(batch, f.name)) is not None
        }
        parts.append(replace(batch, **rows))
    return parts


def flip(sample: Sample) -> Sample:
    """Mirror left and right."""
    width = sample.ir.shape[1]
    boxes = sample.boxes_xyxy.copy()
    boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    rgb, ir = np.ascontiguousarray(sample.rgb[:, ::-1]), np.ascontiguousarray(sample.ir[:, ::-1])
    mask = None if sample.mask is None else np.ascontiguousarray(sample.mask[:, ::-1])
    return replace(sample, rgb=rgb, ir=ir, boxes_xyxy=boxes, mask=mask)


def resize(sample: Sample, size_hw: tuple[int, int]) -> Sample:
    """Resize the whole image, antialiased; boxes follow the sides, and none is dropped."""
    height, width = sample.ir.shape
    # x with the width, y with the height: for images that are not square they differ.
    scale = np.array([size_hw[1] / width, size_hw[0] / height] * 2, dtype=np.float32)
    return replace(
        sample,
        rgb=_resize_levels(sample.rgb, size_hw),
        ir=_resize_levels(sample.ir, size_hw),
        boxes_xyxy=sample.boxes_xyxy * scale,
        mask=None if sample.mask is None else _resize_mask(sample.mask, size_hw),
    )


def pad(sample: Sample, multiple: int) -> Sample:
    """Continue the images below and right, as the robot does, to sides that networks can take."""
    below, right = (-side % multiple for side in sample.ir.shape)
    if not below and not right:
        return sample
    border = (0, below, 0, right)
    rgb, ir = (
        cv2.copyMakeBorder(image, *border, cv2.BORDER_REPLICATE)
        for image in (sample.rgb, sample.ir)
    )
    mask = sample.mask
    if mask is not None:
        mask = cv2.copyMakeBorder(mask, *border, cv2.BORDER_CONSTANT, value=(IGNORE,))
    return replace(sample, rgb=rgb, ir=ir, mask=mask)


def crop_resize(
    sample: Sample, window_xyxy: tuple[int, int, int, int], size_hw: tuple[int, int]
) -> Sample:
    """
    Cut a window out and resize it; what lies outside of the image becomes gray and unlabeled.

    A box that loses more than 70 % of its area, or gets thinner than 3 px, is dropped: nobody
    could say what it shows.
    """
    x0, y0, x1, y1 = window_xyxy
    height, width = size_hw
    scale = np.array([width / (x1 - x0), height / (y1 - y0)] * 2, dtype=np.float32)
    boxes = (sample.boxes_xyxy - np.array([x0, y0, x0, y0], dtype=np.float32)) * scale
    limit = np.array([width, height, width, height], dtype=np.float32)
    clipped = np.clip(boxes, 0, limit)
    sides = clipped[:, 2:] - clipped[:, :2]
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    keep = (sides.prod(1) > 0.3 * area) & (sides.min(1, initial=np.inf) >= 3)
    return replace(
        sample,
        rgb=_cut(sample.rgb, window_xyxy, size_hw),
        ir=_cut(sample.ir, window_xyxy, size_hw),
        boxes_xyxy=clipped[keep],
        class_ids=sample.class_ids[keep],
        mask=None if sample.mask is None else _cut_mask(sample.mask, window_xyxy, size_hw),
    )


def _cut(
    image: np.ndarray, window_xyxy: tuple[int, int, int, int], size_hw: tuple[int, int]
) -> np.ndarray:
    inside = _window(image, window_xyxy, PADDING)
    # Area averaging is the antialiased way down; it must not be used on the way up.
    smaller = size_hw[0] < inside.shape[0]
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(inside, (size_hw[1], size_hw[0]), interpolation=method)


def _cut_mask(
    mask: np.ndarray, window_xyxy: tuple[int, int, int, int], size_hw: tuple[int, int]
) -> np.ndarray:
    return _resize_mask(_window(mask, window_xyxy, IGNORE), size_hw)


def _window(image: np.ndarray, window_xyxy: tuple[int, int, int, int], outside: int) -> np.ndarray:
    x0, y0, x1, y1 = window_xyxy
    height, width = image.shape[:2]
    inside = image[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    border = (max(-y0, 0), max(y1 - height, 0), max(-x0, 0), max(x1 - width, 0))
    if not any(border):
        return inside
    return cv2.copyMakeBorder(inside, *border, cv2.BORDER_CONSTANT, value=(outside,) * 3)


def _resize_mask(mask: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    # EXACT takes the pixel under the center; plain nearest shifts by up to half a pixel.
    return cv2.resize(mask, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_NEAREST_EXACT)


def _resize_levels(image: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    # Down by area averaging, then up: asked for both at once, OpenCV does not average.
    height, width = (min(old, new) for old, new in zip(image.shape, size_hw, strict=False))
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.resize(image, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_LINEAR)


def random_crop(
    sample: Sample,
    rng: np.random.Generator,
    size_hw: tuple[int, int],
    scale_range: tuple[float, float],
) -> Sample:
    """Cut a random window, magnified by a random factor, so that it fills ``size_hw``."""
    scale = np.exp(rng.uniform(*np.log(scale_range)))
    stretch = np.exp(rng.uniform(-0.08, 0.08)) if scale_range[0] < scale_range[1] else 1.0
    height, width = sample.ir.shape
    window_h, window_w = round(size_hw[0] / scale), round(size_hw[1] / scale * stretch)
    x0 = int(rng.integers(min(0, width - window_w), max(0, width - window_w) + 1))
    y0 = int(rng.integers(min(0, height - window_h), max(0, height - window_h) + 1))
    return crop_resize(sample, (x0, y0, x0 + window_w, y0 + window_h), size_hw)


def mosaic(samples: Sequence[Sample], size_hw: tuple[int, int]) -> Sample:
    """Put four samples of half the size together, two by two."""
    half_h, half_w = size_hw[0] // 2, size_hw[1] // 2
    offsets = np.array([[0, 0], [half_w, 0], [0, half_h], [half_w, half_h]], dtype=np.float32)
    rows = ((0, 1), (2, 3))
    masks = _masks(samples)
    shared = set.intersection(*(set(s.strata.items()) for s in samples))
    return Sample(
        '+'.join(s.name for s in samples),
        np.vstack([np.hstack([samples[i].rgb for i in row]) for row in rows]),
        np.vstack([np.hstack([samples[i].ir for i in row]) for row in rows]),
        np.concatenate(
            [s.boxes_xyxy + np.tile(o, 2) for s, o in zip(samples, offsets, strict=True)]
        ),
        np.concatenate([s.class_ids for s in samples]),
        None if masks is None else np.vstack([np.hstack([masks[i] for i in row]) for row in rows]),
        {key: value for key, value in samples[0].strata.items() if (key, value) in shared},
    )


def _masks(samples: Sequence[Sample]) -> list[np.ndarray] | None:
    """Return a mask for each sample; beside one with a mask, one without is unlabeled."""
    if all(sample.mask is None for sample in samples):
        return None
    return [np.full_like(s.ir, IGNORE) if s.mask is None else s.mask for s in samples]


def photometric(sample: Sample, rng: np.random.Generator, strength: float = 1.0) -> Sample:
    """Change brightness, contrast and gamma of each modality on its own."""
    images = []
    for image in (sample.rgb, sample.ir):
        gamma = np.exp(strength * rng.uniform(-0.4, 0.4))
        contrast = np.exp(strength * rng.uniform(-0.25, 0.25))
        brightness = strength * rng.uniform(-0.1, 0.1)
        levels = (np.linspace(0, 1, 256) ** gamma - 0.5) * contrast + 0.5 + brightness
        table = np.clip(np.rint(levels * 255), 0, 255).astype(np.uint8)
        images.append(cv2.LUT(image, table))
    return replace(sample, rgb=images[0], ir=images[1])


def stretch_ir(sample: Sample, rng: np.random.Generator, invert: float) -> Sample:
    """
    Let infrared fill all gray levels, as that of a 16-bit camera does on the robot.

    :param invert: the share of samples in which what is warm becomes dark.
    """
    low, high = np.percentile(sample.ir, (rng.uniform(0, 3), rng.uniform(97, 100)))
    levels = np.clip((np.arange(256) - low) / max(high - low, 1.0), 0, 1)
    if rng.random() < invert:
        levels = 1 - levels
    table = np.rint(levels * 255).astype(np.uint8)
    return replace(sample, ir=cv2.LUT(sample.ir, table))


def drop_modality(sample: Sample, rng: np.random.Generator) -> Sample:
    """Make one of both images black; boxes stay, also of what only that one showed."""
    if rng.random() < 0.5:
        return replace(sample, rgb=np.zeros_like(sample.rgb))
    return replace(sample, ir=np.zeros_like(sample.ir))


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples of one size into tensors."""
    most = max(1, *(len(s.class_ids) for s in samples))
    boxes = torch.zeros(len(samples), most, 4)
    class_ids = torch.zeros(len(samples), most, dtype=torch.int64)
    valid = torch.zeros(len(samples), most, dtype=torch.bool)
    for row, sample in enumerate(samples):
        count = len(sample.class_ids)
        boxes[row, :count] = torch.from_numpy(sample.boxes_xyxy)
        class_ids[row, :count] = torch.from_numpy(sample.class_ids)
        valid[row, :count] = True
    rgb = torch.from_numpy(np.stack([s.rgb for s in samples])).permute(0, 3, 1, 2)
    ir = torch.from_numpy(np.stack([s.ir for s in samples])).unsqueeze(1)
    names = tuple(s.name for s in samples)
    masks = _masks(samples)
    mask = None if masks is None else torch.from_numpy(np.stack(masks)).long()
    return Batch(names, rgb.float() / 255, ir.float() / 255, boxes, class_ids, valid, mask)
