"""The model contract: what a bundle states about its graph, read from ``model.json``."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
import json
import re
from typing import Any

from tdfusion_ros.core.errors import ModelError

SCHEMA = 1
GRAPH_FILE = 'model.onnx'
DETECTOR_FILE = 'detector.onnx'  # without the fused image; older bundles do not have it
UNMASKED_FILE = 'unmasked.onnx'  # without the masks; only bundles with masks have it
HALF_FILE = 'half.onnx'  # the graph in half precision, for TensorRT; as above
INPUTS: dict[str, tuple[list[str | int], str]] = {
    'rgb': (['H', 'W', 3], 'uint8'),
    'ir': (['H', 'W'], 'float32'),
    'coverage': (['H', 'W'], 'float32'),
}
OLDER_INPUTS = {name: INPUTS[name] for name in ('rgb', 'ir')}  # of bundles of earlier versions
OUTPUTS: dict[str, tuple[list[str | int], str]] = {
    'fused': (['H', 'W', 3], 'uint8'),
    'boxes_xyxy': (['A', 4], 'float32'),
    'scores': (['A', 'C'], 'float32'),
}
SEGMENTATION: dict[str, tuple[list[str | int], str]] = {
    'segmentation': (['H', 'W'], 'uint8'),  # of a bundle with a segmenter, last
}


@dataclass(frozen=True)
class Contract:
    """
    The part of ``model.json`` that is needed to run the model.

    The graph takes ``rgb`` (H, W, 3) uint8, ``ir`` (H, W) float32 in [0, 1], white-hot, and
    ``coverage`` (H, W) float32 in [0, 1], and returns ``fused`` (H, W, 3) uint8, ``boxes_xyxy``
    (A, 4) float32 in pixels and ``scores`` (A, C) float32; H and W are multiples of
    ``size_multiple``. ``sha256`` has the hash of each file by name. An older graph has no
    ``coverage`` among its ``inputs`` and fuses as if the thermal camera saw everywhere.

    With ``mask_classes`` it also returns ``segmentation`` (H, W) uint8, indices into them, where 0
    is the background.
    """

    name: str
    size_multiple: int
    classes: tuple[str, ...]
    sha256: Mapping[str, str]
    inputs: tuple[str, ...] = tuple(INPUTS)
    mask_classes: tuple[str, ...] = ()

    @property
    def reads_coverage(self) -> bool:
        """Whether the graph composites by coverage; else the caller does."""
        return 'coverage' in self.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of what the graph returns."""
        return tuple(outputs_of(self.mask_classes))


def outputs_of(mask_classes: Sequence[str]) -> dict[str, tuple[list[str | int], str]]:
    """Return the outputs of a graph with masks of these classes, or without masks."""
    return OUTPUTS | SEGMENTATION if mask_classes else OUTPUTS


def parse_contract(text: str) -> Contract:
    """Return the contract in ``model.json``; ModelError if this version cannot run it."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f'model.json is not JSON: {error}') from None
    schema = raw.get('schema') if isinstance(raw, dict) else None
    if schema != SCHEMA:
        raise ModelError(f'model.json must have schema {SCHEMA}, got {schema!r}; export it again')
    inputs = _signature(raw, 'inputs', INPUTS, OLDER_INPUTS)
    masks = _names(raw, 'mask_classes') if 'mask_classes' in raw else ()
    _signature(raw, 'outputs', outputs_of(masks))
    thermal, name, multiple = (raw.get(key) for key in ('thermal', 'name', 'size_multiple'))
    _require(
        isinstance(thermal, dict) and thermal.get('polarity') == 'white_hot',
        "thermal.polarity must be 'white_hot'",
    )
    _require(
        isinstance(name, str) and bool(re.fullmatch(r'[\w.-]{1,64}', name)),
        f'name must be a short word, got {name!r}',
    )
    _require(
        type(multiple) is int and 1 <= multiple <= 256,
        f'size_multiple must be 1 to 256, got {multiple!r}',
    )
    classes, files = _names(raw, 'classes'), raw.get('files')
    _require(
        isinstance(files, dict)
        and GRAPH_FILE in files
        and all(isinstance(v, str) and re.fullmatch(r'[0-9a-f]{64}', v) for v in files.values()),
        f'files must give the sha256 of {GRAPH_FILE}',
    )
    return Contract(name, multiple, classes, files, inputs, masks)


def verify(contract: Contract, file_name: str, content: bytes) -> None:
    """Raise ModelError for a file whose hash differs from the contract."""
    found = sha256(content).hexdigest()
    if found != contract.sha256.get(file_name):
        raise ModelError(
            f'{file_name} is not the file of model.json (sha256 {found[:12]}…); restore the bundle'
        )


def _names(raw: Mapping[str, Any], key: str) -> tuple[str, ...]:
    found = raw.get(key)
    _require(
        isinstance(found, list)
        and found != []
        and all(isinstance(n, str) and n and n.isprintable() for n in found)
        and len(set(found)) == len(found),
        f'{key} must be a list of different names, got {found!r}',
    )
    return tuple(found or ())


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ModelError(f'model.json: {message}')


def _signature(raw: Mapping[str, Any], key: str, *known: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of tensors, or raise ModelError unless they have a known signature."""
    try:
        found = [(t['name'], (t['shape'], t['dtype'])) for t in raw[key]]
    except (TypeError, KeyError):
        raise ModelError(f'model.json: {key} must list name, shape and dtype') from None
    for signature in known:
        if found == list(signature.items()):
            return tuple(signature)
    raise ModelError(f'model.json: {key} must be {known[0]}, got {found}')
