"""No engine is used before it has shown that it runs and computes what the bundle's graph does."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tdfusion_ros.core.contract import Contract
from tdfusion_ros.core.contract import OUTPUTS
from tdfusion_ros.core.data import RawOutput
from tdfusion_ros.core.errors import ModelError
from tdfusion_ros.core.pipeline import Backend

WARM_UP_HW = (480, 640)

# deploy.md 1.5, 1.6: half precision that overflows gives no NaN but a plausible wrong image, so
# the image is compared, in levels of 255.
IMAGE_LARGEST, IMAGE_MEAN = 4.0, 0.5
# Half precision on a CPU, 256x320: boxes differ by up to 0.33 px, scores by 0.0009. Engines may
# also add up in half; some ten times that is no fault yet, a dead branch is far beyond.
BOX_LARGEST_PX, SCORE_LARGEST = 4.0, 0.05


@dataclass(frozen=True)
class Difference:
    """How far an engine is from the reference over all frames: levels of 255, and pixels."""

    image_largest: float
    image_mean: float
    box_largest_px: float
    score_largest: float

    def __str__(self) -> str:
        return (
            f'image {self.image_largest:g} of 255 (mean {self.image_mean:.3f}), '
            f'boxes {self.box_largest_px:.2f} px, scores {self.score_largest:.4f}'
        )


def padded(size_hw: tuple[int, int], contract: Contract) -> tuple[int, int]:
    """Return the size at which the graph runs for images of ``size_hw``."""
    multiple = contract.size_multiple
    height, width = (-(-side // multiple) * multiple for side in size_hw)
    return height, width


def check_run(backend: Backend, contract: Contract, size_hw: tuple[int, int]) -> None:
    """
    Run once, so that the first pair is not late, and check what returns.

    :param size_hw: as :func:`padded` returns it.
    :raises ModelError: if the engine breaks off, or returns other shapes than the contract says.
    """
    height, width = size_hw
    raw = backend.run(
        np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.float32)
    )
    if (
        raw.fused is None
        or raw.fused.shape != (height, width, 3)
        or raw.boxes_xyxy.shape[1:] != (4,)
        or raw.scores.shape != (len(raw.boxes_xyxy), len(contract.classes))
    ):
        raise ModelError(
            f'the graph returned {[getattr(raw, name).shape for name in OUTPUTS]} for '
            f'{height}x{width}; export the model again'
        )


def check_agreement(backend: Backend, reference: Backend, size_hw: tuple[int, int]) -> Difference:
    """
    Compare an engine with the float32 reference on a random, a black and a saturated frame.

    :raises ModelError: if they disagree, saying where and by how much.
    """
    found = [
        _difference(name, backend.run(rgb, ir), reference.run(rgb, ir))
        for name, rgb, ir in _frames(size_hw)
    ]
    worst = Difference(
        *(max(getattr(d, field) for d in found) for field in Difference.__dataclass_fields__)
    )
    if (
        worst.image_largest > IMAGE_LARGEST
        or worst.image_mean > IMAGE_MEAN
        or worst.box_largest_px > BOX_LARGEST_PX
        or worst.score_largest > SCORE_LARGEST
    ):
        raise ModelError(f'the engine differs too much from the float32 graph: {worst}')
    return worst


def _frames(size_hw: tuple[int, int]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    yield 'random', noise, rng.random(size_hw, dtype=np.float32)
    for name, level in (('black', 0), ('saturated', 1)):
        yield (
            name,
            np.full((*size_hw, 3), 255 * level, np.uint8),
            np.full(size_hw, level, np.float32),
        )


def _difference(name: str, got: RawOutput, wanted: RawOutput) -> Difference:
    gaps = []
    for field in ('fused', 'boxes_xyxy', 'scores'):
        ours, theirs = (getattr(raw, field).astype(np.float64) for raw in (got, wanted))
        if ours.shape != theirs.shape:
            raise ModelError(f'{field} of the {name} frame: {ours.shape}, not {theirs.shape}')
        if not np.isfinite(ours).all():
            raise ModelError(f'{field} of the {name} frame is not finite')
        gaps.append(np.abs(ours - theirs))
    image, boxes, scores = gaps
    return Difference(
        float(image.max()), float(image.mean()), float(boxes.max()), float(scores.max())
    )
