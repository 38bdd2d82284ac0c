"""
What detectors return, recognized from a run, and how it becomes boxes and scores.

Each kind is a function of the outputs, the size of the image [px] and the number of classes, C. It
returns a :class:`Head`, or None if the outputs are of another kind. A is the number of boxes.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace

import numpy as np

from tdfusion_ros.core.errors import ModelError

STRIDES = (8, 16, 32)
ROWS = 300  # of a detector with suppression inside, whose number of rows is not fixed
CENTERED = """
    center, side = Split<axis = -1, num_outputs = 2>(centered)
    half = Mul(side, one_half)
    low = Sub(center, half)
    high = Add(center, half)
    corners = Concat<axis = -1>(low, high)
"""
"""From center, width and height, (A, 4), to corners."""
CELLS = """
    offset, log_side, objectness, classes = Split<axis = -1>(rows, columns)
    place = Add(offset, cells)
    place_px = Mul(place, strides)
    side_strides = Exp(log_side)
    side_px = Mul(side_strides, strides)
    centered = Concat<axis = -1>(place_px, side_px)
    scores = Mul(objectness, classes)
"""
"""YOLOX before its decoding: the center from the corner of its cell and log of the side."""
OBJECTNESS = """
    centered, objectness, classes = Split<axis = -1>(rows, columns)
    scores = Mul(objectness, classes)
"""
PLAIN = 'centered, scores = Split<axis = -1>(rows, columns)\n'
RELATIVE = """
    relative, likely = Split<axis = -1>(rows, columns)
    centered = Mul(relative, size)
"""
LABELED = """
    hot = OneHot(label, count, off_on)
    wide = Unsqueeze(score, last)
    scores = Mul(hot, wide)
"""
"""From one label and score for each box to a score for each class."""
SIDES = """
    parts = Reshape(sides, split_shape)
    weights = Softmax<axis = -1>(parts)
    steps = Mul(weights, bins)
    four = ReduceSum<keepdims = 0>(steps, last)
    distance = Mul(four, strides)
    left_top, right_bottom = Split<axis = -1, num_outputs = 2>(distance)
    low = Sub(centers, left_top)
    high = Add(centers, right_bottom)
    corners = Concat<axis = -1>(low, high)
"""
"""
NanoDet: a distribution over the distance to each side, in strides.

