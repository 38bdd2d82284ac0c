"""The file of a detector in half precision."""

import numpy as np
import pytest

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

from onnx import numpy_helper  # noqa: E402
from onnx import parser  # noqa: E402

from tdfusion_ros.compose.detector_file import read_detector  # noqa: E402

LARGE_BIASES = """
    <ir_version: 9, opset_import: ["": 20]>
    net (float[1, 3, 64, 96] images) => (float[a, b, c] out)
    <float[4, 3, 4, 4] kernel, float[4] bias, float[8, 4, 4, 4] next, int64[3] flat>
    {
        levels = Conv<strides = [4, 4]>(images, kernel, bias)
        map = Conv<strides = [4, 4]>(levels, next)
        wide = Resize<mode = "nearest">(map, none, none, sizes)
        rows = Reshape(wide, flat)
        table = Transpose<perm = [0, 2, 1]>(rows)
        out = Sigmoid(table)
    }
"""


def test_detector_that_reads_gray_levels_keeps_its_first_layers_in_float(tmp_path):
    """Levels around 100 that a bias cancels, as in YOLOX: what remains is lost in half."""
    model = parser.parse_model(LARGE_BIASES)
    rng = np.random.default_rng(0)
    values = {
        'kernel': np.full((4, 3, 4, 4), 1 / 48, np.float32),
        'bias': np.full(4, -100, np.float32),
        'next': 8 * rng.normal(size=(8, 4, 4, 4)).astype(np.float32),
        'flat': np.array([1, 8, -1]),
        'none': np.zeros(0, np.float32),  # as PyTorch wrote it for Resize until version 1.13
        'sizes': np.array([1, 8, 8, 12]),
    }
    for name, value in values.items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    path = tmp_path / 'levels.onnx'
    path.write_bytes(model.SerializeToString())
    file = read_detector(path)
    levels = (100 + rng.normal(size=(64, 96, 3)) / 8).astype(np.float32)
    ((full,), (half,), (whole,)) = (
        each.run(levels) for each in (file, file.in_half(True), file.in_half(False))
    )
    assert full.std() > 0.1
    assert np.abs(half - full).max() < 0.002
    assert np.abs(whole - full).max() > 0.01
    types = {
        tensor.name: tensor.data_type for tensor in file.in_half(True).model.graph.initializer
    }
    assert types['next'] == types['kernel'] == onnx.TensorProto.FLOAT
