import copy

import pytest

pytest.importorskip('torch')
for package in ('cv2', 'onnxruntime', 'pycocotools', 'safetensors', 'skimage', 'tqdm', 'yaml'):
    pytest.importorskip(package)

from tdfusion_ros.core.errors import FusionError  # noqa: E402
from training.bundle.card import check_card  # noqa: E402
from training.bundle.card import model_card  # noqa: E402
from training.bundle.card import rights  # noqa: E402

pytestmark = pytest.mark.torch

CONFIG = {
    'task': 'fusion',
    'data': 'set',
    'split': 'train',
    'limit': 0,
    'run': 'runs/f',
    'seed': 5,
}
RUN = {'config': CONFIG, 'pairs': 9, 'seconds': 90, 'torch': '2.0'}
DETECTOR = {**RUN, 'config': {**CONFIG, 'task': 'detection', 'source': 'fused', 'run': 'runs/d'}}
CONTENTS = {
    'pairs': 9,
    'sizes': {'640x480': 9},
    'light': {'day': 9},
    'boxes': {'cat': 1, 'dog': 6},
}
ROW = {'boxes': 7, 'AP50': 0.5, 'AP75': 0.25, 'AP50-95': None, 'AP50 low': 0.4, 'AP50 high': 0.6}
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
        'fusion': RUN,
        'detector': DETECTOR,
        'before': [],
        'missing': [],
        'data': {'set/train': CONTENTS},
    },
    'licence': {'code': 'Apache-2.0', 'weights': 'nobody knows'},
    'metrics': {
        'onnx_parity': {'fused_levels': 1.0, 'boxes_px': 1e-4, 'scores': 1e-6},
        'on': {'data': 'set', 'split': 'val', 'trained_on': 0, 'chose': False, **CONTENTS},
        'detection': {'cat': ROW, 'all': ROW},
        'fusion': {'average': {'EN': 6.5}, 'small': {'EN': 7.0}},
    },
}


def changed(part, **values):
    contract = copy.deepcopy(CONTRACT)
    target = contract['metrics']['on'] if part == 'on' else contract[part]
    target.update(values)
    return ' '.join(model_card(contract).split())


def test_card_tells_figures_with_the_commands_that_give_them():
    text = model_card(CONTRACT)
    assert '**AP50 0.500** (95 % interval 0.400 to 0.600) on 9 pairs of set/val' in text
    assert '--bundle BUNDLE --data DATA/set --split val --bootstrap 1000' in text
    assert '--quality --bundle BUNDLE --data DATA/set --split val' in text
    assert 'python -m training.train data=DATA/set seed=5 run=runs/f    # 90 s' in text
    assert '12 345 | 1.0 kMAC | 0.31 GMAC' in text
    assert 'None of them was trained on.' in text
    assert 'Fewest boxes to learn from: cat, 1 of 7.' in text
    assert 'Trained on pictures by day only.' in text


def test_card_without_figures_says_that_nothing_was_measured():
    contract = copy.deepcopy(CONTRACT)
    for key in ('on', 'detection', 'fusion'):
        del contract['metrics'][key]
    text = model_card(contract)
    assert 'How well it detects was **not measured**.' in text
    assert 'Detection and fusion: not measured.' in text
    assert 'training.evaluate' not in text


def test_card_warns_of_figures_that_flatter():
    assert '**2 of these pairs were trained on' in changed('on', trained_on=2)
    assert '**The weights were chosen by this split' in changed('on', chose=True)
    unknown = changed('on', trained_on=None)
    assert '**Whether some of these pairs were trained on is not known' in unknown
    assert 'None of them' not in unknown


def test_card_tells_what_of_the_training_is_not_known():
    text = changed('training', missing=['runs/lost'], data={'set/train': None})
    assert '`runs/lost`, from which one began, was not at hand' in text
    assert '`set/train`: not at hand at export' in text
    assert 'only.' not in text  # nothing is derived from what is not known


def test_card_tells_the_settings_of_the_learned_loss_and_which_weights_were_kept():
    config = {**CONFIG, 'task': 'learned', 'method': 'pixel', 'pull': 0.25}
    run = {**RUN, 'config': config, 'best': {'step': 19, 'split': 'val'}}
    text = changed('training', fusion=run)
    assert 'Learnable Fusion Loss' in text
    assert '| method | pixel | - |' in text
    assert '| weights | best on val, step 20 | last |' in text


def test_card_says_whom_a_fusion_network_imitated():
    config = {**CONFIG, 'task': 'imitation', 'imitate': 'runs/shown', 'fusion_width': 8}
    detector = {**RUN, 'config': {**DETECTOR['config'], 'fusion_width': 16}}
    text = changed('training', fusion={**RUN, 'config': config}, detector=detector)
    assert 'learned to make what `runs/shown` makes' in text
    assert '| fusion_width | 8 | - |' in text
    assert '`runs/shown`' not in changed('training', fusion={**RUN, 'config': CONFIG})


def test_command_of_the_export_names_the_fusion_that_a_detector_of_both_sources_does_not():
    early = {**DETECTOR, 'config': {**DETECTOR['config'], 'source': 'early'}}
    assert 'training.export runs/d -o BUNDLE' in model_card(CONTRACT)
    assert 'training.export runs/d --fusion runs/f -o BUNDLE' in changed(
        'training', detector=early
    )


def test_note_stands_at_the_end():
    assert model_card(CONTRACT, '\n## By hand\n\nText.\n').endswith('\n\n## By hand\n\nText.\n')


@pytest.mark.parametrize(
    ('names', 'begin'),
    [(['msrs_det/train'], 'Data rights of MSRS'), (['mine/all'], 'Set by whoever trained it')],
)
def test_rights_are_those_of_the_data(names, begin):
    assert rights({'data': dict.fromkeys(names)}).startswith(begin)


def test_rights_of_two_data_sets_are_both_told():
    text = rights({'data': {'MSRS/train': None, 'mine/all': None, 'mine/more': None}})
    assert text.count('MSRS') == text.count('whoever') == 1


def test_a_card_that_was_written_by_hand_is_not_overwritten(tmp_path):
    check_card(tmp_path)
    (tmp_path / 'MODEL_CARD.md').write_text(model_card(CONTRACT), encoding='utf-8')
    check_card(tmp_path)
    (tmp_path / 'MODEL_CARD.md').write_text('# Mine\n', encoding='utf-8')
    with pytest.raises(FusionError, match='--note FILE'):
        check_card(tmp_path)
