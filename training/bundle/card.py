"""The model card of a bundle: its contract as a page for people."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import fields
import json
from operator import itemgetter
from pathlib import Path
import shlex
from typing import Any

from jinja2 import Environment
from jinja2 import FileSystemLoader
from jinja2 import StrictUndefined

from training.bundle.history import data_name
from training.config import EXECUTION
from training.config import NETWORK_RUNS
from training.config import recorded_settings
from training.config import TASKS
from training.measure.tables import figure
from training.measure.tables import HOW

Facts = Mapping[str, Any]

CARD = 'MODEL_CARD.md'
SIGNATURE = 'Written by `python -m training.export`'
RIGHTS = {
    'msrs': 'Data rights of MSRS are not cleared: internal evaluation only.',
    'llvip': 'LLVIP may be used non-commercially only, with citation.',
    'hit_uav': 'HIT-UAV: CC BY 4.0, with attribution.',
    'm3svd': 'M3SVD: MIT.',
}
"""By the first letters of the name of a data set, in lower case."""
OTHER = 'Set by whoever trained it: the license of the data applies.'

NOT_IN_COMMAND = ('run', *EXECUTION)
"""Settings that do not change the result; ``run`` is written last."""
NOT_IN_TABLE = {
    *('task', 'source', 'data', 'split', 'limit', 'network', 'segmenter_channels'),
    *NETWORK_RUNS,
    *NOT_IN_COMMAND,
}
"""Settings that a card mentions elsewhere or that do not change the result."""
FACTS = {
    'pretrained': 'Weights that the run started from.',
    'shares': 'Data sets and their shares of the crops.',
    'device': 'Device of the training.',
    'torch': 'Version of torch.',
    'git_commit': 'Commit of this code.',
}
WIDTH = 96


def rights(training: Facts) -> str:
    """Return the license of weights that were trained on the data of ``training``."""
    data = training['data'].items()
    names = {name for label, found in data for name in (found or {}).get('sets', [label])}
    texts = (
        next((text for start, text in RIGHTS.items() if name.lower().startswith(start)), OTHER)
        for name in sorted(names)
    )
    return ' '.join(dict.fromkeys(texts))


def model_card(contract: Facts, note: str = '') -> str:
    """Return the card of ``model.json`` in Markdown, from the template beside this file."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML
    )
    environment.filters |= {'figure': figure, 'plain': plain}
    facts, on = contract['training'], contract['metrics'].get('on')
    runs = (facts['fusion'], facts['detector'])
    sets = {name.partition('/')[0] for name in facts['data']}
    every = (*facts['before'], *runs)
    lines = {command_line(run['config']): run['seconds'] for run in every}
    return environment.get_template(f'{CARD}.j2').render(
        **contract,
        signature=SIGNATURE,
        commands={line: duration(seconds) for line, seconds in lines.items()},
        settings=setting_rows(runs),
        limits=data_limits(facts),
        alone=bool(on) and sets == {on['data']},
        how=HOW,
        note=note.strip(),
    )


def note_of(card: str) -> str:
    """Return what was appended to a card: what follows the paragraph on its license."""
    return card.partition('\n## License\n\n')[2].partition('\n\n')[2]


def data_limits(training: Facts) -> list[str]:
    """Return what the training data did not cover."""
    lines = []
    learned = training['data'][data_name(training['detector'])]
    if learned and len(learned['boxes']) > 1:
        rarest, boxes = min(learned['boxes'].items(), key=itemgetter(1))
        of = sum(learned['boxes'].values())
        lines.append(f'Fewest boxes in training: {rarest}, {boxes} of {of}.')
    contents = training['data'].values()
    for kind, text in (('sizes', 'images of'), ('light', 'images by')):
        values = {value for data in contents if data for value in data.get(kind, ())}
        if len(values) == 1 and None not in contents:
            lines.append(f'Trained on {text} {values.pop()} only.')
    return lines


def command_line(config: Mapping[str, Any]) -> str:
    """Return the shell command that trains a run again, with every setting that differs."""
    default = {field.name: field.default for field in fields(TASKS[config['task']])}
    default = json.loads(json.dumps(default | {'task': 'fusion'}))
    values = {
        key: json.dumps(value, separators=(',', ':')) if isinstance(value, list) else value
        for key, value in recorded_settings(config).items()
        if key not in NOT_IN_COMMAND and value != default[key]
    }
    values |= {'data': f'DATA/{config["data"]}', 'run': config['run']}
    lines = ['python -m training.train']
    for word in (shlex.quote(f'{key}={value}') for key, value in values.items()):
        if len(lines[-1]) + len(word) > WIDTH:
            lines.append('   ')
        lines[-1] += f' {word}'
    return ' \\\n'.join(lines)


def setting_rows(descriptions: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return a row for each setting of the runs that changes the result: name, values, meaning."""
    rows = [
        ['data', *(f'`{data_name(d)}`' for d in descriptions), 'Training data.'],
        ['pairs', *(str(d['pairs']) for d in descriptions), 'Number of pairs.'],
        ['weights', *(_weights(d) for d in descriptions), 'Which averaged weights were kept.'],
    ]
    configs = [recorded_settings(description['config']) for description in descriptions]
    declared = {field.name: field for task in TASKS.values() for field in fields(task)}
    for name, field in declared.items():
        if name not in NOT_IN_TABLE and any(name in config for config in configs):
            cells = [plain(config.get(name, '-')) for config in configs]
            rows.append([name, *cells, field.metadata['doc']])
    rows.append(['time', *(duration(d['seconds']) for d in descriptions), 'Of the training.'])
    for key, meaning in FACTS.items():
        if any(key in d for d in descriptions):
            rows.append([key, *(str(d.get(key, '-')) for d in descriptions), meaning])
    return rows


def _weights(description: Mapping[str, Any]) -> str:
    best = description.get('best', {})
    return f'best on {best["split"]}, step {best["step"] + 1}' if 'split' in best else 'last'


def plain(value: object) -> str:
    """Return a setting as text, a list in round brackets."""
    return f'({", ".join(map(str, value))})' if isinstance(value, list | tuple) else str(value)


def duration(seconds: float) -> str:
    """Return a time in a unit that fits: 90 s, 46 min, 3.5 h."""
    if seconds < 120:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 7200 else f'{seconds / 3600:.1f} h'
