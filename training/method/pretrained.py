"""Read YOLOX-Nano, trained on COCO, from its ONNX file; nothing is unpickled."""

from collections.abc import Sequence
import hashlib
from pathlib import Path
import warnings

import numpy as np
import onnx
from onnx import numpy_helper
import torch
from torch import nn
from torch import Tensor

from tdfusion_ros.compose.class_names import COCO
from tdfusion_ros.core.errors import ModelError
from tdfusion_ros.nets.yolox import Yolox
from tdfusion_ros.nets.yolox import YoloxConfig
from training.checkpoint import is_bundle
from training.checkpoint import read_contract
from training.checkpoint import read_description
from training.config import NETWORK_RUNS
from training.config import TrainConfig
from training.data.classes import correspondence

SUFFIX = '.onnx'
KNOWN = {
    '695e750a5d5754bb5a8d5325643b59282191a7e7a564e435a415fd3c578eab14': (
        'YOLOX-Nano of Megvii-BaseDetection/YOLOX, release 0.1.1rc0, trained on COCO (Apache-2.0)'
    ),
}
"""Where the weights of a file come from, by its sha256."""


def is_pretrained(path: str) -> bool:
    """Return whether a path names a file of pretrained weights, not the folder of a run."""
    return path.lower().endswith(SUFFIX)


def origins(config: TrainConfig) -> dict[str, str]:
    """
    Return where pretrained weights of a run come from, ``pretrained``, or raise ModelError.

    A run that started from another run or a bundle inherits this from it.
    """
    settings = (getattr(config, name, '') for name in NETWORK_RUNS)
    texts = [describe_file(path) for path in settings if is_pretrained(path)]
    start = getattr(config, 'pretrained', '')
    if start and not is_pretrained(start):
        bundle = is_bundle(start) and read_contract(start).get('training', {}).get('detector', {})
        texts.append(str((bundle or read_description(start)).get('pretrained', '')))
    return {'pretrained': '; '.join(texts)} if any(texts) else {}


def describe_file(path: str) -> str:
    """Return where the weights in a file come from, and its sha256, or raise ModelError."""
    digest = hashlib.sha256(_read(path)).hexdigest()
    return f'{KNOWN.get(digest, "unknown origin")}, sha256 {digest}'


def load_yolox(path: str, classes: Sequence[str], inputs: int = 3) -> Yolox:
    """
    Return the detector in an ONNX file of YOLOX-Nano, for other classes, ready for inference.

    :param classes: names; one that COCO does not have gets a new output, which finds nothing
        before it is trained.
    :param inputs: 3; 4 for rgb and infrared, where the first convolution reads half of rgb and
        infrared in place of the other half; 2 for luma and infrared; 1 for luma.
    :raises ModelError: if the file is not YOLOX-Nano.
    """
    whole = Yolox(YoloxConfig((1,) * len(COCO)))
    _fill(whole, path)
    members = correspondence(COCO, classes)
    for name, found in zip(classes, members, strict=True):
        if not found:
            warnings.warn(
                f'COCO has no class {name!r}: {path} does not find it before it is trained',
                stacklevel=2,
            )
    network = Yolox(YoloxConfig(tuple(max(1, len(found)) for found in members), inputs))
    network.load_state_dict(_adapted(whole.state_dict(), members, inputs))
    return network.eval()


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ModelError(
            f'{path} cannot be read ({error.strerror}): name the ONNX file of YOLOX-Nano, from '
            'https://github.com/Megvii-BaseDetection/YOLOX/releases/tag/0.1.1rc0'
        ) from None


def _fill(network: Yolox, path: str) -> None:
    """Copy the weights of an ONNX file, in the order of their use, comparing every shape."""
    content = _read(path)
    digest = hashlib.sha256(content).hexdigest()
    if digest not in KNOWN:
        warnings.warn(
            f'{path} is none of the known files of YOLOX-Nano (sha256 {digest}): '
            'make sure that you trust where it comes from',
            stacklevel=3,
        )
    wanted = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    try:
        graph = onnx.load_model_from_string(content).graph
        arrays = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        found = [
            tuple(torch.from_numpy(np.array(arrays[name], np.float32)) for name in node.input[1:])
            for node in graph.node
            if node.op_type == 'Conv'
        ]
        found[0] = (_whole_image(found[0][0]), found[0][1])
        for layer, (weight, bias) in zip(wanted, found, strict=True):
            if weight.shape != layer.weight.shape:
                raise ValueError(
                    f'a convolution is {tuple(weight.shape)}, not {tuple(layer.weight.shape)}'
                )
            layer.load_state_dict({'weight': weight, 'bias': bias})
    except Exception as error:  # protobuf, a name or a shape that is not there: no common base
        raise ModelError(
            f'{path} is not YOLOX-Nano as ONNX with BatchNorm folded ({error}): name that file'
        ) from None


def _whole_image(weight: Tensor) -> Tensor:
    """
    Return the first convolution as one of the whole image, in the order R, G, B.

    :param weight: (16, 12, 3, 3), for four half images side by side: the pixels of even rows and
        columns, of odd rows, of odd columns, of both; in each B, G, R.
    """
    outputs = weight.shape[0]
    # output, column, row, color, y, x
    cells = weight.reshape(outputs, 2, 2, 3, 3, 3).flip(3)
    return cells.permute(0, 3, 4, 2, 5, 1).reshape(outputs, 3, 6, 6)


def _adapted(
    state: dict[str, Tensor], members: Sequence[Sequence[int]], inputs: int
) -> dict[str, Tensor]:
    """Return the weights for other classes and inputs."""
    stem = state['stem.0.weight']
    gray = stem.sum(1, keepdim=True)
    first = {1: gray, 2: torch.cat((gray, gray), 1) / 2, 4: torch.cat((stem, gray), 1) / 2}
    state['stem.0.weight'] = first.get(inputs, stem)
    for name in [name for name in state if '.classes.' in name]:
        old = state[name]
        # A new class starts at a probability of 0.0001 for any image, and learns from there.
        new = torch.zeros_like(old[:1]) if name.endswith('weight') else torch.full((1,), -9.2)
        rows = [old[list(found)] if found else new for found in members]
        state[name] = torch.cat(rows)
    return state
