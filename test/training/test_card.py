import json

import pytest

from training.bundle.card import model_card
from training.bundle.card import note_of
from training.bundle.card import rights

pytest.importorskip('onnxruntime')
RUN = {'data': 'set', 'split': 'train', 'limit': 0, 'run': 'runs/f', 'seed': 5}
DATA = 'detector_sets.yaml/train'
BEST = {'step': 19, 'split': 'val'}
BY_DAY = {'pairs': 9, 'sizes': {'640x480': 9}, 'light': {'day': 9}, 'boxes': {'cat': 1, 'dog': 6}}


@pytest.fixture
def contract(bundle):
    return json.loads((bundle / 'model.json').read_text(encoding='utf-8'))


@pytest.mark.parametrize('name', ['msrs_rt', 'm3svd_rt'])
def test_card_of_each_shipped_bundle_is_that_of_its_contract_and_a_note(root, name):
    contract, card = (
        (root / 'models' / name / file).read_text(encoding='utf-8')
        for file in ('model.json', 'MODEL_CARD.md')
    )
    assert card == model_card(json.loads(contract), note_of(card))


@pytest.mark.parametrize(
    ('part', 'changes', 'texts', 'absent'),
    [
        ('metrics', {'on': None}, ['Detection and fusion: not measured.'], 'training.evaluate'),
        ('on', {'trained_on': 2}, ['**2 of these pairs were trained on'], 'None of them'),
        ('on', {'trained_on': None}, ['**Some of these pairs may have been'], 'None of them'),
        ('on', {'chose': True}, ['**The weights were selected by this split'], 'may have been'),
        (
            'training',
            {'missing': ['runs/lost'], 'data': {DATA: None, 'set/train': BY_DAY}},
            ['`runs/lost`, a run that was used, was not', 'train`: not available at export'],
            'Trained on images',  # nothing is concluded from unknown data
        ),
        (
            'training',
            {'data': {DATA: BY_DAY}},
            ['* Fewest boxes in training: cat, 1 of 7.', '* Trained on images by day only.'],
            'not available',
        ),
        (
            'fusion',
            {'config': {**RUN, 'task': 'learned', 'method': 'pixel'}, 'best': BEST},
            ['Learnable Fusion', '| method | pixel | -', '| weights | best on val, step 20 | las'],
            'fixed weights',
        ),
        (
            'fusion',
            {'config': {**RUN, 'task': 'imitation', 'imitate': 'runs/shown', 'fusion_width': 8}},
            ['to reproduce the output of `runs/shown`', '| fusion_width | 8 | - |'],
            'fixed weights',
        ),
    ],
)
def test_card_says_what_is_known_of_training_and_figures(contract, part, changes, texts, absent):
    parts = {'on': contract['metrics']['on'], 'fusion': contract['training']['fusion']}
    (contract | parts)[part].update(changes)
    text = ' '.join(model_card(contract).split())
    assert [one for one in texts if one not in text] == []
    assert absent not in text


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
