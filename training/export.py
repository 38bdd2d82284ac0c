"""
Turn a fusion run and a detector run into a model bundle.

    python -m training.export --fusion runs/fusion --detector runs/detector_fused -o models/NAME
"""

from argparse import ArgumentParser
from argparse import RawDescriptionHelpFormatter
from collections.abc import Mapping
from collections.abc import Sequence
import copy
import hashlib
import json
from pathlib import Path
import subprocess
import sys
from typing import Any

import numpy as np
import onnx
from safetensors.torch import save_file
import torch

from tdfusion_ros.backends.cpu import CpuBackend
from tdfusion_ros.core.contract import parse_contract
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.errors import ModelError
from tdfusion_ros.nets.blocks import fold_batchnorm
from tdfusion_ros.nets.detector import Detector
from tdfusion_ros.nets.fusion import FusionPaper
from tdfusion_ros.nets.fusion_rt import FusionRT
from tdfusion_ros.nets.perception import Perception
from training.checkpoint import architecture
from training.checkpoint import load_run
from training.checkpoint import read_description
from training.datasets import CLASSES

SIZE_MULTIPLE = 32
OPSET = 20
EXPORT_HW = (480, 640)
PARITY_HW = ((480, 640), (256, 320), (544, 96))
FILES = ('model.onnx', 'weights.safetensors')


def export_onnx(model: Perception, path: Path) -> None:
    """Write the folded graph, in fp32, for every H and W that are multiples of 32."""
    folded = fold_batchnorm(copy.deepcopy(model)).requires_grad_(False)
    example = (
        torch.zeros(*EXPORT_HW, 3, dtype=torch.uint8),
        torch.zeros(*EXPORT_HW),
    )
    # The same named dimensions for both inputs: equal sizes are then part of the graph.
    height = SIZE_MULTIPLE * torch.export.Dim('rows', min=2, max=128)
    width = SIZE_MULTIPLE * torch.export.Dim('columns', min=2, max=128)
    shapes = {'rgb': {0: height, 1: width}, 'ir': {0: height, 1: width}}
    program = torch.onnx.export(
        folded,
        example,
        dynamo=True,
        opset_version=OPSET,
        input_names=['rgb', 'ir'],
        output_names=['fused', 'boxes_xyxy', 'scores'],
        dynamic_shapes=shapes,
        verbose=False,
    )
    assert program is not None  # only the older exporter returns nothing
    program.save(str(path), external_data=False)
    exported = onnx.load(str(path))
    onnx.checker.check_model(exported)
    versions = {entry.domain: entry.version for entry in exported.opset_import}
    if versions.get('') != OPSET:
        raise ModelError(f'asked for opset {OPSET}, the exporter wrote {versions}')


def check_parity(model: Perception, path: Path, sizes_hw: Sequence[tuple[int, int]]) -> dict:
    """
    Compare the exported graph with torch on noise, whose output is the hardest to agree on.

    :returns: the largest differences over all sizes.
    :raises ModelError: if they exceed what rounding explains.
    """
    backend = CpuBackend(path.read_bytes())
    rng = np.random.default_rng(0)
    worst = {'fused_levels': 0.0, 'boxes_px': 0.0, 'scores': 0.0}
    for height, width in sizes_hw:
        rgb = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        ir = rng.random((height, width), dtype=np.float32)
        with torch.inference_mode():
            expected = model.eval()(torch.from_numpy(rgb), torch.from_numpy(ir))
        raw = backend.run(rgb, ir)
        got = (raw.fused, raw.boxes_xyxy, raw.scores)
        for key, ours, theirs in zip(worst, expected, got, strict=True):
            if ours.shape != theirs.shape:
                raise ModelError(f'{key} at {height}x{width}: {ours.shape} != {theirs.shape}')
            difference = np.abs(ours.numpy().astype(np.float64) - theirs).max()
            worst[key] = max(worst[key], float(difference))
    if worst['fused_levels'] > 1 or worst['boxes_px'] > 0.05 or worst['scores'] > 1e-3:
        raise ModelError(f'the exported graph differs from torch: {worst}')
    return worst


