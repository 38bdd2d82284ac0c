"""Detectors that others trained, as ONNX files, run by ONNX Runtime."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import numpy_helper
import onnxruntime
import torch

from tdfusion_ros.compose.composed_bundle import Choices
from tdfusion_ros.compose.composed_bundle import open_detector
from tdfusion_ros.compose.composed_bundle import understand
from tdfusion_ros.compose.detector_file import DetectorFile
from tdfusion_ros.compose.heads import STRIDES

OPSET = 18
RESIZABLE = ('yolox', 'nanodet')
"""Kinds that run at any size, although their files have one; others get a letterbox."""

Raw = tuple[np.ndarray, np.ndarray]
"""boxes_xyxy (A, 4) float32 in pixels and scores (A, C) float32 in [0, 1]."""


class OnnxDetector:
    """
    A detector that ``tdfusion compose`` understands, without a fusion network.

    :raises ModelError: if it is not understood.
    """

    def __init__(self, path: str | Path) -> None:
        self._detector, self.classes = open_detector(Path(path), Choices(), OPSET)
        self._sessions: dict[tuple[int, int], onnxruntime.InferenceSession] = {}

    def __call__(self, rgb: np.ndarray) -> Raw:
        """Detect in (H, W, 3) uint8 RGB, extended to multiples of 32."""
        border = [-side % STRIDES[-1] for side in rgb.shape[:2]]
        rgb = cv2.copyMakeBorder(rgb, 0, border[0], 0, border[1], cv2.BORDER_REPLICATE)
        size_hw = (rgb.shape[0], rgb.shape[1])
        if size_hw not in self._sessions:
            self._sessions[size_hw] = self._open(size_hw)
        boxes, scores = self._sessions[size_hw].run(None, {'levels': rgb.astype(np.float32)})
        return boxes, scores

    def _open(self, size_hw: tuple[int, int]) -> onnxruntime.InferenceSession:
        detector = self._detector
        if detector.head.kind in RESIZABLE:
            file = resized(detector.file, size_hw)
            detector = understand(file, self.classes, Choices(kind=detector.head.kind))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only
        options.intra_op_num_threads = torch.get_num_threads()
        return onnxruntime.InferenceSession(
            detector.alone().SerializeToString(), options, providers=['CPUExecutionProvider']
        )


def resized(file: DetectorFile, size_hw: tuple[int, int]) -> DetectorFile:
    """Return a detector for images of another size: the sizes inside its graph are scaled."""
    model = onnx.ModelProto()
    model.CopyFrom(file.model)
    sides = model.graph.input[0].type.tensor_type.shape.dim[2:]
    for side, value in zip(sides, size_hw, strict=True):
        side.dim_value = value
    named = {tensor.name: tensor for tensor in model.graph.initializer}
    shapes = {n.input[-1] for n in model.graph.node if n.op_type in ('Reshape', 'Resize')}
    for name in shapes & named.keys():
        shape = numpy_helper.to_array(named[name])
        if shape.dtype == np.int64 and len(shape) >= 4:
            new = [shape[-2 + i] * size_hw[i] // file.size_hw[i] for i in (0, 1)]
            changed = np.array([*shape[:-2], *new], np.int64)
            named[name].CopyFrom(numpy_helper.from_array(changed, name))
    return replace(file, model=model, size_hw=size_hw)