Its mean is no MatMul: TensorRT has no float32 product of matrices for compute capability 7.5.
"""

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


def cells(size_hw: Size) -> tuple[np.ndarray, np.ndarray]:
    """Return column and row of every cell of all strides, (A, 2), and its stride, (A, 1)."""
    points, strides = [], []
    for stride in STRIDES:
        rows, columns = np.mgrid[: size_hw[0] // stride, : size_hw[1] // stride]
        points.append(np.stack((columns, rows), -1).reshape(-1, 2))
        strides.append(np.full((rows.size, 1), stride))
    return np.concatenate(points).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _rows(outputs: Outputs, columns: int) -> tuple[str, np.ndarray] | None:
    """Return a node that makes rows of so many columns of the only output, and these rows."""
    if len(outputs) != 1 or outputs[0].ndim != 2 or columns not in outputs[0].shape:
        return None
    if outputs[0].shape[1] == columns:
        return 'rows = Identity(output0)\n', outputs[0]
    return 'rows = Transpose<perm = [1, 0]>(output0)\n', outputs[0].T


def _are_scores(values: np.ndarray) -> bool:
    return bool(np.all((values >= 0) & (values <= 1)))


def _columns(*counts: int) -> dict[str, np.ndarray]:
    return {'columns': np.array(counts, np.int64)}


def yolox(outputs: Outputs, size_hw: Size, count: int) -> Head | None:
    """One row for each cell: box, objectness, classes; decoded or not."""
    found, (points, strides) = _rows(outputs, 5 + count), cells(size_hw)
    if found is None or len(found[1]) != len(points) or not _are_scores(found[1][:, 4:]):
        return None
    if decoded := yolov5(outputs, size_hw, count):
        return replace(decoded, kind='yolox')
    constants = {'cells': points, 'strides': strides, **_columns(2, 2, 1, count)}
    return Head('yolox', found[0] + CELLS + CENTERED, constants)


def yolov5(outputs: Outputs, size_hw: Size, count: int) -> Head | None:
    """Rows of box, objectness and classes, decoded: YOLOv5, v6, v7."""
    found = _rows(outputs, 5 + count)
    if found is None or not _are_scores(found[1][:, 4:]):
        return None
    if found[1][:, :2].max() <= max(size_hw) / 2:  # centers in pixels are all over the image
        return None
    return Head('yolov5', found[0] + OBJECTNESS + CENTERED, _columns(4, 1, count))


def yolov8(outputs: Outputs, size_hw: Size, count: int) -> Head | None:
    """Rows of box and classes, decoded, mostly transposed: YOLOv8, v9, 11, 12."""
    found = _rows(outputs, 4 + count)
    if found is None or not _are_scores(found[1][:, 4:]) or found[1][:, :4].max() <= 2:
        return None
    return Head('yolov8', found[0] + PLAIN + CENTERED, _columns(4, count))


def queries(outputs: Outputs, size_hw: Size, count: int) -> Head | None:
    """RT-DETR and D-FINE: relative boxes and logits or scores, or boxes, labels and scores."""
    if len(outputs) == 3:
        return _labeled_queries(outputs, count)
    relative = {'size': np.array([size_hw[1], size_hw[0]] * 2, np.float32)}
    found = _rows(outputs, 4 + count)
    if found:
        boxes, scores = found[1][:, :4], found[1][:, 4:]
        body, constants = found[0] + RELATIVE, relative | _columns(4, count)
    else:
        order = [i for columns in (4, count) for i in _with_columns(outputs, columns)]
        if len(outputs) != 2 or sorted(order) != [0, 1]:
            return None
        boxes, scores = (outputs[i] for i in order)
        body = f'centered = Mul(output{order[0]}, size)\nlikely = Identity(output{order[1]})\n'
        constants = relative
    if len(boxes) != len(scores) or np.abs(boxes).max() > 2:
        return None
    activation = 'Identity' if _are_scores(scores) else 'Sigmoid'
    return Head('queries', f'{body}scores = {activation}(likely)\n{CENTERED}', constants)


def _with_columns(outputs: Outputs, columns: int) -> list[int]:
    return [i for i, value in enumerate(outputs) if value.ndim == 2 and value.shape[1] == columns]


def _labeled_queries(outputs: Outputs, count: int) -> Head | None:
    """Return the head of labels (A,), boxes (A, 4) and scores (A,), in any order."""
    boxes = _with_columns(outputs, 4)
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


def nms(outputs: Outputs, size_hw: Size, count: int) -> Head | None:
    """Suppression inside: rows of corners, score and class, or of image, corners, class, score."""
    columns = outputs[0].shape[-1]
    if len(outputs) != 1 or outputs[0].ndim != 2 or columns not in (6, 7):
        return None
    table = outputs[0]
    score, label = (4, 5) if columns == 6 else (6, 5)
    whole = np.array_equal(table[:, label], np.round(table[:, label]))
    if not whole or not _are_scores(table[:, score]):
        return None
    parts = ('score', 'float_label') if columns == 6 else ('float_label', 'score')
    body = (
        'longer = Concat<axis = 0>(output0, nothing)\n'
        'rows = Slice(longer, first, limit, first)\n'
        f'{"" if columns == 6 else "image, "}corners, {parts[0]}_1, {parts[1]}_1'
        ' = Split<axis = -1>(rows, columns)\n'
        'score = Squeeze(score_1, last)\nfloat_label = Squeeze(float_label_1, last)\n'
        'label = Cast<to = 7>(float_label)\n'
    )
    rows = max(ROWS, len(table))
    constants = {
        'nothing': np.zeros((rows, columns), np.float32),
        'first': np.array([0]),
        'limit': np.array([rows]),
        **_columns(*([] if columns == 6 else [1]), 4, 1, 1),
    }
    return Head('nms', body + LABELED, constants | _labels(count))


def nanodet(outputs: Outputs, size_hw: Size, count: int) -> Head | None:
    """Per stride scores for each cell, then per stride distributions over the distances."""
    points, strides = cells(size_hw)
    half = len(STRIDES)
    if len(outputs) != 2 * half or any(value.ndim != 2 for value in outputs):
        return None
    columns = [value.shape[1] for value in outputs]
    bins = columns[-1] // 4
    if columns != [count] * half + [4 * bins] * half:
        return None
    if sum(map(len, outputs[:half])) != len(points) or bins < 2:
        return None
    body = (
        'scores = Concat<axis = 0>(output0, output1, output2)\n'
        'sides = Concat<axis = 0>(output3, output4, output5)\n'
    )
    constants = {
        'split_shape': np.array([-1, 4, bins]),
        'bins': np.arange(bins, dtype=np.float32),
        'last': np.array([-1]),
        'strides': strides,
        'centers': points * strides + (strides - 1) / 2,
    }
    return Head('nanodet', body + SIDES, constants)


KINDS: dict[str, Callable[[Outputs, Size, int], Head | None]] = {
    'nms': nms,
    'yolox': yolox,
    'yolov5': yolov5,
    'yolov8': yolov8,
    'queries': queries,
    'nanodet': nanodet,
}
"""In this order, because a kind may also look like a later one."""
EXPECTED = """one of
  yolox    (A, 5 + C), one row for each cell of strides 8, 16 and 32
  yolov5   (A, 5 + C): box, objectness, classes (YOLOv5, v6, v7)
  yolov8   (A, 4 + C) or (4 + C, A): box, classes (YOLOv8, v9, 11, 12)
  queries  (A, 4) and (A, C), or (A, 4 + C), relative; or labels (A), boxes (A, 4), scores (A)
  nms      (A, 6): corners, score, class; or (A, 7): image, corners, class, score
  nanodet  three of (A, C), then three distributions of the sides"""


def recognize(outputs: Outputs, size_hw: Size, count: int, kind: str = '') -> Head:
    """
    Return how to read what a detector returned for an image.

    :param outputs: without the batch.
    :param count: the number of classes.
    :param kind: a key of ``KINDS``; empty: the first that fits.
    :raises ModelError: if it does not fit.
    """
    for name, find in KINDS.items():
        if kind in ('', name) and (head := find(outputs, size_hw, count)):
            return head
    shapes = ', '.join(f'({", ".join(map(str, value.shape))})' for value in outputs)
    hint = ''
    if any(value.ndim > 2 for value in outputs):
        hint = '; outputs with more than two axes are before the decoding: export it with that'
    if kind:
        raise ModelError(
            f'the detector returns {shapes} for {count} classes, which is not {kind}: '
            f'name another kind, or none{hint}'
        )
    raise ModelError(
        f'the detector returns {shapes} (batch left out); with C = {count} classes expected '
        f'{EXPECTED}{hint}; if C is wrong, give the names with --classes FILE'
    )
