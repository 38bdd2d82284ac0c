"""What reads the outputs of a detector: nodes of a graph, and those that several kinds share."""

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

ROWS = 300  # of a detector with suppression inside, whose number of rows is not fixed
LABELED = """
    hot = OneHot(label, count, off_on)
    wide = Unsqueeze(score, last)
    scores = Mul(hot, wide)
"""
"""From one label and score for each box to a score for each class."""

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


def labeled_rows(outputs: Outputs, size_hw: Size, count: int, *, relative: bool) -> Head | None:
    """Return the head of rows with one score and one class, if their boxes are relative or not."""
    columns = outputs[0].shape[-1]
    if len(outputs) != 1 or outputs[0].ndim != 2 or columns not in (6, 7):
        return None
    table = outputs[0]
    box, score, label = (0, 4, 5) if columns == 6 else (1, 6, 5)
    boxes = table[:, box : box + 4]
    whole = np.array_equal(table[:, label], np.round(table[:, label]))
    if not whole or not are_scores(table[:, score]) or are_relative(boxes) != relative:
        return None
    parts = ('score', 'float_label') if columns == 6 else ('float_label', 'score')
    body = (
        'longer = Concat<axis = 0>(output0, nothing)\n'
        'rows = Slice(longer, first, limit, first)\n'
        f'{"" if columns == 6 else "image, "}given, {parts[0]}_1, {parts[1]}_1'
        ' = Split<axis = -1>(rows, columns)\n'
        'score = Squeeze(score_1, last)\nfloat_label = Squeeze(float_label_1, last)\n'
        'label = Cast<to = 7>(float_label)\nboxes = Mul(given, size)\n'
    )
    rows = max(ROWS, len(table))
    constants = {
        'nothing': np.zeros((rows, columns), np.float32),
        'first': np.array([0]),
        'limit': np.array([rows]),
        **columns_of(*([] if columns == 6 else [1]), 4, 1, 1),
        **(size_of(size_hw) if relative else {'size': np.ones(4, np.float32)}),
    }
    body += LABELED + (to_corners(boxes) if relative else 'corners = Identity(boxes)\n')
    return Head('queries' if relative else 'nms', body, constants | _labels(count))


def labeled_queries(outputs: Outputs, count: int) -> Head | None:
    """Return the head of labels (A,), boxes (A, 4) and scores (A,), in any order."""
    boxes = with_columns(outputs, 4)
    labels = [i for i, value in enumerate(outputs) if value.ndim == 1 and value.dtype.kind == 'i']
    scores = [i for i, value in enumerate(outputs) if value.ndim == 1 and value.dtype.kind == 'f']
    if not (len(boxes) == len(labels) == len(scores) == 1):
        return None
    body = (
        f'corners = Identity(output{boxes[0]})\nfloat_label = Identity(output{labels[0]})\n'
        f'label = Cast<to = 7>(float_label)\nscore = Identity(output{scores[0]})\n'
    )
    return Head('queries', body + LABELED, _labels(count))


def _labels(count: int) -> dict[str, np.ndarray]:
    off_on = np.array([0, 1], np.float32)
    return {'count': np.array([count], np.int64), 'off_on': off_on, 'last': np.array([-1])}
