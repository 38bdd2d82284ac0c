"""Save and load networks and unfinished runs as safetensors and JSON; nothing is unpickled."""

from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import asdict
import hashlib
import json
from pathlib import Path
from typing import Any
from typing import TypeVar

from safetensors import safe_open
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save
import torch
from torch import nn
from torch import Tensor

from tdfusion_ros import atomic
from tdfusion_ros.atomic import check_file
from tdfusion_ros.atomic import output_errors
from tdfusion_ros.atomic import write_file
from tdfusion_ros.atomic import write_json
from tdfusion_ros.backends.bundle import CONTRACT_FILE
from tdfusion_ros.backends.bundle import read_bundle
from tdfusion_ros.backends.torch_network import read_network
from tdfusion_ros.core.errors import ModelError
from tdfusion_ros.nets import perception
from tdfusion_ros.nets.detector import Detector
from tdfusion_ros.nets.fusion_paper import FusionPaper
from tdfusion_ros.nets.fusion_rt import FusionRT
from tdfusion_ros.nets.segmenter import Segmenter
from tdfusion_ros.nets.segmenter import SegmenterConfig
from tdfusion_ros.nets.yolox import Yolox
from training.config import RENAMED
from training.method.loss_net import LossNet
from training.method.loss_net import LossNetConfig
from training.method.loss_net import LossNetPaper
from training.method.loss_net import LossNetPaperConfig
from training.method.loss_net import LossNetRT

N = TypeVar('N', bound=nn.Module)
WEIGHTS = 'weights.safetensors'
DESCRIPTION = 'run.json'
UNFINISHED = 'unfinished.safetensors'
NETWORKS: dict[str, tuple[Any, Any]] = {
    **perception.NETWORKS,
    'segmenter': (Segmenter, SegmenterConfig),
    'loss_net_rt': (LossNetRT, LossNetConfig),
    'loss_net': (LossNetPaper, LossNetPaperConfig),
}
"""The class of each network that can be saved, and of its settings, by name."""


def architecture(network: Any) -> dict[str, Any]:
    """Return the name and the settings from which the network can be rebuilt."""
    name = next((name for name, (kind, _) in NETWORKS.items() if type(network) is kind), '')
    if not name:
        raise ValueError(f'{type(network).__name__} is not a network that can be saved')
    return {'name': name, **asdict(network.config)}


def make_folder(folder: str | Path) -> None:
    """Make a folder for results if there is none; FusionError if it cannot be written to."""
    if is_bundle(folder):
        raise ModelError(f'{folder} is a bundle: name another folder for results')
    with output_errors(Path(folder)):
        atomic.make_folder(Path(folder))
    check_file(Path(folder) / DESCRIPTION, overwrite=True)


