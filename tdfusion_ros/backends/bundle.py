"""A model bundle as backends read it: contract, graphs, weights; and writing its contract."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
import json
from pathlib import Path
import re
from typing import Any

from tdfusion_ros.atomic import write_file
from tdfusion_ros.core.contract import Contract
from tdfusion_ros.core.contract import DETECTOR_FILE
from tdfusion_ros.core.contract import GRAPH_FILE
from tdfusion_ros.core.contract import HALF_FILE
from tdfusion_ros.core.contract import INPUTS
from tdfusion_ros.core.contract import outputs_of
from tdfusion_ros.core.contract import parse_contract
from tdfusion_ros.core.contract import SCHEMA
from tdfusion_ros.core.contract import UNMASKED_FILE
from tdfusion_ros.core.contract import verify
from tdfusion_ros.core.errors import ModelError

# How ONNX names another file with weights: an entry of TensorProto.external_data, whose field 1 is
# the key. Protocol buffers may write a number in more bytes than it needs.
EXTERNAL_KEY = re.compile(rb'(?:\x0a|\x8a\x80*\x00)(?:\x08|\x88\x80*\x00)location')
GRAPH_FILES = (GRAPH_FILE, DETECTOR_FILE, UNMASKED_FILE, HALF_FILE)
CONTRACT_FILE = 'model.json'
WEIGHTS_FILE = 'weights.safetensors'
RANGES = {'rgb': [0, 255], 'ir': [0, 1], 'coverage': [0, 1]}


@dataclass(frozen=True)
class Bundle:
    """
    A verified bundle: the contents of its graphs, None for one that it does not have.

    :param half_graph: as ``graph`` but in half precision, for TensorRT.
    :param architecture: ``fusion`` and ``detector`` with their settings; empty if the contract has
        none, then only backends that read ``graph`` can run the bundle.
    """

    folder: Path
    contract: Contract
    graph: bytes
    detector_graph: bytes | None
    unmasked_graph: bytes | None
    half_graph: bytes | None
    architecture: Mapping[str, Any]

    @property
    def engine_graph(self) -> bytes:
        """Return the graph to build engines from: in half precision, if the bundle has it."""
        return self.half_graph or self.graph

    def weights(self) -> bytes:
        """Return the content of ``weights.safetensors``; ModelError if the hash differs."""
        try:
            content = (self.folder / WEIGHTS_FILE).read_bytes()
        except OSError as error:
            raise ModelError(f'the weights cannot be read: {error}') from None
        verify(self.contract, WEIGHTS_FILE, content)
        return content


def read_bundle(folder: Path) -> Bundle:
    """
    Read a bundle and verify its graphs; the weights are read when they are needed.

    :raises ModelError: if a file is missing, or not the file that the contract describes.
    """
    try:
        text = (folder / CONTRACT_FILE).read_text(encoding='utf-8')
        contract = parse_contract(text)
        graphs = {
            name: (folder / name).read_bytes() for name in GRAPH_FILES if name in contract.sha256
        }
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f'model bundle {folder} cannot be read: {error}') from None
    for name, content in graphs.items():
        verify(contract, name, content)
        _refuse_other_files(folder / name, content)
    architecture = json.loads(text).get('architecture')
    return Bundle(
        folder,
        contract,
        graph=graphs[GRAPH_FILE],
        detector_graph=graphs.get(DETECTOR_FILE),
        unmasked_graph=graphs.get(UNMASKED_FILE),
        half_graph=graphs.get(HALF_FILE),
        architecture=architecture if isinstance(architecture, dict) else {},
    )


def write_contract(folder: Path, size_multiple: int, facts: Mapping[str, Any]) -> dict[str, Any]:
    """
    Write and return the contract of the bundle whose files are in ``folder``.

    :param facts: its entries besides the interface; ``classes`` at least, and ``mask_classes`` if
        the graph has masks.
    """
    files = (*GRAPH_FILES, WEIGHTS_FILE)
    contract = {
        'schema': SCHEMA,
        'name': folder.name,
        'size_multiple': size_multiple,
        'inputs': [
            {'name': name, 'shape': shape, 'dtype': dtype, 'range': RANGES[name]}
            for name, (shape, dtype) in INPUTS.items()
        ],
        'outputs': [
            {'name': name, 'shape': shape, 'dtype': dtype}
            for name, (shape, dtype) in outputs_of(facts.get('mask_classes', ())).items()
        ],
        'thermal': {
            'polarity': 'white_hot',
            'eight_bit': 'value / 255',
            'sixteen_bit': 'percentile',
        },
        **facts,
        'files': {
            file: sha256((folder / file).read_bytes()).hexdigest()
            for file in files
            if (folder / file).is_file()
        },
    }
    text = json.dumps(contract, indent=2, allow_nan=False)
    parse_contract(text)
    write_file(folder / CONTRACT_FILE, text + '\n')
    return contract


def _refuse_other_files(path: Path, graph: bytes) -> None:
    """Refuse a graph with weights in another file, which no hash covers."""
    if EXTERNAL_KEY.search(graph):
        raise ModelError(
            f'{path} has weights in another file, which its hash does not cover; save the graph '
            'with its weights inside (onnx.save without external data; no input may be called '
            "'location')"
        )
