"""The history of a bundle: its runs, the runs that they started from, and their data."""

from collections import Counter
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
import subprocess
from typing import Any

from tqdm import tqdm

from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.errors import ModelError
from training.checkpoint import is_bundle
from training.checkpoint import is_run
from training.checkpoint import read_contract
from training.checkpoint import read_description
from training.config import NETWORK_RUNS
from training.data.boxes import IGNORED
from training.data.mixture import Data
from training.data.mixture import is_mixture
from training.data.mixture import Mixture
from training.data.mixture import open_data
from training.method.pretrained import is_pretrained

Description = dict[str, Any]

MEAN_OF = 'mean_of'
"""Entry of a description: the other runs that were averaged into its weights."""


def required_runs(run: str, fusion_run: str = '') -> list[str]:
    """Return the runs that a run read; ``fusion_run``: if not what its settings name."""
    description = read_description(run)
    config = description['config']
    if fusion_run:
        config['fusion'] = fusion_run
    names = [config[key] for key in NETWORK_RUNS if config.get(key)]
    names += description.get(MEAN_OF, [])
    return [name for name in names if not is_pretrained(name)]


def ancestors(run: str, fusion_run: str = '') -> list[str]:
    """Return the available runs that led to a run, oldest first; the run itself is last."""
    found = [name for name in required_runs(run, fusion_run) if is_run(name)]
    return list(dict.fromkeys([a for name in found for a in ancestors(name)] + [run]))


def without_paths(description: Mapping[str, Any]) -> Description:
    """Return the description of a run without folders of this machine."""
    config = dict(description['config'])
    config['data'] = Path(config['data']).name
    config |= {key: _short_path(config[key]) for key in ('run', *NETWORK_RUNS) if config.get(key)}
    rest = {k: v for k, v in description.items() if k not in ('architecture', MEAN_OF)}
    return {**rest, 'config': config}


def _short_path(run: str) -> str:
    if not Path(run).is_absolute():
        return run
    if is_bundle(run):
        return f'models/{Path(run).name}'
    return Path(run).name if is_pretrained(run) else f'runs/{Path(run).name}'


def training_pairs(description: Mapping[str, Any], elsewhere: str = '') -> Data | None:
    """
    Return the pairs that a run was trained on; None if they are missing or have changed.

    :param elsewhere: a folder that is used if it has the name of the data set: the data moved.
    """
    config = description['config']
    roots = [Path(config['data'])]
    if elsewhere and Path(elsewhere).resolve().name == roots[0].name:
        roots.insert(0, Path(elsewhere))
    try:
        data = open_data(next(filter(Path.exists, roots), roots[-1]), config['split'])
    except FusionError:
        return None
    data = data[: config['limit'] or None]
    return data if len(data) == description['pairs'] else None


def contents(data: Data) -> dict[str, Any]:
    """
    Return the numbers of pairs by size, light and source, and of boxes by class.

    Of a mixture also its data sets, and which detector drew their boxes, if one did.
    """
    sizes: Counter[str] = Counter()
    boxes: Counter[str] = Counter(dict.fromkeys(data.classes, 0))
    strata: dict[str, Counter[str]] = {}
    for sample in tqdm(data, unit='pair', disable=None):
        sizes[f'{sample.ir.shape[1]}x{sample.ir.shape[0]}'] += 1
        boxes.update(data.classes[i] for i in sample.class_ids if i != IGNORED)
        for kind, value in sample.strata.items():
            strata.setdefault(kind, Counter())[value] += 1
    parts = {kind: dict(counts.most_common()) for kind, counts in strata.items()}
    sets: dict[str, Any] = {}
    if isinstance(data, Mixture):
        sets['sets'] = [part.name for part in data.parts]
        sets['pseudo_labels'] = {
            part.name: origin for part in data.parts if (origin := part.data.label_origin)
        }
    return {'pairs': len(data), **sets, 'sizes': dict(sizes), **parts, 'boxes': dict(boxes)}


