"""Check before use that an engine runs and computes what the float32 graph computes."""

from collections.abc import Iterator
from dataclasses import astuple
from dataclasses import dataclass
from dataclasses import replace

import numpy as np

from tdfusion_ros.core.contract import Contract
from tdfusion_ros.core.contract import OUTPUTS
from tdfusion_ros.core.coverage import soft
from tdfusion_ros.core.data import RawOutput
from tdfusion_ros.core.errors import ModelError
from tdfusion_ros.core.pipeline import Engine

WARM_UP_HW = (480, 640)
RANKED = 1000  # so few boxes may come in the order of scores, which may be nearly equal
LOWEST_SCORE = 0.01  # where no score of a frame is as high, boxes do not matter


@dataclass(frozen=True)
class Difference:
    """Largest differences between an engine and the float32 graph."""

    image_largest: float
    """Of one pixel, in levels of 255."""
    image_mean: float
    """Of a whole image, in levels of 255."""
    box_px: float
    """Of the border of a box that may be reported."""
    score: float
    masks: float = 0.0
    """Share of the pixels with another class."""

    def __str__(self) -> str:
        return (
            f'image {self.image_largest:g} of 255 (mean {self.image_mean:.3f}), '
            f'boxes {self.box_px:.2f} px, scores {self.score:.4f}'
            + (f', masks {self.masks:.2%} of the pixels' if self.masks else '')
        )


# Half precision that overflows gives no NaN but a plausible wrong image. Half precision on a CPU,
# 256x320, differs by up to 1 level, 1.1 px and 0.0027; engines may also add in half precision.
LIMIT = Difference(image_largest=4.0, image_mean=0.5, box_px=4.0, score=0.05, masks=0.05)


def padded(size_hw: tuple[int, int], contract: Contract) -> tuple[int, int]:
    """Return the size at which the graph runs for images of ``size_hw``."""
    multiple = contract.size_multiple
    height, width = (-(-side // multiple) * multiple for side in size_hw)
    return height, width


def check_run(backend: Engine, contract: Contract, size_hw: tuple[int, int]) -> None:
    """
    Run once at a padded size, so that the first pair is not late, and check the result.

    :raises ModelError: if the run fails, or the shapes differ from the contract.
    """
    ir = np.zeros(size_hw, np.float32)
    images = np.zeros((*size_hw, 3), np.uint8), ir, np.ones_like(ir)
    # Where nobody sees the fused image, it may be another graph.
    backend.run(*images, fused=False, segmentation=False)
    raw = backend.run(*images)
    masks_hw = size_hw if contract.mask_classes else ()
    if (
        raw.fused is None
        or raw.fused.shape != (*size_hw, 3)
        or raw.boxes_xyxy.shape[1:] != (4,)
        or raw.scores.shape != (len(raw.boxes_xyxy), len(contract.classes))
        or (() if raw.segmentation is None else raw.segmentation.shape) != masks_hw
    ):
        raise ModelError(
            f'the graph returned {[np.shape(getattr(raw, n)) for n in contract.outputs]} for '
            f'{size_hw[0]}x{size_hw[1]}; export the model again'
        )


def check_agreement(
    backend: Engine, reference: Engine, contract: Contract, size_hw: tuple[int, int]
) -> Difference:
    """
    Compare an engine with the float32 reference on random, black and saturated frames.

    If the graph reads coverage, also where the thermal camera sees only a part, and nothing.

    :raises ModelError: if an output is not finite, or differs by more than ``LIMIT``.
    """
    found = [
        _difference(name, backend.run(*images), reference.run(*images))
        for name, *images in _frames(size_hw, contract)
    ]
    worst = Difference(*np.max([astuple(difference) for difference in found], axis=0))
    if np.any(np.greater(astuple(worst), astuple(LIMIT))):
        raise ModelError(f'the engine differs too much from the float32 graph: {worst}')
    return worst


def _frames(
    size_hw: tuple[int, int], contract: Contract
) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    ir, everywhere = rng.random(size_hw, dtype=np.float32), np.ones(size_hw, np.float32)
    yield 'random', noise, ir, everywhere
    if contract.reads_coverage:
        left = np.arange(size_hw[1]) < size_hw[1] // 2
        yield 'half covered', noise, ir * left, soft(np.broadcast_to(left, size_hw))
        yield 'uncovered', noise, 0 * ir, 0 * everywhere
    for name, level in (('black', 0), ('saturated', 1)):
        rgb = np.full((*size_hw, 3), 255 * level, np.uint8)
        yield name, rgb, np.full(size_hw, level, np.float32), everywhere


def _difference(name: str, got: RawOutput, expected: RawOutput) -> Difference:
    gaps = []
    same = all(getattr(got, f).shape == getattr(expected, f).shape for f in OUTPUTS)
    if same and len(got.scores) <= RANKED:
        rows = _same_boxes(got, expected)
        expected = replace(
            expected, boxes_xyxy=expected.boxes_xyxy[rows], scores=expected.scores[rows]
        )
    for field in OUTPUTS:
        ours, theirs = (getattr(raw, field).astype(np.float64) for raw in (got, expected))
        if ours.shape != theirs.shape:
            raise ModelError(
                f'{field} of the {name} frame: expected {theirs.shape}, got {ours.shape}'
            )
        if not np.isfinite(ours).all():
            raise ModelError(f'{field} of the {name} frame is not finite')
        gaps.append(np.abs(ours - theirs))
    image, boxes, scores = gaps
    # A box that scores near 0 is never reported, and half precision moves it by up to 50 px where
    # it is the exponential of something that no object causes. On frames without objects all
    # scores are low, so the best one of the frame sets the scale.
    best = np.maximum(got.scores, expected.scores).max(1, initial=0)
    weights = np.square(best / best.max(initial=LOWEST_SCORE))
    moved = (boxes.max(1, initial=0) * weights).max(initial=0)
    masks, other = (raw.segmentation for raw in (got, expected))
    changed = 0.0 if masks is None or other is None else float(np.mean(masks != other))
    return Difference(image.max(), image.mean(), moved, scores.max(initial=0), changed)


def _same_boxes(got: RawOutput, expected: RawOutput) -> np.ndarray:
    """Return for each box that an engine found the row of the most similar expected one."""
    far = np.abs(got.boxes_xyxy[:, None] - expected.boxes_xyxy).max(2) / LIMIT.box_px
    other = np.abs(got.scores[:, None] - expected.scores).max(2) / LIMIT.score
    return (far + other).argmin(1) if len(far) else np.zeros(0, np.intp)
