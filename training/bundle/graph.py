"""The ONNX graph of a bundle: its cost, its export, and a comparison with torch."""

from collections.abc import Sequence
import copy
import logging
from pathlib import Path
from typing import Any
import warnings

import numpy as np
import onnx
import torch
from torch import nn
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tdfusion_ros.backends.bundle import read_bundle
from tdfusion_ros.backends.cpu import CpuBackend
from tdfusion_ros.backends.gate import check_agreement
from tdfusion_ros.backends.torch_network import to_half
from tdfusion_ros.core.contract import DETECTOR_FILE
from tdfusion_ros.core.contract import GRAPH_FILE
from tdfusion_ros.core.contract import HALF_FILE
from tdfusion_ros.core.contract import INPUTS
from tdfusion_ros.core.contract import OUTPUTS
from tdfusion_ros.core.contract import outputs_of
from tdfusion_ros.core.contract import UNMASKED_FILE
from tdfusion_ros.core.coverage import soft
from tdfusion_ros.core.errors import ModelError
from tdfusion_ros.nets.blocks import fold_batchnorm
from tdfusion_ros.nets.perception import Perception
from training.data.augmentation import SIZE_MULTIPLE

OPSET = 18
"""Not higher: from opset 19 on, ONNX Runtime has no fast AveragePool on the CPU."""
EXPORT_HW = (480, 640)
PARITY_HW = ((480, 640), (256, 320), (544, 96))
HALF_PARITY_HW = (256, 320)
LARGEST = {'fused_levels': 1.0, 'boxes_px': 0.05, 'scores': 1e-3, 'masks': 0.01}
"""Differences of a graph from torch; of masks the share of the pixels with another class."""


def mask_classes(model: Perception) -> tuple[str, ...]:
    """Return the classes of the masks; empty without a mask head."""
    return () if model.mask_head is None else model.mask_head.config.classes


def check_half(folder: Path) -> None:
    """Compare the graph in half precision with fp32, both in ONNX Runtime, or raise ModelError."""
    bundle = read_bundle(folder)
    assert bundle.half_graph is not None
    half, full = CpuBackend(bundle.half_graph), CpuBackend(bundle.graph)
    check_agreement(half, full, bundle.contract, HALF_PARITY_HW)


def export_onnx(model: Perception, path: Path) -> None:
    """Write the folded graph, in its precision, for every H and W that are multiples of 32."""
    folded = fold_batchnorm(copy.deepcopy(model)).requires_grad_(False)
    rgb = torch.zeros(*EXPORT_HW, 3, dtype=torch.uint8)
    example = rgb, torch.zeros(*EXPORT_HW), torch.ones(*EXPORT_HW)
    # The same named dimensions for all inputs, so that the graph requires equal sizes.
    height = SIZE_MULTIPLE * torch.export.Dim('rows', min=2, max=128)
    width = SIZE_MULTIPLE * torch.export.Dim('columns', min=2, max=128)
    shapes = {name: {0: height, 1: width} for name in INPUTS}
    outputs = list(outputs_of(mask_classes(model)))
    names: dict[str, Any] = {'input_names': list(INPUTS), 'output_names': outputs}
    # It warns of each operator of torchvision, which these networks do not have.
    logging.getLogger('torch.onnx._internal.exporter._registration').setLevel(logging.ERROR)
    how: dict[str, Any] = {'dynamo': True, 'opset_version': OPSET, 'verbose': False}
    with warnings.catch_warnings():  # of the exporter about itself
        warnings.filterwarnings('ignore', module=r'torch\.|copyreg')
        program = torch.onnx.export(folded, example, dynamic_shapes=shapes, **names, **how)
    assert program is not None  # only the old exporter returns None
    program.save(str(path), external_data=False)
    exported = onnx.load(str(path))
    for node in exported.graph.node:  # source lines with their folders
        del node.metadata_props[:]
    onnx.checker.check_model(exported)
    onnx.save(exported, str(path))
    versions = {entry.domain: entry.version for entry in exported.opset_import}
    if versions.get('') != OPSET:
        raise ModelError(f'expected opset {OPSET}, the exporter wrote {versions}')


