from dataclasses import asdict
import json
from pathlib import Path
import shlex

import pytest

from tdfusion_ros.nets.fusion_rt import FusionRT
from training.bundle import history
from training.bundle.card import command_line
from training.bundle.card import rights
from training.checkpoint import save_run
from training.config import DetectionTask
from training.config_reader import config_from_mapping
from training.config_reader import load_config
from training.data.datasets import open_dataset


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


@pytest.fixture
def evaluated(data_root):
    """Return what is known about a bundle measured on a split of ``data_root``."""

    def on(detector, fusion, split='val'):
        data = open_dataset(data_root, split)
        return history.evaluation_facts((str(data_root), split), data, detector, fusion)

    return on


def test_ancestors_are_listed_once_and_before_the_runs_that_used_them(save):
    fusion = save('fusion')
    start = save('start', task='detection', fusion=fusion)
    learned = save('learned', task='learned', fusion=fusion, detector=start)
    detector = save('detector', task='detection', fusion=learned)
    assert history.ancestors(detector) == [fusion, start, learned, detector]
    assert history.ancestors(detector, fusion) == [fusion, detector]


def test_a_missing_run_is_listed(save, evaluated):
    fusion = save('fusion', fusion='runs/lost')
    detector = save('detector', task='detection', fusion=fusion)
    lineage = history.ancestors(detector, fusion)
    assert history.training_facts(lineage, fusion, '')['missing'] == ['runs/lost']
    assert evaluated(detector, fusion)['trained_on'] is None


def test_the_history_of_a_bundle_that_a_run_started_from_is_kept(save, evaluated):
    shipped = str(Path(__file__).parents[2] / 'models' / 'msrs_rt')
    fusion = save('fusion', fusion=shipped)
    detector = save('detector', task='detection', fusion=fusion)
    lineage = history.ancestors(detector, fusion)
    facts = history.training_facts(lineage, fusion, '')
    assert facts['missing'] == []
    assert facts['before'][-1]['config']['frozen_detector']
    assert facts['data']['data/train']['pairs'] == 4
    assert 'LLVIP' in rights(facts)
    assert evaluated(detector, fusion)['trained_on'] is None  # its data are not here
    start = save('start', task='detection', fusion=fusion, pretrained=shipped)
    found = history.training_facts(history.ancestors(start, fusion), fusion, '')['before']
    assert [run['config']['task'] for run in found][-2:] == ['fusion', 'detection']


def test_the_command_has_the_settings_of_the_run():
    config = DetectionTask(source='ir', crop_hw=(64, 96), lr=1e-5, run='runs/a b', data='x/set')
    description = {'config': json.loads(json.dumps(asdict(config)))}
    command = command_line(history.without_paths(description)['config'])
    again = load_config(shlex.split(command.replace('\\\n', ''))[3:])
    assert asdict(again) == asdict(config) | {'data': 'DATA/set'}
    assert 'batch=' not in command  # it has its default


def test_no_folder_of_this_machine_is_published():
    paths = {key: f'/home/me/{key}' for key in ('data', 'run', 'fusion', 'detector', 'segmenter')}
    published = history.without_paths({'config': paths, 'architecture': {}, 'pairs': 7})
    assert '/home' not in json.dumps(published)
    assert published['config']['fusion'] == 'runs/fusion'
    assert published['pairs'] == 7


def test_pairs_that_were_trained_on_are_counted_in_every_run(save, evaluated, data_root):
    (data_root / 'splits' / 'train.txt').write_text('a\nb')
    (data_root / 'splits' / 'more.txt').write_text('b\nc')
    fusion = save('fusion', pairs=2)
    detector = save('detector', task='detection', fusion=fusion, split='more', pairs=2)
    assert evaluated(detector, fusion)['trained_on'] == 3
    (data_root / 'splits' / 'val.txt').write_text('empty')
    assert evaluated(detector, fusion)['trained_on'] == 0


def test_pairs_that_were_trained_on_in_a_mixture_are_counted(save, evaluated, data_root):
    (data_root / 'splits' / 'train.txt').write_text('a\nb')
    mixture = data_root.parent / 'mix.yaml'
    text = f'classes: [person, bicycle, car]\ntrain: [{{data: {data_root.name}, split: train}}]'
    mixture.write_text(text, encoding='utf-8')
    fusion = save('fusion', data=str(mixture), pairs=2)
    detector = save('detector', task='detection', fusion=fusion, data=str(mixture), pairs=2)
    lineage = history.ancestors(detector)
    assert evaluated(detector, fusion)['trained_on'] == 2
    found = history.training_facts(lineage, fusion, '')['data']['mix.yaml/train']
    assert found['sets'] == [data_root.name]
    mixture.unlink()
    assert evaluated(detector, fusion)['trained_on'] is None


def test_data_that_changed_since_are_not_taken_for_the_training_data(save, evaluated):
    fusion = save('fusion', pairs=5)
    detector = save('detector', task='detection', fusion=fusion)
    facts = history.training_facts(history.ancestors(detector), fusion, '')
    assert facts['data']['data/train'] is not None  # of the detector, which saw four
    assert evaluated(detector, fusion)['trained_on'] is None


def test_data_that_moved_are_found_where_they_are_measured(save, data_root):
    fusion = save('fusion', data='/gone/data')
    detector = save('detector', task='detection', fusion=fusion, data='/gone/data')
    lineage = history.ancestors(detector)
    assert history.training_facts(lineage, fusion, '')['data'] == {'data/train': None}
    found = history.training_facts(lineage, fusion, str(data_root))['data']['data/train']
    assert found['pairs'] == 4


def test_a_split_that_selected_the_weights_is_reported(save, evaluated):
    fusion = save('fusion')
    detector = save('detector', best={'step': 3, 'split': 'val'}, task='detection', fusion=fusion)
    assert evaluated(detector, fusion, 'val')['chose']
    assert not evaluated(detector, fusion, 'train')['chose']
