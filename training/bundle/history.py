"""Where a bundle comes from: its runs, the runs before those, and the data of all of them."""

from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import fields
import json
from pathlib import Path
import subprocess
from typing import Any

from tqdm import tqdm

from tdfusion_ros.core.errors import FusionError
from training.checkpoint import DESCRIPTION
from training.checkpoint import read_description
from training.config import EXECUTION
from training.config import NETWORK_RUNS
from training.config import recorded_settings
from training.config import TASKS
from training.data.datasets import DataSet
from training.data.datasets import open_dataset
from training.markdown import lasting
from training.markdown import spelt

Description = dict[str, Any]

CARRIED_OUT = ('run', *EXECUTION)
"""Settings that say how a run is carried out, not what it is; ``run`` is said last."""
ELSEWHERE = ('task', 'source', 'data', 'split', 'limit', 'network', 'segmenter_channels')
"""Settings that a card tells in other words."""
FACTS = {
    'device': 'What it was trained on.',
    'torch': 'Version of torch.',
    'git_commit': 'Version of this code.',
}


def named(run: str, fusion_run: str = '') -> list[str]:
    """
    Return the runs that a run needed or started from.

    :param fusion_run: the fusion network before it, if not the one that its settings name.
    """
    config = read_description(run)['config']
    if fusion_run:
        config['fusion'] = fusion_run
    return [config[key] for key in NETWORK_RUNS if config.get(key)]


def ancestors(run: str, fusion_run: str = '') -> list[str]:
    """Return the runs that led to a run, as far as they are at hand, in order; itself last."""
    there = [name for name in named(run, fusion_run) if (Path(name) / DESCRIPTION).is_file()]
    return list(dict.fromkeys([a for name in there for a in ancestors(name)] + [run]))


def public(description: Mapping[str, Any]) -> Description:
    """Return a run's description without where things lay on the machine: nobody's business."""
    config = dict(description['config'])
    config['data'] = Path(config['data']).name
    config |= {key: _alias(config[key]) for key in ('run', *NETWORK_RUNS) if config.get(key)}
    rest = {key: value for key, value in description.items() if key != 'architecture'}
    return {**rest, 'config': config}


def _alias(run: str) -> str:
    return f'runs/{Path(run).name}' if Path(run).is_absolute() else run


def command(config: Mapping[str, Any]) -> list[str]:
    """
    Return the words of the command that trains a run again.

    :param config: as ``public`` gives it. Every setting that is not the default is written.
    """
    usual = {field.name: field.default for field in fields(TASKS[config['task']])}
    usual = json.loads(json.dumps(usual | {'task': 'fusion'}))
    told = {
        key: json.dumps(value, separators=(',', ':')) if isinstance(value, list) else value
        for key, value in recorded_settings(config).items()
        if key not in CARRIED_OUT and value != usual[key]
    }
    told |= {'data': f'DATA/{config["data"]}', 'run': config['run']}
    return ['python', '-m', 'training.train', *(f'{key}={value}' for key, value in told.items())]


