"""Detectors that return one label and score for each box, most with suppression inside."""

import numpy as np

from tdfusion_ros.compose.head import are_relative
from tdfusion_ros.compose.head import are_scores
from tdfusion_ros.compose.head import columns_of
from tdfusion_ros.compose.head import Head
from tdfusion_ros.compose.head import Outputs
from tdfusion_ros.compose.head import Size
from tdfusion_ros.compose.head import size_of
from tdfusion_ros.compose.head import to_corners
from tdfusion_ros.compose.head import with_columns

ROWS = 300  # of a detector with suppression inside, whose number of rows is not fixed
LABELED = """
    hot = OneHot(label, count, off_on)
    wide = Unsqueeze(score, last)
    scores = Mul(hot, wide)
"""
"""From one label and score for each box to a score for each class."""


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