def git_commit() -> str:
    """Return the commit that the code stands at, or ``unknown`` outside of a repository."""
    command = ['git', 'rev-parse', '--verify', '-q', 'HEAD']
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else 'unknown'


def contract(name: str, folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the contract of a bundle whose files lie in ``folder``."""
    return {
        'schema': 1,
        'name': name,
        'size_multiple': SIZE_MULTIPLE,
        'inputs': [
            {'name': 'rgb', 'shape': ['H', 'W', 3], 'dtype': 'uint8', 'range': [0, 255]},
            {'name': 'ir', 'shape': ['H', 'W'], 'dtype': 'float32', 'range': [0, 1]},
        ],
        'outputs': [
            {'name': 'fused', 'shape': ['H', 'W', 3], 'dtype': 'uint8'},
            {'name': 'boxes_xyxy', 'shape': ['A', 4], 'dtype': 'float32'},
            {'name': 'scores', 'shape': ['A', 'C'], 'dtype': 'float32'},
        ],
        'thermal': {
            'polarity': 'white_hot',
            'eight_bit': 'value / 255',
            'sixteen_bit': 'percentile',
        },
        'classes': list(CLASSES),
        **facts,
        'licence': {
            'code': 'Apache-2.0',
            'weights': 'Data rights of MSRS are not cleared: internal evaluation only.',
        },
        'files': {
            file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in FILES
        },
    }


def export(
    fusion_run: str, detector_run: str, output: str, metrics: Mapping[str, str] | None = None
) -> None:
    """
    Write the bundle ``output`` and check it against torch.

    :param metrics: names and JSON files of measured figures, which go into the contract.
    """
    fusion, detector = load_run(fusion_run), load_run(detector_run)
    if not isinstance(fusion, (FusionRT, FusionPaper)) or not isinstance(detector, Detector):
        raise ModelError('--fusion must hold a fusion network and --detector a detector')
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    model = Perception(fusion, detector).eval()
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / 'weights.safetensors')
    (folder / 'weights.safetensors').chmod(0o644)
    export_onnx(model, folder / 'model.onnx')
    parity = check_parity(model, folder / 'model.onnx', PARITY_HW)
    facts = {
        'architecture': {'fusion': architecture(fusion), 'detector': architecture(detector)},
        'training': {
            'git_commit': git_commit(),
            'fusion': _history(fusion_run),
            'detector': _history(detector_run),
        },
        'metrics': {
            'onnx_parity': parity,
            **{
                name: json.loads(Path(file).read_text(encoding='utf-8'))
                for name, file in (metrics or {}).items()
            },
        },
    }
    text = json.dumps(contract(folder.name, folder, facts), indent=2)
    parse_contract(text)
    (folder / 'model.json').write_text(text + '\n', encoding='utf-8')
    print(f'{folder}: onnx differs from torch by at most {parity}')


def _history(run: str) -> dict[str, Any]:
    description = read_description(run)
    # Where the data lay on the machine that trained is nobody's business.
    data = Path(description['config']['data']).name
    config = {**description['config'], 'data': data}
    del description['architecture']
    return {**description, 'config': config}


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the arguments and export."""
    parser = ArgumentParser(
        prog='python -m training.export',
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument('--fusion', required=True, help='run folder of the fusion network')
    parser.add_argument('--detector', required=True, help='run folder of the detector')
    parser.add_argument(
        '--metrics',
        nargs='*',
        default=[],
        metavar='NAME=FILE',
        help='figures for the contract: JSON files that training.evaluate -o wrote',
    )
    parser.add_argument('-o', '--output', required=True, help='bundle folder to write')
    options = parser.parse_args(arguments)
    metrics = dict(pair.partition('=')[::2] for pair in options.metrics)
    export(options.fusion, options.detector, options.output, metrics)


if __name__ == '__main__':
    try:
        main()
    except FusionError as error:
        sys.exit(str(error))
