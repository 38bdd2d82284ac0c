"""
What detectors return, recognized from a run, and how it becomes boxes and scores.

Each kind is a function of the outputs, the size of the image [px] and the number of classes, C. It
returns a :class:`Head`, or None if the outputs are of another kind. A is the number of boxes.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tdfusion_ros.compose.head import are_relative
from tdfusion_ros.compose.head import are_scores
from tdfusion_ros.compose.head import CENTERED
from tdfusion_ros.compose.head import columns_of
from tdfusion_ros.compose.head import Head
from tdfusion_ros.compose.head import labeled_queries
from tdfusion_ros.compose.head import labeled_rows
from tdfusion_ros.compose.head import Outputs
from tdfusion_ros.compose.head import Size
from tdfusion_ros.compose.head import size_of
from tdfusion_ros.compose.head import to_corners
from tdfusion_ros.compose.head import with_columns
from tdfusion_ros.core.errors import ModelError

STRIDES = (8, 16, 32)
MANY = 0.9  # share of the boxes in an image without objects that no detector gives one class
CELLS = """
    offset, log_side, objectness, classes = Split<axis = -1>(rows, columns)
    place = Add(offset, cells)
    place_px = Mul(place, strides)
    side_strides = Exp(log_side)
    side_px = Mul(side_strides, strides)
    boxes = Concat<axis = -1>(place_px, side_px)
    scores = Mul(objectness, classes)
"""
"""YOLOX before its decoding: the center from the corner of its cell and log of the side."""
OBJECTNESS = """
    boxes, objectness, classes = Split<axis = -1>(rows, columns)
    scores = Mul(objectness, classes)
"""
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


def cells(size_hw: Size) -> tuple[np.ndarray, np.ndarray]:
    """Return column and row of every cell of all strides, (A, 2), and its stride, (A, 1)."""
    points, strides = [], []
    for stride in STRIDES:
        rows, columns = np.mgrid[: size_hw[0] // stride, : size_hw[1] // stride]
        points.append(np.stack((columns, rows), -1).reshape(-1, 2))
        strides.append(np.full((rows.size, 1), stride))
    return np.concatenate(points).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _rows(outputs: Outputs, columns: int) -> tuple[str, np.ndarray]:
    """Return a node that makes rows of so many columns of the only output, and these; if any."""
    if len(outputs) != 1 or outputs[0].ndim != 2 or columns not in outputs[0].shape:
        return '', np.zeros((0, columns), np.float32)
    if outputs[0].shape[1] == columns:
        return 'rows = Identity(output0)\n', outputs[0]
    return 'rows = Transpose<perm = [1, 0]>(output0)\n', outputs[0].T


def _parts(outputs: Outputs, count: int) -> tuple[str, np.ndarray, np.ndarray]:
    """Return nodes to ``given`` and ``likely``, and these: of one output or of two, if any."""
    nodes, rows = _rows(outputs, 4 + count)
    if nodes:
        nodes += 'given, likely = Split<axis = -1>(rows, columns)\n'
        return nodes, rows[:, :4], rows[:, 4:]
    order = [i for columns in (4, count) for i in with_columns(outputs, columns)]
    if len(outputs) != 2 or sorted(order) != [0, 1] or len(outputs[0]) != len(outputs[1]):
        return '', rows[:, :4], rows[:, 4:]
    boxes, scores = order
    nodes = f'given = Identity(output{boxes})\nlikely = Identity(output{scores})\n'
    return nodes, outputs[boxes], outputs[scores]


def yolox(outputs: Outputs, size_hw: Size, count: int) -> Head | None:
    """One row for each cell: box, objectness, classes; decoded or not."""
    (nodes, rows), (points, strides) = _rows(outputs, 5 + count), cells(size_hw)
    if len(rows) != len(points) or not are_scores(rows[:, 4:]):
        return None
    if decoded := yolov5(outputs, size_hw, count):
        return replace(decoded, kind='yolox')
    constants = {'cells': points, 'strides': strides, **columns_of(2, 2, 1, count)}
    return Head('yolox', nodes + CELLS + CENTERED, constants)


def yolov5(outputs: Outputs, size_hw: Size, count: int) -> Head | None:
    """Rows of box, objectness and classes, decoded: YOLOv5, v6, v7."""
    nodes, rows = _rows(outputs, 5 + count)
    # Centers in pixels are all over the image.
    if not are_scores(rows[:, 4:]) or rows[:, :2].max(initial=0) <= max(size_hw) / 2:
        return None
    nodes += OBJECTNESS + to_corners(rows[:, :4])
    return Head('yolov5', nodes, columns_of(4, 1, count))


def yolov8(outputs: Outputs, size_hw: Size, count: int) -> Head | None:
    """Boxes and scores for each class, decoded, in pixels: YOLOv8, v9, 11, 12 and many others."""
    nodes, boxes, scores = _parts(outputs, count)
    if not nodes or not are_scores(scores) or are_relative(boxes):
        return None
    nodes += 'boxes = Identity(given)\nscores = Identity(likely)\n'
    return Head('yolov8', nodes + to_corners(boxes), columns_of(4, count))


def queries(outputs: Outputs, size_hw: Size, count: int) -> Head | None:
    """RT-DETR and D-FINE: relative boxes and logits or scores, or boxes, labels and scores."""
    if len(outputs) == 3:
        return labeled_queries(outputs, count)
    if head := labeled_rows(outputs, size_hw, count, relative=True):
        return head
    nodes, boxes, likely = _parts(outputs, count)
    if not nodes or not are_relative(boxes):
        return None
    activation = 'Identity' if are_scores(likely) else 'Sigmoid'
    if np.mean(likely[:, -1] > likely[:, :-1].max(1, initial=0)) > MANY:
        raise ModelError(
            f'nearly all boxes in a gray image are of the last of {count} classes: expected a '
            'score for each class, got scores of a softmax with a class "no object", as of DETR, '
            'which is not understood'
        )
    nodes += f'boxes = Mul(given, size)\nscores = {activation}(likely)\n'
    return Head('queries', nodes + to_corners(boxes), size_of(size_hw) | columns_of(4, count))


def nms(outputs: Outputs, size_hw: Size, count: int) -> Head | None:
    """Suppression inside: rows of corners, score and class, or of image, corners, class, score."""
    return labeled_rows(outputs, size_hw, count, relative=False)


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
        'centers': (points + 0.5) * strides,  # get_single_level_center_point of its gfl_head.py
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
  yolov8   (A, 4 + C) or (4 + C, A): box, classes (YOLOv8, v9, 11, 12); or (A, 4) and (A, C)
  queries  the same, but boxes relative, or (A, 6); or labels (A), boxes (A, 4), scores (A)
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
        f'{EXPECTED}{hint}; if C is wrong, give the names with --classes FILE, or coco91'
    )
