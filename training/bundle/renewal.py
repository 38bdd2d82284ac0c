"""Export a bundle again: the same weights and history, with the graph of this version."""

from collections.abc import Mapping
import json
from pathlib import Path
from typing import Any

from tdfusion_ros.backends.bundle import CONTRACT_FILE
from tdfusion_ros.backends.bundle import read_bundle
from tdfusion_ros.backends.torch_network import read_network
from tdfusion_ros.core.errors import ModelError
from tdfusion_ros.nets.perception import Perception

KEPT = ('training', 'licence')


def is_bundle(folder: str) -> bool:
    """Return whether a folder is a bundle, and not a run."""
    return (Path(folder) / CONTRACT_FILE).is_file()


def read(folder: str) -> tuple[Perception, tuple[str, ...]]:
    """Return network and class names of a bundle; ModelError if damaged."""
    bundle = read_bundle(Path(folder))
    model = read_network(bundle.architecture, bundle.weights())
    return model.eval(), bundle.contract.classes


def facts(folder: str) -> dict[str, Any]:
    """Return the training facts and the license of a bundle; ModelError if it has none."""
    contract = _contract(folder)
    if missing := [key for key in KEPT if key not in contract]:
        raise ModelError(f'{folder}/{CONTRACT_FILE} has no {missing[0]}; export its run instead')
    return {key: contract[key] for key in KEPT}


def fusion_history(folder: str) -> tuple[list[dict[str, Any]], dict[str, Any], list[str]]:
    """Return what a bundle says about its fusion network: runs, contents of data, missing runs."""
    training = _contract(folder).get('training', {})
    runs = [*training.get('before', []), *filter(None, [training.get('fusion')])]
    return runs, training.get('data', {}), training.get('missing', [])


def evaluation_facts(folder: str, measure_on: tuple[str, str]) -> dict[str, Any]:
    """Return as ``history`` whether figures may be too good, as the bundle's contract says."""
    root, split = measure_on
    name = Path(root).resolve().name
    before: Mapping[str, Any] = _contract(folder).get('metrics', {}).get('on', {})
    known = before.get('data') == name and before.get('split') == split
    trained_on, chose = (before['trained_on'], before['chose']) if known else (None, False)
    return {'data': name, 'split': split, 'trained_on': trained_on, 'chose': chose}


def _contract(folder: str) -> dict[str, Any]:
    return json.loads((Path(folder) / CONTRACT_FILE).read_text(encoding='utf-8'))
