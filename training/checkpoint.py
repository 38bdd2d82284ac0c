"""Save and load networks as safetensors and JSON; nothing is ever unpickled."""

from collections.abc import Mapping
from dataclasses import asdict
import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from safetensors.torch import save_file
from torch import nn

from tdfusion_ros.core.errors import ModelError
from tdfusion_ros.nets.detector import Detector
from tdfusion_ros.nets.fusion_rt import FusionRT
from tdfusion_ros.nets.perception import build_network

WEIGHTS = 'weights.safetensors'
DESCRIPTION = 'run.json'


def architecture(network: nn.Module) -> dict[str, Any]:
    """Return the name and the settings from which ``build_network`` makes the network again."""
    if isinstance(network, FusionRT):
        return {'name': 'fusion_rt', **asdict(network.config)}
    if isinstance(network, Detector):
        return {'name': 'detector', **asdict(network.config)}
    raise ValueError(f'{type(network).__name__} is not a network that can be saved')


def save_run(folder: str | Path, network: nn.Module, description: Mapping[str, Any]) -> None:
    """Write weights and their description; the description says how to rebuild the network."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(state, folder / WEIGHTS)
    content = {'architecture': architecture(network), **description}
    (folder / DESCRIPTION).write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')


def read_description(folder: str | Path) -> dict[str, Any]:
    """Return what ``save_run`` wrote beside the weights."""
    path = Path(folder) / DESCRIPTION
    if not path.is_file():
        raise ModelError(f'{path} is missing: {folder} is not a finished training run')
    return json.loads(path.read_text(encoding='utf-8'))


def load_run(folder: str | Path) -> FusionRT | Detector:
    """Return the network of a run folder, ready for inference."""
    network = build_network(read_description(folder)['architecture'])
    network.load_state_dict(load_file(Path(folder) / WEIGHTS))
    return network.eval()
