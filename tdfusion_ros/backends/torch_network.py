"""The network of a bundle in torch: rebuilt from its contract, folded, in half precision."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from safetensors.torch import load
import torch
from torch import nn
from torch import Tensor

from tdfusion_ros.core.errors import ModelError
from tdfusion_ros.nets.blocks import fold_batchnorm
from tdfusion_ros.nets.detector import Detector
from tdfusion_ros.nets.fusion_paper import FusionPaper
from tdfusion_ros.nets.fusion_rt import FusionRT
from tdfusion_ros.nets.perception import build_perception
from tdfusion_ros.nets.perception import Perception
from tdfusion_ros.nets.yolox import Yolox

MAX_SETTING = 4096  # of any width, depth or number of classes


class Cast(nn.Module):
    """Convert a tensor to another type, where a half-precision part begins or ends."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self.dtype)


class _HalfNeck(nn.Module):
    """A neck that runs in half precision on features of any precision."""

    def __init__(self, neck: nn.Module) -> None:
        super().__init__()
        self.neck = neck.half()

    def forward(self, *levels: Tensor) -> tuple[Tensor, ...]:
        halves: tuple[Tensor, ...] = self.neck(*(level.half() for level in levels))
        return halves


def load_network(architecture: Mapping[str, Any], weights: bytes) -> Perception:
    """Return as :func:`read_network`, folded for inference."""
    model = read_network(architecture, weights)
    fold_batchnorm(model).requires_grad_(False)
    return model


def read_network(architecture: Mapping[str, Any], weights: bytes) -> Perception:
    """
    Rebuild the network of a bundle, in float32 on the CPU; nothing in it is executed.

    :raises ModelError: if the weights do not fit the architecture.
    """
    try:
        _check_size(architecture, len(weights))
        model, state = build_perception(architecture), load(weights)
    except Exception as error:  # safetensors, torch and a misspelled setting have no common base
        raise ModelError(
            f'architecture and weights of the bundle do not fit: {error}; restore the bundle'
        ) from error
    found, expected = (
        {name: tuple(value.shape) for name, value in values.items()}
        for values in (state, model.state_dict())
    )
    if found != expected:
        first, *others = sorted(dict(found.items() ^ expected.items()))
        raise ModelError(
            f'the weights of the bundle do not fit the networks of this version ({first} and '
            f'{len(others)} others differ): train the model again'
        )
    model.load_state_dict(state)
    return model


def _check_size(architecture: Mapping[str, Any], length: int) -> None:
    """Refuse settings that cannot fit the weights, before memory is allocated for them."""
    for settings in architecture.values():
        for name, value in settings.items():
            numbers = value if isinstance(value, list) else [value]
            if any(isinstance(n, (int, float)) and not 0 <= n <= MAX_SETTING for n in numbers):
                raise ValueError(f'{name} must be 0 to {MAX_SETTING}, got {value!r}')
    with torch.device('meta'):
        needed = sum(t.numel() for t in build_perception(architecture).state_dict().values())
    if needed > length:  # a number takes two bytes or more
        raise ValueError(f'{needed} numbers are needed, the weights have {length} bytes')


def to_half(model: Perception) -> Perception:
    """
    Convert the convolutions to half precision, in place, and return the model.

    What stays in float32, and why:

    * color and the blend: the output has 8 bits, and the blend divides by squares of details,
      which are too small for half precision;
    * means over the scene and over wide cells: the sum of a million pixels is infinite in half;
    * the backbone of ``Yolox``: its first layers read gray levels up to 255, which biases as large
      cancel, so that rounding them to 11 bits moves scores by 0.05 and boxes by 2 px; with the
      first layers and the steps in float32, the rest of it still moves scores by 0.015;
    * softplus or exp of the box borders, and the box corners: the step of half is 0.5 px at 600;
    * in the paper's network all except the convolutions. Its attention normalizes over all pixels:
      the sum of squares of a 480x640 map, about 307200, is infinite in half, and the eps of 1e-12
      is zero, so that a black frame divides 0 by 0;
    * the mask head, whose finest features are of the first layers.

    :raises ModelError: if the bundle has other networks.
    """
    fusion, detector = model.fusion, model.detector
    if isinstance(fusion, FusionRT):
        fusion.body.half()[0] = _from_half_input(fusion.body[0])
        fusion.add_module('head', nn.Sequential(fusion.head.half(), Cast(torch.float32)))
        fusion.last = Cast(torch.float32)
    elif isinstance(fusion, FusionPaper):
        _convolutions_to_half(fusion)
    if isinstance(fusion, FusionRT | FusionPaper) and isinstance(detector, Detector | Yolox):
        if isinstance(detector, Yolox):
            detector.add_module('neck', _HalfNeck(detector.neck))
            detector.heads.half()
        else:
            detector.half().stages[0] = _from_half_input(detector.stages[0])
        return model
    raise ModelError('half precision is not known for the networks of this bundle; use cpu')


@torch.no_grad()
def round_weights(model: Perception) -> None:
    """
    Round what :func:`to_half` converts, in place, so that all backends have the same weights.

    Rounding them moves scores by 0.015, and of the same places in every frame; rounding of the
    maps, which is left, by 0.007. What a convolution has in BatchNorm is rounded before folding.
    """
    halves = to_half(deepcopy(model)).parameters()
    for exact, half in zip(model.parameters(), halves, strict=True):
        exact.copy_(half)


def lay_out(model: Perception) -> Perception:
    """
    Return a network in half precision with the memory layout that is faster on a GPU.

    Measured on an H200 at 640x480, channels last against contiguous: the real-time network 0.64
    and 0.87 ms, the paper's network 88.7 and 18.8 ms.
    """
    if isinstance(model.fusion, FusionRT):
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def export(model: Perception, size_hw: tuple[int, int]) -> torch.export.ExportedProgram:
    """
    Export a network for one size, with float32 where it has uint8: (H, W, 3) in [0, 255].

    Torch-TensorRT converts no cast to uint8, in any version (``to_copy_dtype_validator``, read at
    v2.8.0 to v2.13.0), so the last ones, of the fused image and of the masks, are removed and the
    caller of the engine does them. All else is in the engine, rounding included.

    :raises ModelError: if the network does not end in that cast.
    """
    device = next(model.parameters()).device
    inputs = tuple(torch.rand(*size_hw, *last, device=device) for last in ((3,), (), ()))
    with torch.no_grad():
        program = torch.export.export(model.eval(), inputs)
    graph = program.graph_module.graph
    (output,) = graph.find_nodes(op='output')
    for cast in (output.args[0][0], *output.args[0][3:]):
        if torch.uint8 not in cast.args or cast.args[0].meta['val'].dtype != torch.float32:
            raise ModelError(f'the network ends in {cast.format_node()}, not in a cast to uint8')
        cast.replace_all_uses_with(cast.args[0])
        graph.erase_node(cast)
    program.graph_module.recompile()
    return program


def _from_half_input(layer: nn.Module) -> nn.Sequential:
    return nn.Sequential(Cast(torch.half), layer)


def _convolutions_to_half(module: nn.Module) -> None:
    """Cast before and after each convolution, or chain of them; leave the rest as it is."""
    for name, child in list(module.named_children()):
        chain = list(child) if isinstance(child, nn.Sequential) else [child]
        if all(isinstance(part, nn.Conv2d) for part in chain):
            layers = (part.half() for part in chain)
            cast_back = Cast(torch.float32)
            setattr(module, name, nn.Sequential(Cast(torch.half), *layers, cast_back))
        else:
            _convolutions_to_half(child)
