"""Model bundles whose hashes are right and whose content is not."""

from collections.abc import Callable
from hashlib import sha256
import json
from pathlib import Path
from random import Random
import struct
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx import TensorProto

from demo.fuzz import mutate
from demo.fuzz.files import ROOT
from demo.fuzz.target import Case
from demo.fuzz.target import Draw
from tdfusion_ros.backends import open_backend
from tdfusion_ros.backends.bundle import read_bundle
from tdfusion_ros.core.calibration import Identity
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.contract import GRAPH_FILE
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.pipeline import Pipeline

SIZE_HW = (32, 32)
SHIPPED = ROOT / 'models/msrs_rt'


def small_graph() -> bytes:
    """Return a graph of the contract's interface that is mostly structure, hardly weights."""
    nodes = [
        helper.make_node('Cast', ['rgb'], ['color'], to=TensorProto.FLOAT),
        helper.make_node('Unsqueeze', ['ir', 'last'], ['heat']),
        helper.make_node('Add', ['color', 'heat'], ['sum']),
        helper.make_node('Transpose', ['sum'], ['planes'], perm=[2, 0, 1]),
        helper.make_node('Unsqueeze', ['planes', 'first'], ['image']),
        helper.make_node('Conv', ['image', 'kernel'], ['blurred'], pads=[1, 1, 1, 1]),
        helper.make_node('Squeeze', ['blurred', 'first'], ['three']),
        helper.make_node('Transpose', ['three'], ['back'], perm=[1, 2, 0]),
        helper.make_node('Cast', ['back'], ['fused'], to=TensorProto.UINT8),
        helper.make_node('ReduceMax', ['ir'], ['peak'], keepdims=0),
        helper.make_node('Mul', ['box', 'peak'], ['boxes_xyxy']),
        helper.make_node('Sigmoid', ['score'], ['scores']),
    ]
    box = np.array([[1, 2, 9, 9], [3, 3, 20, 20]], np.float32)
    values = {
        'last': np.array([2]),
        'first': np.array([0]),
        'kernel': np.full((3, 3, 3, 3), 0.05, np.float32),
        'box': box,
        'score': np.zeros((2, 3), np.float32),
    }
    inputs = [('rgb', TensorProto.UINT8, ['H', 'W', 3]), ('ir', TensorProto.FLOAT, ['H', 'W'])]
    outputs = [
        ('fused', TensorProto.UINT8, ['H', 'W', 3]),
        ('boxes_xyxy', TensorProto.FLOAT, ['A', 4]),
        ('scores', TensorProto.FLOAT, ['A', 'C']),
    ]
    graph = helper.make_graph(
        nodes,
        'small',
        [helper.make_tensor_value_info(*item) for item in inputs],
        [helper.make_tensor_value_info(*item) for item in outputs],
        [onnx.numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    opset = helper.make_opsetid('', 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()


def save(folder: Path, name: str, content: bytes, **changed: Any) -> None:
    """Write a file of a bundle, and a contract with its right hash."""
    raw = json.loads((SHIPPED / 'model.json').read_text()) | changed
    raw['files'] = {GRAPH_FILE: sha256(b'').hexdigest(), name: sha256(content).hexdigest()}
    (folder / 'model.json').write_text(json.dumps(raw))
    (folder / GRAPH_FILE).write_bytes(b'')
    (folder / name).write_bytes(content)


def run_graph(folder: Path) -> None:
    """Open a bundle on the CPU and run a pair through the pipeline."""
    bundle = read_bundle(folder)
    backend = open_backend('cpu', bundle, sizes_hw=(SIZE_HW,))
    pipeline = Pipeline(FusionConfig(), bundle.contract, Identity(), backend)
    pixels = np.zeros((*SIZE_HW, 3), np.uint8)
    pipeline.process(Frame(pixels, 0), Frame(pixels[..., 0].copy(), 0))


def _graph(place: Path, good: bytes, fault: Callable[[Random], bytes]) -> Draw:
    save(place, GRAPH_FILE, good)
    run_graph(place)  # what is not broken runs, else nothing is tested

    def draw(rng: Random) -> Case:
        save(place, GRAPH_FILE, fault(rng))
        return lambda: run_graph(place)

    return draw


def onnx_bytes(place: Path) -> Draw:
    """Fuzz the bytes of a small graph."""
    good = small_graph()
    return _graph(place, good, lambda rng: mutate.mangle(rng, good))


def onnx_shipped(place: Path) -> Draw:
    """Fuzz the shipped detector and fusion graph, half of the faults where no weights are."""
    good = (SHIPPED / GRAPH_FILE).read_bytes()

    def fault(rng: Random) -> bytes:
        cut = rng.choice((0, len(good) - 200_000))
        head, tail = good[:cut], good[cut:]
        return head + mutate.mangle(rng, tail)

    return _graph(place, good, fault)


def safetensors(place: Path) -> Draw:
    """Fuzz ``weights.safetensors`` and the architecture that it must fit."""
    from tdfusion_ros.backends.torch_network import load_network

    architecture = {
        'fusion': {'name': 'fusion_rt', 'width': 4, 'depth': 2},
        'detector': {
            **{'name': 'detector', 'classes': 2, 'inputs': 2, 'widths': [4, 4, 4, 4, 4]},
            **{'repeats': [0, 1, 1, 1, 1], 'neck': 4, 'head': 4},
        },
    }
    good = _weights(architecture)
    load_network(architecture, good)

    def draw(rng: Random) -> Case:
        weights, form = good, architecture
        if rng.random() < 0.2:
            form = mutate.tree(rng, architecture)
        elif rng.random() < 0.5:
            weights = _with_header(rng, good)
        else:
            weights = mutate.mangle(rng, good)
        text = json.dumps(form)
        save(place, 'weights.safetensors', weights, architecture=json.loads(text))

        def read() -> None:
            bundle = read_bundle(place)
            load_network(bundle.architecture, bundle.weights())

        return read

    return draw


def _weights(architecture: Any) -> bytes:
    from safetensors.torch import save as saved
    import torch

    from tdfusion_ros.nets.perception import build_perception

    torch.manual_seed(0)
    return saved(build_perception(architecture).state_dict())


def _with_header(rng: Random, good: bytes) -> bytes:
    """Return weights whose header, a length and JSON, says something else."""
    (length,) = struct.unpack_from('<Q', good)
    header = json.loads(good[8 : 8 + length])
    text = json.dumps(mutate.tree(rng, header)).encode()
    return struct.pack('<Q', len(text)) + text + good[8 + length :]
