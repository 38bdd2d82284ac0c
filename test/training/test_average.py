"""Averages of detectors that started from the same weights."""

import json
from pathlib import Path
import warnings

import pytest
import torch

from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.errors import OutputError
from training.average import main
from training.bundle.history import required_runs
from training.checkpoint import save_run
from training.method.task_networks import make_detector
from training.method.task_networks import read_detector

CLASSES = ('person', 'car')


@pytest.fixture
def save(tmp_path, yolox_file):
    """Return a run with the weights of the pretrained detector plus a number."""

    def make(name, plus, classes=CLASSES, origin='of COCO'):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of a file of unknown origin
            network = make_detector(classes, yolox_file)
        with torch.no_grad():
            for value in network.parameters():
                value.add_(plus)
        config = {'task': 'detection', 'source': 'ir', 'pretrained': yolox_file}
        description = {'config': config, 'classes': classes, 'pretrained': origin}
        save_run(tmp_path / name, network, description)
        return str(tmp_path / name)

    return make


@pytest.mark.filterwarnings('ignore:.*sha256')
def test_weights_are_the_mean_and_the_rest_is_of_the_pretrained_ones(save, tmp_path):
    one, two, start = save('one', 1.0), save('two', -0.5), save('start', 0.0)
    main([one, two, '--shares', '0.5', '0.25', '-o', str(tmp_path / 'mean')])
    mean, classes = read_detector(str(tmp_path / 'mean'))
    assert classes == CLASSES
    for value, old in zip(mean.parameters(), read_detector(start)[0].parameters(), strict=True):
        torch.testing.assert_close(value, old + 0.375)
    run = json.loads((tmp_path / 'mean' / 'run.json').read_text(encoding='utf-8'))
    with pytest.raises(OutputError, match='mean exists: name a new folder'):
        main([one, '--shares', '0.5', '-o', str(tmp_path / 'mean')])
    with pytest.raises(OutputError, match=r'run\.json/mean cannot be written: Not a directory'):
        main([one, '--shares', '0.5', '-o', f'{one}/run.json/mean'])
    assert run['pretrained'] == (
        'of COCO; the weights are the mean of runs/one (0.5), runs/two (0.25) and these (0.25)'
    )


@pytest.mark.filterwarnings('ignore:.*sha256')
def test_a_run_that_went_on_from_another_counts_and_the_history_names_all_runs(save, tmp_path):
    one, two = save('one', 1.0, origin='of COCO; a mean'), save('two', -0.5)
    main([one, two, '--shares', '0.5', '0.5', '-o', str(tmp_path / 'mean')])
    assert required_runs(str(tmp_path / 'mean')) == [str(Path(two).resolve())]


def test_detectors_that_do_not_belong_together_are_refused(save, tmp_path):
    one = save('one', 1.0)
    for other in (save('two', 1.0, ('person', 'dog')), save('three', 1.0, origin='other')):
        with pytest.raises(FusionError, match='same classes and pretrained weights'):
            main([one, other, '--shares', '0.5', '0.5', '-o', str(tmp_path / 'mean')])
    with pytest.raises(FusionError, match='four did not start from pretrained weights'):
        main([save('four', 1.0, origin=''), '--shares', '0.5', '-o', str(tmp_path / 'mean')])


@pytest.mark.parametrize('shares', [['0.5'], ['0.6', '0.6'], ['-0.1', '0.5'], ['nan', '0.5']])
def test_shares_are_one_for_each_run_and_at_most_one_together(shares):
    with pytest.raises(SystemExit):
        main(['one', 'two', '--shares', *shares, '-o', 'mean'])
