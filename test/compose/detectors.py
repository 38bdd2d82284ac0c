"""Small ONNX detectors of each kind, made on the spot, and what they mean, in numpy."""

from dataclasses import dataclass

import cv2
import numpy as np
from onnx import helper
from onnx import numpy_helper
from onnx import parser
import onnxruntime

HW = (64, 96)
NAMES = ('person', 'dog, big', 'car')
COUNT = len(NAMES)
BOTH_SIDES = np.float32([HW[1], HW[0]] * 2)
MAPS = """
    map8 = Conv<strides = [8, 8]>(scaled, kernel8)
    map16 = Conv<strides = [16, 16]>(scaled, kernel16)
    map32 = Conv<strides = [32, 32]>(scaled, kernel32)
    row8 = Reshape(map8, flat)
    row16 = Reshape(map16, flat)
    row32 = Reshape(map32, flat)
    maps = Concat<axis = 2>(row8, row16, row32)
    table = Transpose<perm = [0, 2, 1]>(maps)
"""
DECODED = """
    four, rest = Split<axis = 2>(table, split4)
    unit = Sigmoid(four)
    likely = Sigmoid(rest)
    boxes = Mul(unit, sides)
"""
"""Center, width and height in pixels, and scores."""
BEST = """
    scores = Squeeze(likely, zero)
    best = ReduceMax<keepdims = 0>(scores, last)
    label = ArgMax<axis = 1, keepdims = 0>(scores)
    center, side = Split<axis = 2, num_outputs = 2>(boxes)
    half = Div(side, two)
    low = Sub(center, half)
    high = Add(center, half)
    batched_corners = Concat<axis = 2>(low, high)
    corners = Squeeze(batched_corners, zero)
    float_label = Cast<to = 1>(label)
    column_label = Unsqueeze(float_label, last)
    column_best = Unsqueeze(best, last)
"""


LAYOUTS = {
    'yolox': {'std': 1.0, 'order': 'bgr', 'fit': 'corner'},
    **{name: {'std': 255.0, 'fit': 'center'} for name in ('yolov5', 'yolov8', 'nms')},
    'queries': {'std': 255.0, 'fit': 'stretch'},
    'nanodet': {
        'order': 'bgr',
        'fit': 'stretch',
        'mean': np.float32([103.53, 116.28, 123.675]),
        'std': np.float32([57.375, 57.12, 58.395]),
    },
}


@dataclass(frozen=True)
class Kind:
    """
    A detector of a kind.

    :param outputs: declarations in ONNX's text format.
    :param decode: from its outputs to corners in its pixels (A, 4) and scores (A, 3).
    """

    name: str
    nodes: str
    decode: object
    outputs: str = 'float[a, b, c] out'
    inputs: str = ''

    @property
    def columns(self):
        """Outputs of each cell: box, objectness of some, classes."""
        return 4 + (self.name in ('yolox', 'yolov5')) + COUNT

    @property
    def layout(self):
        return LAYOUTS[self.name]


def corners(centered):
    center, half = centered[:, :2], centered[:, 2:4] / 2
    return np.concatenate((center - half, center + half), 1)


