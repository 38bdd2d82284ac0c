from dataclasses import asdict
import json
import shlex

import pytest

torch = pytest.importorskip('torch')
for package in ('cv2', 'safetensors', 'tqdm', 'yaml'):
    pytest.importorskip(package)

from tdfusion_ros.nets.fusion_rt import FusionRT  # noqa: E402
from training.bundle.history import ancestors  # noqa: E402
from training.bundle.history import command  # noqa: E402
from training.bundle.history import contents  # noqa: E402
from training.bundle.history import public  # noqa: E402
from training.bundle.history import training_facts  # noqa: E402
from training.bundle.history import verdict  # noqa: E402
from training.checkpoint import save_run  # noqa: E402
from training.config import DetectionTask  # noqa: E402
from training.config_reader import config_from_mapping  # noqa: E402
from training.config_reader import load_config  # noqa: E402
from training.data.datasets import open_dataset  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture
def save(tmp_path, data_root):
    """Save a run of four pairs: ``save(name, **settings)`` returns its folder."""

    def save_one(name, best=None, pairs=4, **settings):
        run = str(tmp_path / name)
        config = config_from_mapping({'data': str(data_root), **settings, 'run': run})
        facts = {'config': asdict(config), 'pairs': pairs, 'seconds': 1, 'torch': '2'}
        save_run(run, FusionRT(), {**facts, **({'best': best} if best else {})})
        return run

    return save_one


def test_ancestors_come_before_what_began_from_them_and_once(save):
    fusion = save('fusion')
    teacher = save('teacher', task='detection', fusion=fusion)
    learned = save('learned', task='learned', fusion=fusion, detector=teacher)
    detector = save('detector', task='detection', fusion=learned)
    assert ancestors(detector) == [fusion, teacher, learned, detector]
    assert ancestors(detector, fusion) == [fusion, detector]


def test_a_run_that_is_not_at_hand_is_told(save, data_root):
    fusion = save('fusion', fusion='runs/lost')
    detector = save('detector', task='detection', fusion=fusion)
    lineage = ancestors(detector, fusion)
    assert training_facts(lineage, fusion, '')['missing'] == ['runs/lost']
    data = open_dataset(data_root, 'val')
    assert verdict((str(data_root), 'val'), data, lineage, fusion)['trained_on'] is None


def test_the_command_trains_with_the_settings_of_the_run():
    config = DetectionTask(source='ir', crop_hw=(64, 96), lr=1e-5, run='runs/a b', data='x/set')
    words = command(public({'config': json.loads(json.dumps(asdict(config)))})['config'])
    again = load_config(shlex.split(shlex.join(words))[3:])
    assert asdict(again) == asdict(config) | {'data': 'DATA/set'}
    assert not any(word.startswith('batch=') for word in words)  # it is the default


def test_what_is_public_does_not_tell_where_things_lay():
    paths = {key: f'/home/me/{key}' for key in ('data', 'run', 'fusion', 'detector', 'segmenter')}
    told = public({'config': {**paths, 'seed': 3}, 'architecture': {}, 'pairs': 7})
    assert '/home' not in json.dumps(told)
    assert told['config']['fusion'] == 'runs/fusion'
    assert told['pairs'] == 7


def test_contents_count_pairs_by_what_is_known_and_boxes_by_class(data_root):
    (data_root / 'index.csv').write_text('name,day_night\na,day\nb,night\nc,night\n')
    told = contents(open_dataset(data_root, 'val'))
    assert told['sizes'] == {'128x96': 4}
    assert told['light'] == {'night': 2, 'day': 1}
    assert told['boxes'] == {'person': 0, 'bicycle': 0, 'car': 3}


def test_pairs_that_were_trained_on_are_counted_in_every_run(save, data_root):
    (data_root / 'splits' / 'train.txt').write_text('a\nb')
    (data_root / 'splits' / 'more.txt').write_text('b\nc')
    fusion = save('fusion', pairs=2)
    detector = save('detector', task='detection', fusion=fusion, split='more', pairs=2)
    where, lineage = (str(data_root), 'val'), ancestors(detector)
    assert verdict(where, open_dataset(*where), lineage, fusion)['trained_on'] == 3
    (data_root / 'splits' / 'val.txt').write_text('empty')
    assert verdict(where, open_dataset(*where), lineage, fusion)['trained_on'] == 0


def test_data_that_changed_since_are_not_taken_for_those_of_the_run(save, data_root):
    fusion = save('fusion', pairs=5)
    detector = save('detector', task='detection', fusion=fusion)
    facts = training_facts(ancestors(detector), fusion, '')
    assert facts['data']['data/train'] is not None  # of the detector, which saw four
    where = (str(data_root), 'val')
    assert verdict(where, open_dataset(*where), [fusion, detector], fusion)['trained_on'] is None


def test_data_that_moved_are_found_where_they_are_measured(save, data_root, tmp_path):
    fusion = save('fusion', data='/gone/data')
    detector = save('detector', task='detection', fusion=fusion, data='/gone/data')
    lineage = ancestors(detector)
    assert training_facts(lineage, fusion, '')['data'] == {'data/train': None}
    told = training_facts(lineage, fusion, str(data_root))['data']['data/train']
    assert told['pairs'] == 4


def test_a_split_that_chose_the_weights_is_told(save, data_root):
    fusion = save('fusion')
    detector = save('detector', best={'step': 3, 'split': 'val'}, task='detection', fusion=fusion)
    for split, chose in (('val', True), ('train', False)):
        where = (str(data_root), split)
        told = verdict(where, open_dataset(*where), ancestors(detector), fusion)
        assert told['chose'] is chose
