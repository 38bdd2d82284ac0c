"""Detectors that others trained on COCO, as ONNX files, run by ONNX Runtime at any size."""

from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import numpy_helper
import onnxruntime
import torch

from tdfusion_ros.core.errors import ModelError
from training.data.classes import COCO
from training.data.pair_files import read_bytes

STRIDES = (8, 16, 32)
MEAN = np.array([103.53, 116.28, 123.675], np.float32)
STD = np.array([57.375, 57.12, 58.395], np.float32)

Raw = tuple[np.ndarray, np.ndarray]
"""boxes_xyxy (A, 4) float32 in pixels and scores (A, 80) float32 in [0, 1]."""


def cells(size_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return column and row of every cell of all strides, (A, 2), and its stride, (A, 1)."""
    points, strides = [], []
    for stride in STRIDES:
        rows, columns = np.mgrid[: size_hw[0] // stride, : size_hw[1] // stride]
        points.append(np.stack((columns, rows), -1).reshape(-1, 2))
        strides.append(np.full((rows.size, 1), stride))
    return np.concatenate(points).astype(np.float32), np.concatenate(strides).astype(np.float32)


def decode_yolox(outputs: Sequence[np.ndarray], size_hw: tuple[int, int]) -> Raw:
    """Decode YOLOX: (1, A, 85) offset of the center and log of the size in strides, scores."""
    [rows] = outputs[0]
    points, strides = cells(size_hw)
    center, size = (rows[:, :2] + points) * strides, np.exp(rows[:, 2:4]) * strides
    boxes = np.concatenate((center - size / 2, center + size / 2), 1)
    return boxes, rows[:, 4:5] * rows[:, 5:]


def decode_nanodet(outputs: Sequence[np.ndarray], size_hw: tuple[int, int]) -> Raw:
    """Decode NanoDet: per stride (1, A, 80) scores, then (1, A, 32) distributions of sides."""
    count = len(STRIDES)
    scores = np.concatenate([part[0] for part in outputs[:count]])
    sides = np.concatenate([part[0] for part in outputs[count:]])
    points, strides = cells(size_hw)
    sides = np.exp(sides.reshape(len(sides), 4, -1))
    distance = (sides / sides.sum(-1, keepdims=True)) @ np.arange(sides.shape[-1]) * strides
    center = points * strides + (strides - 1) / 2
    boxes = np.concatenate((center - distance[:, :2], center + distance[:, 2:]), 1)
    return boxes.astype(np.float32), scores


class OnnxDetector:
    """
    A detector for the 80 classes of COCO; the kind is recognized by the outputs of the graph.

    Known are YOLOX (one output of 85 columns; reads levels 0 to 255) and NanoDet (three outputs of
    80 and three of 32 columns; reads normalized levels). Both read B, G, R.
    """

    classes = COCO

    def __init__(self, path: str | Path) -> None:
        try:
            self._model = onnx.load_from_string(read_bytes(Path(path)))
            graph = self._model.graph
            shapes = [
                tuple(side.dim_value for side in value.type.tensor_type.shape.dim)
                for value in (graph.input[0], *graph.output)
            ]
        except Exception as error:  # protobuf's errors have no common base
            raise ModelError(f'{path} is not an ONNX model: {error}') from None
        columns = [shape[-1] for shape in shapes[1:] if shape]
        kinds = {(85,): decode_yolox, (80,) * 3 + (32,) * 3: decode_nanodet}
        if tuple(columns) not in kinds or len(shapes[0]) != 4 or not all(shapes[0]):
            raise ModelError(
                f'{path} has outputs of {columns} columns: expected a YOLOX (one of 85) or a '
                'NanoDet (three of 80, three of 32) of the 80 classes of COCO, exported with one '
                'fixed input size'
            )
        self._decode: Callable[[Sequence[np.ndarray], tuple[int, int]], Raw]
        self._decode = kinds[tuple(columns)]
        self._size_hw = shapes[0][2:]
        self._sessions: dict[tuple[int, int], onnxruntime.InferenceSession] = {}

    def __call__(self, rgb: np.ndarray) -> Raw:
        """Detect in (H, W, 3) uint8 RGB, extended to multiples of 32."""
        border = [-side % STRIDES[-1] for side in rgb.shape[:2]]
        rgb = cv2.copyMakeBorder(rgb, 0, border[0], 0, border[1], cv2.BORDER_REPLICATE)
        pixels = rgb[..., ::-1].astype(np.float32)
        if self._decode is decode_nanodet:
            pixels = (pixels - MEAN) / STD
        size_hw = (rgb.shape[0], rgb.shape[1])
        if size_hw not in self._sessions:
            self._sessions[size_hw] = self._open(size_hw)
        session = self._sessions[size_hw]
        image = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
        return self._decode(session.run(None, {session.get_inputs()[0].name: image}), size_hw)

    def _open(self, size_hw: tuple[int, int]) -> onnxruntime.InferenceSession:
        """Return a session for images of a size: the sizes inside the graph are scaled."""
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        for value in (model.graph.input[0], *model.graph.output):
            for side, name in zip(value.type.tensor_type.shape.dim, 'abcd', strict=False):
                side.dim_param = f'{value.name}_{name}'
        del model.graph.value_info[:]
        named = {tensor.name: tensor for tensor in model.graph.initializer}
        shapes = {n.input[-1] for n in model.graph.node if n.op_type in ('Reshape', 'Resize')}
        for name in shapes & named.keys():
            shape = numpy_helper.to_array(named[name])
            if shape.dtype == np.int64 and len(shape) >= 4:
                new = [shape[-2 + i] * size_hw[i] // self._size_hw[i] for i in (0, 1)]
                changed = np.array([*shape[:-2], *new], np.int64)
                named[name].CopyFrom(numpy_helper.from_array(changed, name))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only
        options.intra_op_num_threads = torch.get_num_threads()
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=['CPUExecutionProvider']
        )
