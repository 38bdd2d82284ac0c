import copy
import json

import pytest

from training.bundle.card import model_card
from training.bundle.card import rights

pytest.importorskip('onnxruntime')


def run(**config):
    """Return the description of a run on set/train; ``config`` changes its settings."""
    common = {'task': 'fusion', 'data': 'set', 'split': 'train', 'limit': 0, 'run': 'runs/f'}
    return {'pairs': 9, 'seconds': 90, 'torch': '2.0', 'config': {**common, 'seed': 5, **config}}


def detector(**config):
    return run(**{'task': 'detection', 'source': 'fused', 'run': 'runs/d', **config})


SIZES = {'pairs': 9, 'sizes': {'640x480': 9}, 'light': {'day': 9}, 'boxes': {'cat': 1, 'dog': 6}}
ROW = {'boxes': 7, 'AP50': 0.5, 'AP75': 0.25, 'AP50-95': None, 'AP50 low': 0.4, 'AP50 high': 0.6}
ROW |= {'precision': 0.6, 'recall': 0.7}
COST = {'parameters': 12345, 'macs_640x480': 307_200_000}
CONTRACT = {
    'name': 'small',
    'size_multiple': 32,
    'classes': ['cat', 'dog'],
    'architecture': {
        'fusion': {'name': 'fusion_rt', 'width': 8},
        'detector': {'name': 'detector'},
    },
    'cost': {'fusion': COST, 'detector': COST},
    'training': {
        'git_commit': 'abc',
        'fusion': run(),
        'detector': detector(),
        'before': [],
        'missing': [],
        'data': {'set/train': SIZES},
    },
    'licence': {'code': 'Apache-2.0', 'weights': 'nobody knows'},
    'metrics': {
        'onnx_parity': {'fused_levels': 1.0, 'boxes_px': 1e-4, 'scores': 1e-6},
        'on': {'data': 'set', 'split': 'val', 'trained_on': 0, 'chose': False, **SIZES},
        'detection': {'cat': ROW, 'all': ROW},
        'fusion': {'average': {'EN': 6.5}, 'small': {'EN': 7.0}},
    },
}


def test_card_has_figures_with_the_commands_that_measure_them():
    text = model_card(CONTRACT)
    assert '**AP50 0.500** (95 % interval 0.400 to 0.600) on 9 pairs of set/val.\n' in text
    assert '--bundle BUNDLE --data DATA/set --split val --bootstrap 1000\n' in text
    assert '--quality --bundle BUNDLE --data DATA/set --split val\n' in text
    assert 'python -m training.train data=DATA/set seed=5 run=runs/f    # 90 s\n' in text
    assert '| detector |  | 12,345 | 1.0 kMAC | 0.31 GMAC |\n' in text
    assert '\n| cat | 7 | 0.500 | 0.250 | - | 0.600 | 0.700 | 0.400 to 0.600 |\n| all |' in text
    assert '\n|  | EN |\n|---|---|\n| average | 6.500 |\n| small | 7.000 |\n' in text
    assert 'None of them was trained on.' in text
    assert '\n* Fewest boxes in training: cat, 1 of 7.\n' in text
    assert '\n* Trained on images by day only.\n' in text


def test_card_of_the_shipped_bundle_can_be_written(bundle):
    contract = json.loads((bundle / 'model.json').read_text(encoding='utf-8'))
    assert '`msrs_det/val`: 48 pairs of 640x480; 24 day, 24 night; 208' in model_card(contract)


@pytest.mark.parametrize(
    ('part', 'changes', 'texts', 'absent'),
    [
        ('metrics', {'on': None}, ['Detection and fusion: not measured.'], 'training.evaluate'),
        ('on', {'trained_on': 2}, ['**2 of these pairs were trained on'], 'None of them'),
        ('on', {'trained_on': None}, ['**Some of these pairs may have been'], 'None of them'),
        ('on', {'chose': True}, ['**The weights were selected by this split'], 'may have been'),
        (
            'training',
            {'missing': ['runs/lost'], 'data': {'set/train': None}},
            ['`runs/lost`, a run that was used, was not', '`set/train`: not available at export'],
            'only.',  # nothing is concluded from unknown data
        ),
        (
            'training',
            {
                'fusion': {
                    **run(task='learned', method='pixel'),
                    'best': {'step': 19, 'split': 'val'},
                }
            },
            [
                'Learnable Fusion',
                '| method | pixel | - |',
                '| weights | best on val, step 20 | last |',
            ],
            'fixed weights',
        ),
        (
            'training',
            {'fusion': run(task='imitation', imitate='runs/shown', fusion_width=8)},
            ['to reproduce the output of `runs/shown`', '| fusion_width | 8 | - |'],
            'fixed weights',
        ),
    ],
)
def test_card_says_what_is_known_of_training_and_figures(part, changes, texts, absent):
    contract = copy.deepcopy(CONTRACT)
    (contract['metrics']['on'] if part == 'on' else contract[part]).update(changes)
    text = ' '.join(model_card(contract).split())
    assert [one for one in texts if one not in text] == []
    assert absent not in text


def test_card_names_the_sets_of_a_mixture_pseudo_labels_and_pretrained_weights():
    contract = copy.deepcopy(CONTRACT)
    training = contract['training']
    origin = 'YOLOX-Nano, sha256 abc'
    training['detector'] |= {'pretrained': origin, 'shares': 'msrs_det 3, clips 1'}
    mixture = {'sets': ['msrs_det', 'clips'], 'pseudo_labels': {'clips': 'by a detector'}}
    training['data'] = {'set/train': SIZES | mixture}
    contract['architecture']['detector'] = {'name': 'yolox', 'inputs': 4}
    text = ' '.join(model_card(contract).split())
    assert '9 pairs of msrs_det, clips, of 640x480' in text
    assert 'the boxes of clips are pseudo labels: by a detector.' in text
    assert f'It started from {origin}.' in text
    assert '| shares | - | msrs_det 3, clips 1 |' in text
    assert 'MSRS are not cleared' in rights(training)


@pytest.mark.parametrize(
    ('names', 'texts'),
    [
        (['msrs_det/train'], ['Data rights of MSRS']),
        (['mine/all', 'mine/more'], ['Set by whoever trained it']),
        (['MSRS/train', 'mine/all'], ['Data rights of MSRS', 'Set by whoever trained it']),
    ],
)
def test_rights_are_those_of_all_training_data(names, texts):
    text = rights({'data': dict.fromkeys(names)})
    assert [text.count(one) for one in texts] == [1] * len(texts)
