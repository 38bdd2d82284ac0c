"""Model bundles whose hashes are right and whose content is not."""

from hashlib import sha256
import json
from pathlib import Path
import struct

from damage import damaged
from damage import tree
from hypothesis import strategies as st
import numpy as np
import pytest

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
pytest.importorskip('torch')

from tdfusion_ros.backends import open_backend
from tdfusion_ros.backends.bundle import read_bundle
from tdfusion_ros.core.calibration import Identity
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.contract import GRAPH_FILE
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.pipeline import Pipeline

pytestmark = pytest.mark.torch
SIZE_HW = (32, 32)
SHIPPED = Path(__file__).parents[2] / 'models' / 'msrs_rt'
GRAPH = """
<ir_version: 8, opset_import: ["": 17]>
small (uint8[H, W, 3] rgb, float[H, W] ir)
    => (uint8[H, W, 3] fused, float[A, 4] boxes_xyxy, float[A, C] scores)
<int64[1] last = {2}, int64[1] first = {0},
 float[1, 4] box = {1, 2, 9, 9}, float[1, 3] score = {0, 0, 0}>
{
    color = Cast<to: int = 1>(rgb)
    thermal = Unsqueeze(ir, last)
    sum = Add(color, thermal)
    planes = Transpose<perm: ints = [2, 0, 1]>(sum)
    image = Unsqueeze(planes, first)
    blurred = AveragePool<kernel_shape: ints = [3, 3], pads: ints = [1, 1, 1, 1]>(image)
    three = Squeeze(blurred, first)
    back = Transpose<perm: ints = [1, 2, 0]>(three)
    fused = Cast<to: int = 2>(back)
    peak = ReduceMax<keepdims: int = 0>(ir)
    boxes_xyxy = Mul(box, peak)
    scores = Sigmoid(score)
}
"""


def save_bundle(folder, name, content, **changes):
    """Write a file of a bundle, and a contract with its right hash."""
    raw = json.loads((SHIPPED / 'model.json').read_text()) | changes
    raw['files'] = {GRAPH_FILE: sha256(b'').hexdigest(), name: sha256(content).hexdigest()}
    (folder / 'model.json').write_text(json.dumps(raw))
    (folder / GRAPH_FILE).write_bytes(b'')
    (folder / name).write_bytes(content)


def test_onnx_graph(fuzz, tmp_path):
    from onnx.parser import parse_model

    def read(data):
        save_bundle(tmp_path, GRAPH_FILE, data)
        bundle = read_bundle(tmp_path)
        backend = open_backend('cpu', bundle, sizes_hw=(SIZE_HW,))
        pipeline = Pipeline(FusionConfig(), bundle.contract, Identity(), backend)
        pixels = np.zeros((*SIZE_HW, 3), np.uint8)
        pipeline.process(Frame(pixels, 0), Frame(pixels[..., 0].copy(), 0))

    good = parse_model(GRAPH).SerializeToString()
    fuzz(damaged(good), read, 1, good=good)


DETECTOR = """
<ir_version: 8, opset_import: ["": 17]>
net (float[1, 3, 32, 32] images) => (float[a, b, c] out)
<int64[3] shape = {1, 6, 512}>
{ all = Sigmoid(images) out = Reshape(all, shape) }
"""


def test_detector_of_the_user(fuzz, tmp_path):
    from onnx.parser import parse_model

    from tdfusion_ros.compose.composed_bundle import Choices
    from tdfusion_ros.compose.composed_bundle import open_detector

    (tmp_path / 'names.txt').write_text('a\nb')
    file, choices = tmp_path / 'their.onnx', Choices(classes=str(tmp_path / 'names.txt'))

    def read(data):
        file.write_bytes(data)
        open_detector(file, choices, 18)

    good = parse_model(DETECTOR).SerializeToString()
    fuzz(damaged(good), read, 0.9, good=good)


ARCHITECTURE = {
    'fusion': {'name': 'fusion_rt', 'width': 4, 'depth': 2},
    'detector': {
        **{'name': 'detector', 'classes': 2, 'inputs': 2, 'widths': [4, 4, 4, 4, 4]},
        **{'repeats': [0, 1, 1, 1, 1], 'neck': 4, 'head': 4},
    },
}


def test_safetensors(fuzz, tmp_path):
    pytest.importorskip('safetensors')
    from safetensors.torch import save
    import torch

    from tdfusion_ros.backends.torch_network import load_network
    from tdfusion_ros.nets.perception import build_perception

    torch.manual_seed(0)
    good = save(build_perception(ARCHITECTURE).state_dict())
    (length,) = struct.unpack_from('<Q', good)
    header, weights = json.loads(good[8 : 8 + length]), good[8 + length :]

    def with_header(value):
        text = json.dumps(value).encode()
        return struct.pack('<Q', len(text)) + text + weights

    def read(value):
        architecture, data = value
        architecture = json.loads(json.dumps(architecture))
        save_bundle(tmp_path, 'weights.safetensors', data, architecture=architecture)
        bundle = read_bundle(tmp_path)
        load_network(bundle.architecture, bundle.weights())

    inputs = st.one_of(
        st.tuples(tree(ARCHITECTURE), st.just(good)),
        st.tuples(st.just(ARCHITECTURE), tree(header).map(with_header) | damaged(good)),
    )
    changes = ({'width': 4096}, {'depth': 10**9}, {'width': 1e300}, {'width': -1})
    fusion = ARCHITECTURE['fusion']
    found = [({**ARCHITECTURE, 'fusion': fusion | change}, good) for change in changes]
    fuzz(inputs, read, 0.65, good=(ARCHITECTURE, good), found=found)
