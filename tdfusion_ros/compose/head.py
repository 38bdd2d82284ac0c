"""What reads the outputs of a detector: nodes of a graph, and what the kinds have in common."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

import numpy as np

CENTERED = """
    center, side = Split<axis = -1, num_outputs = 2>(boxes)
    half = Mul(side, one_half)
    low = Sub(center, half)
    high = Add(center, half)
    corners = Concat<axis = -1>(low, high)
"""
"""From center, width and height, (A, 4), to corners."""

Outputs = Sequence[np.ndarray]
Size = tuple[int, int]


@dataclass(frozen=True)
class Head:
    """
    How the outputs of a detector become ``corners`` (A, 4) in its pixels and ``scores`` (A, C).

    :param body: nodes in the text format of ONNX; they read ``output0``, ``output1``, ... in
        float32 and without the batch, and ``constants``.
    """

    kind: str
    body: str
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)


def are_scores(values: np.ndarray) -> bool:
    """Return whether all values are in [0, 1]."""
    return bool(np.all((values >= 0) & (values <= 1)))


def to_corners(boxes: np.ndarray) -> str:
    """Return nodes from ``boxes`` to ``corners``; boxes of a whole image show their form."""
    are_corners = np.mean(boxes[:, 2:] >= boxes[:, :2]) > 0.9  # some are rounded to size 0
    return 'corners = Identity(boxes)\n' if are_corners else CENTERED


def are_relative(boxes: np.ndarray) -> bool:
    """Return whether boxes are in shares of the image; without any box they are in pixels."""
    return 0 < np.abs(boxes).max(initial=0) <= 2


def with_columns(outputs: Outputs, columns: int) -> list[int]:
    """Return the places of the outputs (A, columns)."""
    return [i for i, value in enumerate(outputs) if value.ndim == 2 and value.shape[1] == columns]


def columns_of(*counts: int) -> dict[str, np.ndarray]:
    """Return the constant that splits rows into parts of so many columns."""
    return {'columns': np.array(counts, np.int64)}


def size_of(size_hw: Size) -> dict[str, np.ndarray]:
    """Return the constant that makes relative boxes (A, 4) pixels."""
    return {'size': np.array([size_hw[1], size_hw[0]] * 2, np.float32)}