def save_run(folder: str | Path, network: nn.Module, description: Mapping[str, Any]) -> None:
    """Write weights and their description; the description says how to rebuild the network."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / WEIGHTS, save(_on_cpu(network.state_dict())))
    content = {'architecture': architecture(network), **description}
    write_json(folder / DESCRIPTION, content)


def read_description(folder: str | Path) -> dict[str, Any]:
    """Return what ``save_run`` wrote next to the weights; ModelError if missing or damaged."""
    path = Path(folder) / DESCRIPTION
    if not is_run(folder):
        what = 'is a bundle' if is_bundle(folder) else f'has no {DESCRIPTION}'
        what = what if Path(folder).is_dir() else 'is no folder'
        raise ModelError(f'{folder} is not a finished training run: it {what}')
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ModelError(f'{path} is damaged ({error}): restore it or train again') from None


def is_run(folder: str | Path) -> bool:
    """Return whether a folder has a finished run."""
    return (Path(folder) / DESCRIPTION).is_file()


def is_bundle(folder: str | Path) -> bool:
    """Return whether a folder is a bundle, and not a run."""
    return (Path(folder) / CONTRACT_FILE).is_file()


def read_contract(folder: str | Path) -> dict[str, Any]:
    """Return the content of the contract of a bundle."""
    return json.loads((Path(folder) / CONTRACT_FILE).read_text(encoding='utf-8'))


def load_run(folder: str | Path) -> nn.Module:
    """Return the network of a run folder, ready for inference; ModelError if it is none."""
    with _reading(Path(folder)):
        network = perception.build_network(read_description(folder)['architecture'], NETWORKS)
        network.load_state_dict(_read_tensors(Path(folder) / WEIGHTS)[0])
    return network.eval()


def weights_hash(place: str | Path) -> str:
    """Return first digits of the SHA-256 of the weights of a run, or of a file; '' without."""
    path = Path(place) if Path(place).is_file() else Path(place) / WEIGHTS
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ''


def load_network(folder: str | Path, expected: type[N]) -> N:
    """Return the network of a run folder, of the expected class; else ModelError."""
    return _expect(folder, load_run(folder), (expected,), expected.__name__.lower())


def load_detector(folder: str | Path) -> Detector | Yolox:
    """Return the detector of a run folder, as ``load_network``, or of a bundle."""
    network = _of_bundle(folder, 'detector') or load_run(folder)
    return _expect(folder, network, (Detector, Yolox), 'detector')


def load_loss_net(folder: str | Path) -> LossNet:
    """Return the loss generator of a run folder; as ``load_network``."""
    return _expect(folder, load_run(folder), (LossNetRT, LossNetPaper), 'loss generator')


def load_fusion(folder: str | Path) -> FusionRT | FusionPaper:
    """Return the fusion network of a run folder, as ``load_network``, or of a bundle."""
    network = _of_bundle(folder, 'fusion') or load_run(folder)
    return _expect(folder, network, (FusionRT, FusionPaper), 'fusion network')


def _of_bundle(folder: str | Path, part: str) -> nn.Module | None:
    """Return a network of a bundle, ready for inference; None if the folder is none."""
    if not is_bundle(folder):
        return None
    bundle = read_bundle(Path(folder))
    return getattr(read_network(bundle.architecture, bundle.weights()).eval(), part)


def _expect(folder: str | Path, network: nn.Module, classes: tuple[Any, ...], what: str) -> Any:
    if not isinstance(network, classes):
        name = type(network).__name__
        raise ModelError(f'{folder} contains a {name}, not a {what}: choose another run')
    return network


def saved_steps(folder: str | Path) -> int:
    """Return the number of steps after which an interrupted run resumes; 0 if none is saved."""
    path = Path(folder) / UNFINISHED
    if not path.is_file():
        return 0
    with _reading(path):
        return json.loads(_read_tensors(path)[1]['progress'])['step']


Networks = Mapping[str, nn.Module]
Optimizers = Mapping[str, torch.optim.Optimizer]


def save_unfinished(
    folder: Path,
    progress: Mapping[str, Any],
    networks: Networks,
    optimizers: Optimizers,
    identity: Mapping[str, Any],
) -> None:
    """
    Write the state that a run needs to resume as if it had never stopped, on any device.

    Random numbers are not part of it: each step seeds its own by its number.

    :param progress: how far the run is (JSON), returned by ``load_unfinished``.
    :param identity: what must be the same to resume (JSON), such as the settings of the run.
    """
    tensors: dict[str, Tensor] = {}
    for name, network in networks.items():
        for key, value in _on_cpu(network.state_dict()).items():
            tensors[f'network/{name}/{key}'] = value
    for name, optimizer in optimizers.items():
        for index, state in optimizer.state_dict()['state'].items():
            for key, value in _on_cpu(state).items():
                tensors[f'optimizer/{name}/{index}/{key}'] = value
    notes = {'progress': json.dumps(progress), 'facts': json.dumps(identity)}
    write_file(folder / UNFINISHED, save(tensors, notes))


def load_unfinished(
    folder: Path, networks: Networks, optimizers: Optimizers, identity: Mapping[str, Any]
) -> dict[str, Any]:
    """Load the state of an interrupted run; return its ``progress`` or {}, or raise ModelError."""
    if is_run(folder):
        raise ModelError(f'{folder} contains a finished run: choose another run=FOLDER')
    path = folder / UNFINISHED
    if not path.is_file():
        return {}
    tensors, notes = _read_tensors(path)
    with _reading(path):
        stored, progress = (dict(json.loads(notes[n])) for n in ('facts', 'progress'))
    before = {RENAMED.get(name, name): value for name, value in stored.items()}
    if different := [
        f'{name} was {before[name]}, is {now}'
        for name, now in json.loads(json.dumps(identity)).items()
        if before.get(name, now) != now  # a setting that is new since then is no difference
    ]:
        raise ModelError(
            f'{folder} was started with other settings: {"; ".join(different)}. Resume it with '
            'the same, or choose another run=FOLDER'
        )
    with _reading(path):
        for name, network in networks.items():
            network.load_state_dict(_below(tensors, f'network/{name}/'))
        for name, optimizer in optimizers.items():
            state: dict[int, dict[str, Tensor]] = {}
            for place, value in _below(tensors, f'optimizer/{name}/').items():
                index, _, key = place.partition('/')
                state.setdefault(int(index), {})[key] = value
            groups = optimizer.state_dict()['param_groups']
            optimizer.load_state_dict({'state': state, 'param_groups': groups})
            for p, values in optimizer.state.items():
                # A fused optimizer takes all for in one order: that of the weights in memory.
                laid_out = {k: torch.empty_like(p).copy_(v) for k, v in values.items() if v.ndim}
                values.update(laid_out)
    return progress


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what torch raises for a file of other networks or another version into ModelError."""
    try:
        yield
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        raise ModelError(
            f'{path} does not fit these networks and settings ({error}): it is of another version '
            'or damaged; choose another run, or train again'
        ) from None


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a safetensors file and its metadata, or raise ModelError."""
    try:
        with safe_open(path, 'pt') as file:
            return load_file(path), file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f'{path} cannot be read ({error}): restore it, or delete it and train again'
        ) from None


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.cpu().contiguous() for name, value in tensors.items()}


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    named = ((name.removeprefix(prefix), name) for name in tensors if name.startswith(prefix))
    return {short: tensors[name] for short, name in named}