def write_graphs(model: Perception, folder: Path) -> dict[str, float]:
    """
    Write the graph, its parts, and the graph in half precision.

    The parts are without the fused image, and without the masks if there are some.

    :returns: the largest differences from torch; or a ModelError, as ``check_parity``.
    """
    export_onnx(model, folder / GRAPH_FILE)
    parts = {DETECTOR_FILE: list(OUTPUTS)[1:]}
    parts |= {UNMASKED_FILE: list(OUTPUTS)} if model.mask_head is not None else {}
    for name, outputs in parts.items():
        graph, part = str(folder / GRAPH_FILE), str(folder / name)
        onnx.utils.extract_model(graph, part, list(INPUTS), outputs)
    half = to_half(fold_batchnorm(copy.deepcopy(model)))  # type: ignore[arg-type]
    export_onnx(half, folder / HALF_FILE)
    return check_parity(model, folder, PARITY_HW)


def check_parity(model: Perception, folder: Path, sizes_hw: Sequence[tuple[int, int]]) -> dict:
    """
    Compare both exported graphs with torch on noise, where rounding differs most.

    The thermal camera sees everywhere, then in the left half.

    :returns: the largest differences over all sizes.
    :raises ModelError: if they are larger than rounding can explain.
    """
    parts = (GRAPH_FILE, DETECTOR_FILE, UNMASKED_FILE)
    backend = CpuBackend(*((folder / n).read_bytes() for n in parts if (folder / n).is_file()))
    rng = np.random.default_rng(0)
    worst: dict[str, float] = {}
    for height, width in sizes_hw:
        rgb = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        ir = rng.random((height, width), dtype=np.float32)
        left = np.broadcast_to(np.arange(width) < width // 2, ir.shape)
        for coverage in (np.ones_like(ir), soft(left)):
            for key, value in _differences(model, backend, (rgb, ir, coverage)).items():
                worst[key] = float(np.maximum(worst.get(key, 0.0), value))  # keeps nan
    if not all(value <= LARGEST[key] for key, value in worst.items()):
        raise ModelError(f'the exported graph differs from torch: {worst}')
    return worst


def _differences(
    model: Perception, backend: CpuBackend, images: Sequence[np.ndarray]
) -> dict[str, float]:
    """Return the largest differences of both graphs from torch for one pair."""
    with torch.inference_mode():
        expected = model.eval()(*map(torch.from_numpy, images))
    worst: dict[str, float] = {}
    for wanted in (True, False):
        raw = backend.run(*images, fused=wanted, segmentation=wanted)
        got = raw.fused, raw.boxes_xyxy, raw.scores, raw.segmentation
        for key, ours, theirs in zip(LARGEST, expected, got, strict=False):
            if theirs is None:  # not wanted
                continue
            if ours.shape != theirs.shape:
                raise ModelError(f'{key}: {tuple(ours.shape)} != {theirs.shape}')
            gaps = np.abs(ours.numpy().astype(np.float64) - theirs)
            difference = np.mean(gaps > 0) if key == 'masks' else gaps.max()
            worst[key] = float(np.maximum(worst.get(key, 0.0), difference))
    return worst


def image(channels: int) -> Tensor:
    """Return an image of 640x480 to count the cost with."""
    return torch.zeros(1, channels, *EXPORT_HW)


@torch.no_grad()
def cost(network: nn.Module, *inputs: Any) -> dict[str, int]:
    """Return the numbers of parameters and of multiply-accumulates with these inputs."""
    with FlopCounterMode(display=False) as counter:
        network(*inputs)
    parameters = sum(p.numel() for p in network.parameters())
    return {'parameters': parameters, 'macs_640x480': counter.get_total_flops() // 2}