def decode_yolox(out, hw=HW):
    rows = out[0]
    cells = [(x, y, s) for s in (8, 16, 32) for y in range(hw[0] // s) for x in range(hw[1] // s)]
    places, strides = np.split(np.float32(cells), [2], axis=1)
    centered = np.hstack(((rows[:, :2] + places) * strides, np.exp(rows[:, 2:4]) * strides))
    return corners(centered), rows[:, 4:5] * rows[:, 5:]


def decode_nanodet(*outputs, hw=HW):
    """Return what NanoDet's own code makes of its outputs: the mean of each distribution."""
    sides, boxes = np.float32([-1, -1, 1, 1]), []
    for stride, logits in zip((8, 16, 32), outputs[3:], strict=True):
        rows, columns = np.mgrid[: hw[0] // stride, : hw[1] // stride].reshape(2, -1)
        centers = (np.stack((columns, rows, columns, rows), 1) + 0.5) * stride
        weights = np.exp(logits.reshape(-1, 4, 8))
        distances = (weights * np.arange(8)).sum(2) / weights.sum(2) * stride
        boxes.append(centers + sides * distances)
    return np.concatenate(boxes), np.concatenate([scores[0] for scores in outputs[:3]])


def decode_with_objectness(out):
    return corners(out[0]), out[0][:, 4:5] * out[0][:, 5:]


def one_hot(labels, scores):
    return np.eye(COUNT, dtype=np.float32)[labels.astype(int)] * scores[:, None]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


KINDS = {
    'yolox': Kind(
        'yolox',
        'offset, rest = Split<axis = 2>(table, split4)\nlikely = Sigmoid(rest)\n'
        'small = Tanh(offset)\nout = Concat<axis = 2>(small, likely)\n',
        decode_yolox,
    ),
    'yolox, decoded': Kind(
        'yolox', DECODED + 'out = Concat<axis = 2>(boxes, likely)\n', decode_with_objectness
    ),
    'yolov5': Kind(
        'yolov5',
        DECODED + 'rows = Concat<axis = 2>(boxes, likely)\nout = Concat<axis = 1>(rows, rows)\n',
        decode_with_objectness,
    ),
    'yolov8': Kind(
        'yolov8',
        DECODED + 'rows = Concat<axis = 2>(boxes, likely)\n'
        'out = Transpose<perm = [0, 2, 1]>(rows)\n',
        lambda out: (corners(out[0].T), out[0].T[:, 4:]),
    ),
    'yolov8, not transposed': Kind(
        'yolov8',
        DECODED + 'out = Concat<axis = 2>(boxes, likely)\n',
        lambda out: (corners(out[0]), out[0][:, 4:]),
    ),
    'corners and scores in two outputs': Kind(
        'yolov8',
        DECODED + BEST + 'boxes_out = Unsqueeze(corners, zero)\nscores_out = Identity(likely)\n',
        lambda boxes, scores: (boxes[0], scores[0]),
        'float[a, b, c] boxes_out, float[a, b, d] scores_out',
    ),
    'RT-DETR of Ultralytics': Kind(
        'queries',
        DECODED + BEST + 'center_out = Squeeze(unit, zero)\n'
        'whole = Concat<axis = 1>(center_out, column_best, column_label)\n'
        'out = Unsqueeze(whole, zero)\n',
        lambda out: (corners(out[0][:, :4] * BOTH_SIDES), one_hot(out[0][:, 5], out[0][:, 4])),
    ),
    'RT-DETR, one output': Kind(
        'queries',
        DECODED + 'out = Concat<axis = 2>(unit, likely)\n',
        lambda out: (corners(out[0][:, :4] * BOTH_SIDES), out[0][:, 4:]),
    ),
    'RT-DETR, logits': Kind(
        'queries',
        DECODED + 'boxes_out = Identity(unit)\nlogits = Identity(rest)\n',
        lambda logits, boxes: (corners(boxes[0] * BOTH_SIDES), sigmoid(logits[0])),
        'float[a, b, c] logits, float[a, b, d] boxes_out',
    ),
    'D-FINE, labels': Kind(
        'queries',
        DECODED + BEST + 'size = Cast<to = 1>(orig_target_sizes)\n'
        'four_sizes = Concat<axis = 1>(size, size)\nrelative = Div(corners, sides)\n'
        'pixels = Mul(relative, four_sizes)\nlabels = Unsqueeze(label, zero)\n'
        'boxes_out = Unsqueeze(pixels, zero)\nbest_out = Unsqueeze(best, zero)\n',
        lambda labels, boxes, scores: (boxes[0], one_hot(labels[0], scores[0])),
        'int64[a, b] labels, float[a, b, c] boxes_out, float[a, b] best_out',
        inputs=', int64[N, 2] orig_target_sizes',
    ),
    'YOLOv10': Kind(
        'nms',
        DECODED + BEST + 'whole = Concat<axis = 1>(corners, column_best, column_label)\n'
        'value, index = TopK<axis = 0>(best, top)\nsome = Gather<axis = 0>(whole, index)\n'
        'out = Unsqueeze(some, zero)\n',
        lambda out: (out[0][:, :4], one_hot(out[0][:, 5], out[0][:, 4])),
    ),
    'YOLOv7, suppression inside': Kind(
        'nms',
        DECODED + BEST + 'per_class = Transpose<perm = [0, 2, 1]>(likely)\n'
        'chosen = NonMaxSuppression(batched_corners, per_class, top, overlap, threshold)\n'
        'image, kind, box = Split<axis = 1, num_outputs = 3>(chosen)\n'
        'float_image = Cast<to = 1>(image)\nfloat_kind = Cast<to = 1>(kind)\n'
        'flat_box = Squeeze(box, last)\nsome = Gather<axis = 0>(corners, flat_box)\n'
        'places = Concat<axis = 1>(box, kind)\nvalues = GatherND(scores, places)\n'
        'column = Unsqueeze(values, last)\n'
        'out = Concat<axis = 1>(float_image, some, float_kind, column)\n',
        lambda out: (out[:, 1:5], one_hot(out[:, 5], out[:, 6])),
        'float[a, b] out',
    ),
}

RELEASED = {'yolox_nano': KINDS['yolox'], 'nanodet_m': Kind('nanodet', '', decode_nanodet)}


def resized(image, size_hw):
    """
    Return an image as ONNX Runtime resizes it: as OpenCV, to 0.01 levels.

    It computes positions in float32, which moves boxes of released detectors by up to 0.0044 px.
    """
    graph = parser.parse_model(
        '<ir_version: 9, opset_import: ["": 18]> net (float[N, C, H, W] image, int64[4] sizes) =>'
        '(float[N, C, h, w] out) { out = Resize<mode = "linear">(image, , , sizes) }'
    )
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=['CPUExecutionProvider']
    )
    planes = np.ascontiguousarray(image.transpose(2, 0, 1)[None])
    sizes = np.array([*planes.shape[:2], *size_hw])
    small = session.run(None, {'image': planes, 'sizes': sizes})[0][0].transpose(1, 2, 0)
    expected = cv2.resize(image, size_hw[::-1], interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(small, expected, rtol=0, atol=0.01)
    return small


def letterboxed(image, size_hw, fit):
    """Return an image fitted into a size, and how boxes lead back: gain, border."""
    gain = [a / b for a, b in zip(size_hw, image.shape, strict=False)]
    if fit != 'stretch':
        gain = [min(gain)] * 2
    inner = [int(np.floor(g * side + 0.5)) for g, side in zip(gain, image.shape, strict=False)]
    small = resized(image, inner)
    free = [a - b for a, b in zip(size_hw, inner, strict=True)]
    before = [f // 2 if fit == 'center' else 0 for f in free]
    borders = [before[0], free[0] - before[0], before[1], free[1] - before[1]]
    small = cv2.copyMakeBorder(small, *borders, cv2.BORDER_CONSTANT, value=(114,) * 4)
    gain = [a / b for a, b in zip(inner, image.shape, strict=False)]
    return small, np.float32(gain[::-1] * 2), np.float32(before[::-1] * 2)


def make(kind, path, *, channels=3, opset=18, size=f'{HW[0]}, {HW[1]}', names=NAMES):
    """Write the detector of a kind, with random weights."""
    model = parser.parse_model(
        f'<ir_version: 9, opset_import: ["": {opset}]>\n'
        f'net (float[N, {channels}, {size}] images{kind.inputs}) => ({kind.outputs})\n'
        f'{{\nscaled = Mul(images, scale)\n{MAPS}{kind.nodes}}}'
    )
    rng = np.random.default_rng(3)
    constants = {
        'scale': np.float32(kind.layout['std'] / 255),
        'flat': np.array([1, kind.columns, -1]),
        'split4': np.array([4, kind.columns - 4]),
        'sides': BOTH_SIDES,
        'zero': np.array([0]),
        'last': np.array([-1]),
        'two': np.float32(2),
        'top': np.array([20]),
        'overlap': np.float32([0.5]),
        'threshold': np.float32([0.45]),
    }
    for stride in (8, 16, 32):
        shape = (kind.columns, channels, stride, stride)
        constants[f'kernel{stride}'] = (rng.normal(size=shape) / stride).astype(np.float32)
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    if names:
        helper.set_model_props(model, {'names': str(dict(enumerate(names)))})
    path.write_bytes(model.SerializeToString())
    return path
