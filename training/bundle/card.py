"""The model card of a bundle: its contract as a page for people."""

from collections.abc import Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

from jinja2 import Environment
from jinja2 import FileSystemLoader
from jinja2 import StrictUndefined

from training.bundle import history
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
    environment.filters |= {'figure': figure, 'plain': history.plain}
    facts, on = contract['training'], contract['metrics'].get('on')
    runs = (facts['fusion'], facts['detector'])
    sets = {name.partition('/')[0] for name in facts['data']}
    every = (*facts['before'], *runs)
    lines = {history.command_line(run['config']): run['seconds'] for run in every}
    return environment.get_template(f'{CARD}.j2').render(
        **contract,
        signature=SIGNATURE,
        commands={line: history.duration(seconds) for line, seconds in lines.items()},
        settings=history.setting_rows(runs),
        limits=data_limits(facts),
        alone=bool(on) and sets == {on['data']},
        how=HOW,
        note=note.strip(),
    )


def data_limits(training: Facts) -> list[str]:
    """Return what the training data did not cover."""
    lines = []
    learned = training['data'][history.data_name(training['detector'])]
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