def training_facts(lineage: Sequence[str], fusion_run: str, elsewhere: str) -> dict[str, Any]:
    """
    Return what is known about the training of a bundle, for its contract.

    :param lineage: all available runs that led to it, the detector's last.
    :param fusion_run: the run of the fusion network, or a bundle that it is of.
    :param elsewhere: another folder in which the data may be now.
    :raises ModelError: if the bundle does not say how its fusion network was trained.
    """
    descriptions = {run: read_description(run) for run in lineage}
    before: list[Description] = []
    data: dict[str, Any] = {}
    missing: list[str] = []
    starts = [run['config'].get('pretrained') for run in descriptions.values()]
    for name in missing_runs(lineage, fusion_run):
        if not is_bundle(name):
            missing.append(_short_path(name))
            continue
        known = read_contract(name).get('training', {})  # a bundle knows its history
        used = ('fusion', 'detector') if name in starts else ('fusion',)
        runs = [*known.get('before', []), *(known[part] for part in used if part in known)]
        before += runs
        data |= {data_name(run): known.get('data', {}).get(data_name(run)) for run in runs}
        missing += known.get('missing', [])
    data |= data_facts(descriptions.values(), elsewhere)
    if is_bundle(fusion_run):
        fusion = read_contract(fusion_run).get('training', {}).get('fusion')
        if fusion is None:
            raise ModelError(f'{fusion_run}/model.json does not say how its fusion was trained')
        before = [run for run in before if run != fusion]
    else:
        fusion = without_paths(descriptions.pop(fusion_run))
    return {
        'git_commit': git_commit(),
        'fusion': fusion,
        'fusion_source': _short_path(fusion_run),
        'detector': without_paths(descriptions.pop(lineage[-1])),
        'before': before + [without_paths(description) for description in descriptions.values()],
        'missing': missing,
        'data': data,
    }


def data_facts(descriptions: Iterable[Description], elsewhere: str) -> dict[str, Any]:
    """Return the contents of the training data of runs by name; None if not available."""
    data: dict[str, Any] = {}
    for description in descriptions:
        if data.get(data_name(description)) is None:
            pairs = training_pairs(description, elsewhere)
            data[data_name(description)] = None if pairs is None else contents(pairs)
    return data


def with_run(training: Mapping[str, Any], run: str, elsewhere: str) -> dict[str, Any]:
    """Return the facts of a bundle to which the network of a run and its ancestors are added."""
    found = [read_description(name) for name in ancestors(run)]
    known = [training['fusion'], training['detector'], *training['before']]
    added = [d for d in map(without_paths, found) if d not in known]
    data = data_facts(found, elsewhere) | training['data']
    return {**training, 'before': [*training['before'], *added], 'data': data}


def missing_runs(lineage: Sequence[str], fusion_run: str) -> list[str]:
    """Return the runs that others name but that are not available, so their data are unknown."""
    wanted = required_runs(lineage[-1], fusion_run)
    wanted += [name for run in lineage[:-1] for name in required_runs(run)]
    return list(dict.fromkeys(name for name in wanted if not is_run(name)))


def data_name(description: Mapping[str, Any]) -> str:
    """Return the name of the training pairs of a run: data set, split, and limit if any."""
    config = description['config']
    first = f', first {config["limit"]}' if config['limit'] else ''
    return f'{Path(config["data"]).name}/{config["split"]}{first}'


def evaluation_facts(
    measure_on: tuple[str, str], data: Data, run: str, fusion_run: str = ''
) -> dict[str, Any]:
    """
    Return what a bundle is measured on, and whether the figures may be too good.

    :param measure_on: folder of the data set, and split.
    :param run: of the detector; or a bundle, whose contract may know.
    :returns: ``data``, ``split``; ``trained_on``: number of pairs that some run was trained on,
        None if unknown; ``chose``: whether weights were selected by their figure on this split.
    """
    root, split = measure_on
    name = Path(root).resolve().name
    found: dict[str, Any] = {'data': name, 'split': split, 'trained_on': None, 'chose': False}
    if is_bundle(run):
        before = read_contract(run).get('metrics', {}).get('on', {})
        known = (before.get('data'), before.get('split')) == (name, split)
        return {key: before[key] for key in found} if known else found
    lineage = ancestors(run, fusion_run)
    every = [(run, Path(run['config']['data']).name) for run in map(read_description, lineage)]
    runs = [run for run, data_set in every if data_set == name or is_mixture(data_set)]
    learned = [learned_names(run, root) for run in runs]
    if not missing_runs(lineage, fusion_run) and None not in learned:
        names = {name for names in learned if names is not None for name in names}
        found['trained_on'] = len(names & set(data.names))
    return found | {'chose': any(run.get('best', {}).get('split') == split for run in runs)}


def learned_names(run: Mapping[str, Any], root: str) -> set[str] | None:
    """Return the names of the pairs of a data set that a run was trained on; None: unknown."""
    name, pairs = Path(root).resolve().name, training_pairs(run, root)
    if pairs is None or Path(run['config']['data']).name == name:
        return None if pairs is None else set(pairs.names)
    return {n.removeprefix(f'{name}/') for n in pairs.names if n.startswith(f'{name}/')}


def git_commit() -> str:
    """Return the commit of this code, with ``-dirty`` if files changed since, or ``unknown``."""
    folder = str(Path(__file__).parent)
    words = ['git', '-C', folder, 'describe', '--match=', '--always', '--abbrev=40', '--dirty']
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return 'unknown'
    return done.stdout.strip() if done.returncode == 0 else 'unknown'