def settings(descriptions: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return a row for each setting that matters to one of the runs: name, values, meaning."""
    rows = [
        ['data', *(f'`{name_of(d)}`' for d in descriptions), 'What it was trained on.'],
        ['pairs', *(str(d['pairs']) for d in descriptions), 'Number of them.'],
        ['weights', *(kept(d) for d in descriptions), 'Which running average of them was kept.'],
    ]
    hidden = {*ELSEWHERE, *NETWORK_RUNS, *CARRIED_OUT}
    told = [recorded_settings(description['config']) for description in descriptions]
    declared = {field.name: field for task in TASKS.values() for field in fields(task)}
    for field in declared.values():
        if field.name not in hidden and any(field.name in one for one in told):
            cells = [spelt(one.get(field.name, '-')) for one in told]
            rows.append([field.name, *cells, field.metadata['doc']])
    rows.append(['time', *(lasting(d['seconds']) for d in descriptions), 'Of the training.'])
    for key, meaning in FACTS.items():
        if any(key in d for d in descriptions):
            rows.append([key, *(str(d.get(key, '-')) for d in descriptions), meaning])
    return rows


def kept(description: Mapping[str, Any]) -> str:
    """Return which weights of a training were kept."""
    best = description.get('best', {})
    if 'split' not in best:
        return 'last'
    return f'best on {best["split"]}, step {best["step"] + 1}'


def root_of(config: Mapping[str, Any], elsewhere: str = '') -> str:
    """
    Return where the data of a run lie now.

    :param elsewhere: where to look, too, if that folder has the same name: the data moved.
    :returns: '' if they are not at hand.
    """
    roots = [config['data']]
    if elsewhere and Path(elsewhere).resolve().name == Path(config['data']).name:
        roots.insert(0, elsewhere)
    return next((root for root in roots if Path(root).is_dir()), '')


def trained_on(description: Mapping[str, Any], elsewhere: str = '') -> DataSet | None:
    """Return the pairs that a run saw; None if they are not at hand, or are not what they were."""
    config = description['config']
    root = root_of(config, elsewhere)
    if not root:
        return None
    try:
        data = open_dataset(root, config['split'])
    except FusionError:
        return None
    data = data[: config['limit']] if config['limit'] else data
    return data if len(data) == description['pairs'] else None


def contents(data: DataSet) -> dict[str, Any]:
    """Return what a data set holds: numbers of pairs by size, light and source, and of boxes."""
    sizes: Counter[str] = Counter()
    boxes: Counter[str] = Counter(dict.fromkeys(data.classes, 0))
    strata: dict[str, Counter[str]] = {}
    for sample in tqdm(data, unit='pair', disable=None):
        sizes[f'{sample.ir.shape[1]}x{sample.ir.shape[0]}'] += 1
        boxes.update(data.classes[i] for i in sample.class_ids)
        for kind, value in sample.strata.items():
            strata.setdefault(kind, Counter())[value] += 1
    parts = {kind: dict(counts.most_common()) for kind, counts in strata.items()}
    return {'pairs': len(data), 'sizes': dict(sizes), **parts, 'boxes': dict(boxes)}


def training_facts(lineage: Sequence[str], fusion_run: str, elsewhere: str) -> dict[str, Any]:
    """
    Return what is known of the training of a bundle, for its contract.

    :param lineage: all runs that led to it, the detector's last.
    :param elsewhere: where the data may lie now.
    """
    told = {run: read_description(run) for run in lineage}
    data: dict[str, Any] = {}
    for description in told.values():
        if data.get(name_of(description)) is None:
            pairs = trained_on(description, elsewhere)
            data[name_of(description)] = None if pairs is None else contents(pairs)
    *_, detector_run = lineage
    return {
        'git_commit': git_commit(),
        'fusion': public(told.pop(fusion_run)),
        'detector': public(told.pop(detector_run)),
        'before': [public(description) for description in told.values()],
        'missing': [_alias(run) for run in missing(lineage, fusion_run)],
        'data': data,
    }


def missing(lineage: Sequence[str], fusion_run: str) -> list[str]:
    """Return the runs that are named but not at hand, so that their data are not known."""
    *others, detector_run = lineage
    wanted = [*named(detector_run, fusion_run), *(n for run in others for n in named(run))]
    return list(dict.fromkeys(n for n in wanted if not (Path(n) / DESCRIPTION).is_file()))


def name_of(description: Mapping[str, Any]) -> str:
    """Return what to call the pairs that a run saw: data set, split, and how many of them."""
    config = description['config']
    first = f', first {config["limit"]}' if config['limit'] else ''
    return f'{Path(config["data"]).name}/{config["split"]}{first}'


def verdict(
    measure_on: tuple[str, str], data: DataSet, lineage: Sequence[str], fusion_run: str
) -> dict[str, Any]:
    """
    Return on what a bundle is measured, and whether that is fair.

    :param measure_on: folder of the data set, and split.
    :returns: ``trained_on``: how many of the pairs some run was trained on, None if that is not
        known; ``chose``: whether weights were chosen by how well they did on this split.
    """
    root, split = measure_on
    name = Path(root).resolve().name
    told = [read_description(run) for run in lineage]
    told = [d for d in told if Path(d['config']['data']).name == name]
    learned = [trained_on(description, root) for description in told]
    count = None
    if not missing(lineage, fusion_run) and None not in learned:
        names = {n for pairs in learned if pairs is not None for n in pairs.names}
        count = len(names & set(data.names))
    chose = any(description.get('best', {}).get('split') == split for description in told)
    return {'data': name, 'split': split, 'trained_on': count, 'chose': chose}


def git_commit() -> str:
    """Return the commit of this code, with ``-dirty`` if it was changed since, or ``unknown``."""
    here = str(Path(__file__).parent)
    words = ['git', '-C', here, 'describe', '--match=', '--always', '--abbrev=40', '--dirty']
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return 'unknown'
    return done.stdout.strip() if done.returncode == 0 else 'unknown'
