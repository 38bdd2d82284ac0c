from dataclasses import replace
import json

import pytest

torch = pytest.importorskip('torch')
for package in ('cv2', 'onnxruntime', 'pycocotools', 'safetensors', 'tqdm', 'yaml'):
    pytest.importorskip(package)

from training.config import TrainConfig  # noqa: E402
from training.datasets import load_samples  # noqa: E402
from training.evaluate import main  # noqa: E402
from training.train import train  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture
def config(data_root, tmp_path):
    run = str(tmp_path / 'run')
    return TrainConfig(run=run, steps=1, batch=2, crop_hw=(64, 64), warmup_steps=1, threads=1)


def measure(what, config, data_root):
    output = data_root / 'table.json'
    main([what, config.run, '--data', str(data_root), '-o', str(output)])
    return json.loads(output.read_text(encoding='utf-8'))


def test_evaluation_of_a_detector_has_a_row_for_each_class(config, data_root, capsys):
    config = replace(config, task='detection', source='ir')
    train(config, load_samples(data_root, 'train'))
    table = measure('--detector', config, data_root)
    assert list(table) == ['person', 'bicycle', 'car', 'all']
    assert list(table['car']) == ['AP50', 'AP75', 'AP50-95']
    assert '| car |' in capsys.readouterr().out


def test_evaluation_of_a_fusion_network_compares_it_with_the_plain_mean(config, data_root):
    train(config, load_samples(data_root, 'train'))
    table = measure('--fusion', config, data_root)
    assert table['mean']['intensity'] < table['ir']['intensity']
    assert table['network']['loss'] > 0
