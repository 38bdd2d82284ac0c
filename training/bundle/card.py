"""The model card of a bundle: its contract, in words and tables that a person reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tdfusion_ros.core.errors import FusionError
from training.bundle.history import command
from training.bundle.history import name_of
from training.bundle.history import settings
from training.markdown import bullets
from training.markdown import code
from training.markdown import counts
from training.markdown import figure
from training.markdown import grouped
from training.markdown import lasting
from training.markdown import listed
from training.markdown import prose
from training.markdown import shell
from training.markdown import spelt
from training.markdown import table
from training.measure.tables import HOW

Facts = Mapping[str, Any]

CARD = 'MODEL_CARD.md'
SIGNATURE = 'Written by `python -m training.export`'
RIGHTS = {'msrs': 'Data rights of MSRS are not cleared: internal evaluation only.'}
"""By how the name of a data set begins, in lower case."""
OTHER_RIGHTS = 'Set by whoever trained it: the license of the data applies.'
FIXED_LOSS = (
    'The fusion network learned the loss with fixed weights: each pixel follows infrared and luma '
    'by 1/2 each, edges follow the stronger edge.'
)
IMITATION = (
    'The fusion network learned to make what `{imitate}` makes of the same scenes; differences in '
    'the dark count more.'
)
LEARNED_LOSS = (
    'The fusion network, F, learned a loss that is itself learned (Bai et al., Task-driven Image '
    'Fusion with Learnable Fusion Loss, CVPR 2025): a second network, G, gives each pixel its '
    'weight w of infrared and 1 - w of luma; the task teaches G.'
)
LOSS = {'fusion': FIXED_LOSS, 'learned': LEARNED_LOSS, 'imitation': IMITATION}

READS = {
    'fused': 'The detector learned on the fused image.',
    'early': 'The detector reads luma and infrared side by side, not the fused image, which is '
    'for people.',
}


def check_card(folder: Path) -> None:
    """Refuse to overwrite a card that somebody wrote by hand."""
    path = folder / CARD
    if path.is_file() and SIGNATURE not in path.read_text(encoding='utf-8', errors='replace'):
        raise FusionError(
            f'{path} was written by hand and would be lost: move it, and give it with --note FILE'
        )


def rights(training: Facts) -> str:
    """Return the license of weights that learned from the data of ``training``."""
    texts = (
        next((text for begin, text in RIGHTS.items() if name.lower().startswith(begin)), None)
        for name in sorted(training['data'])
    )
    return ' '.join(dict.fromkeys(text or OTHER_RIGHTS for text in texts))


def model_card(contract: Facts, note: str = '') -> str:
    """
    Return the card in Markdown.

    :param contract: as ``model.json`` holds it.
    :param note: Markdown to append.
    """
    license = contract['licence']
    parts = [
        *summary(contract),
        '## Training',
        *training(contract['training']),
        '## Figures',
        *figures(contract['metrics']),
        '## Limits',
        bullets(limits(contract)),
        '## License',
        prose(f'Code: {license["code"]}. Weights: {license["weights"]}'),
        *([note.strip()] if note else []),
    ]
    return '\n\n'.join(parts) + '\n'


def summary(contract: Facts) -> list[str]:
    """Return what the bundle is, what it costs, and how to run it."""
    rows = []
    for part in ('fusion', 'detector'):
        sizes, cost = dict(contract['architecture'][part]), contract['cost'][part]
        name, macs = sizes.pop('name'), cost['macs_640x480']
        title = part if name == part else f'{part} `{name}`'
        told = ', '.join(f'{key} {spelt(value)}' for key, value in sizes.items())
        each = f'{macs / (640 * 480) / 1e3:.1f} kMAC'
        cells = [title, told, grouped(cost['parameters']), each]
        rows.append([*cells, f'{macs / 1e9:.2f} GMAC'])
    return [
        f'# {contract["name"]}',
        prose(
            'Makes one picture of an RGB and an infrared image, and finds '
            f'{listed(contract["classes"])} in it. One graph takes uint8 RGB and infrared in '
            '[0, 1], white-hot, on the same grid; it returns a uint8 RGB image (colors of the '
            'RGB camera) and boxes with scores. Sides must be multiples of '
            f'{contract["size_multiple"]}, and overlapping boxes are still to be suppressed: '
            '`tdfusion` and the node do both.'
        ),
        headline(contract['metrics']),
        table(['', 'sizes', 'parameters', 'cost per pixel', 'at 640x480'], rows),
        code(
            '# BUNDLE: this folder',
            'tdfusion fuse RGB_FOLDER IR_FOLDER -o RESULT -p model=BUNDLE',
            'tdfusion bench RGB_FOLDER IR_FOLDER -p model=BUNDLE    # how fast it is here',
            'ros2 launch tdfusion_ros fusion.launch.py model:=BUNDLE',
        ),
        prose(f'{SIGNATURE}: what is changed here by hand is lost; `--note FILE` appends.'),
    ]


def headline(metrics: Facts) -> str:
    """Return the one figure that most readers look for."""
    if 'on' not in metrics:
        return 'How well it detects was **not measured**.'
    on, best = metrics['on'], metrics['detection']['all']
    return prose(
        f'**AP50 {figure(best["AP50"], 3)}** (95 % interval {_interval(best)}) on {on["pairs"]} '
        f'pairs of {on["data"]}/{on["split"]}.{warning(on)}'
    )


def warning(on: Facts) -> str:
    """Return why figures may be better than they should, if they may."""
    texts = []
    if on['trained_on'] is None:
        texts.append(
            'Whether some of these pairs were trained on is not known: not all data of the '
            'training were at hand.'
        )
    elif on['trained_on']:
        texts.append(f'{on["trained_on"]} of these pairs were trained on: the figures flatter.')
    if on['chose']:
        texts.append('The weights were chosen by this split: the figures flatter.')
    return ''.join(f' **{text}**' for text in texts)


def training(facts: Facts) -> list[str]:
    """Return what was learned from which data, with which settings and commands."""
    fusion, detector = facts['fusion'], facts['detector']
    data = [f'`{name}`: {composition(told)}.' for name, told in facts['data'].items()]
    data += [f'`{run}`, from which one began, was not at hand.' for run in facts['missing']]
    loss = LOSS[fusion['config']['task']].format(**fusion['config'])
    commands: dict[str, str] = {}
    for one in (*facts['before'], fusion, detector):
        commands.setdefault(shell(command(one['config'])), lasting(one['seconds']))
    runs = detector['config']['run']
    if detector['config']['task'] == 'learned':
        runs += '/detector'
    if detector['config']['source'] == 'early':  # it does not say what makes the fused image
        runs += f' --fusion {fusion["config"]["run"]}'
    return [
        bullets(data),
        prose(f'{loss} {READS[detector["config"]["source"]]}'),
        code(
            *(f'{words}    # {time}' for words, time in commands.items()),
            f'python -m training.export {runs} -o BUNDLE',
        ),
        table(['', 'fusion', 'detector', ''], settings((fusion, detector))),
        f'Exported at commit {facts["git_commit"]}.',
    ]


def composition(told: Facts | None) -> str:
    """Return what a data set holds, in a line."""
    if told is None:
        return 'not at hand at export'
    sizes = told['sizes']
    sized = f'{len(sizes)} sizes' if len(sizes) > 3 else ' and '.join(sizes)
    parts = [f'{told["pairs"]} pairs of {sized}']
    parts += [counts(told[kind]) for kind in ('light', 'source') if len(told.get(kind, ())) > 1]
    boxes = told['boxes']
    parts += [f'{sum(boxes.values())} boxes ({counts(boxes)})'] if boxes else []
    return '; '.join(parts)


def figures(metrics: Facts) -> list[str]:
    """Return what was measured, each with the command that gives it again."""
    off = metrics['onnx_parity']
    parity = prose(
        f'On noise of three sizes the ONNX graph differs from torch by {off["fused_levels"]:.0f} '
        f'of 255 gray levels, {off["boxes_px"]:.0e} px and {off["scores"]:.0e} in a score, at '
        'most; `training.export` measures that.'
    )
    if 'on' not in metrics:
        return ['Detection and fusion: not measured.', parity]
    on = metrics['on']
    where = f'--bundle BUNDLE --data DATA/{on["data"]} --split {on["split"]}'
    none = ' None of them was trained on.' if on['trained_on'] == 0 else ''
    return [
        prose(
            f'`{on["data"]}/{on["split"]}`: {composition(on)}.{none}{warning(on)} Measured on '
            'this bundle with ONNX Runtime.'
        ),
        code(f'python -m training.evaluate {where} --bootstrap 1000'),
        detection(metrics['detection']),
        prose(
            'Average precision as COCO defines it. The interval is that of AP50 over resampled '
            'images; another seed of the training is not in it.'
        ),
        code(f'python -m training.evaluate --quality {where}'),
        quality(metrics['fusion']),
        prose(f'Of {HOW}. More counts as better, but noise, too, raises EN, SF and AG.'),
        parity,
    ]


def detection(rows: Mapping[str, Facts]) -> str:
    """Return the table of average precision."""
    columns = ('AP50', 'AP75', 'AP50-95')
    cells = [
        [name, str(row['boxes']), *(figure(row[column], 3) for column in columns), _interval(row)]
        for name, row in rows.items()
    ]
    return table(['', 'boxes', *columns, 'AP50, 95 %'], cells)


def quality(rows: Mapping[str, Facts]) -> str:
    """Return the table of fusion quality."""
    columns = list(next(iter(rows.values())))
    cells = [[name, *(figure(row[c], 3) for c in columns)] for name, row in rows.items()]
    return table(['', *columns], cells)


def limits(contract: Facts) -> list[str]:
    """Return what the facts say about where the bundle may fail."""
    facts, on = contract['training'], contract['metrics'].get('on')
    learned, lines = facts['data'][name_of(facts['detector'])], []
    if learned and len(learned['boxes']) > 1:
        few, whole = min(learned['boxes'], key=learned['boxes'].get), learned['boxes'].values()
        lines.append(
            f'Fewest boxes to learn from: {few}, {learned["boxes"][few]} of {sum(whole)}.'
        )
    for kind, word in (('sizes', 'pictures of'), ('light', 'pictures by')):
        values = {value for told in facts['data'].values() if told for value in told.get(kind, ())}
        if len(values) == 1 and None not in facts['data'].values():
            lines.append(f'Trained on {word} {values.pop()} only.')
    lines.append('Trained once: how much another seed would change was not measured.')
    if on and {name.partition('/')[0] for name in facts['data']} == {on['data']}:
        lines.append(
            f'Trained and measured on {on["data"]} alone: other cameras and places were not '
            'measured.'
        )
    return [
        *lines,
        'Trained on 8-bit infrared: 16-bit infrared, which the node scales by percentiles, was '
        'not measured.',
        'Not tested as a safety function.',
    ]


def _interval(row: Facts) -> str:
    return f'{figure(row["AP50 low"], 3)} to {figure(row["AP50 high"], 3)}'
