import json

import pytest

torch = pytest.importorskip('torch')
for package in ('cv2', 'pycocotools', 'safetensors', 'tqdm', 'yaml'):
    pytest.importorskip(package)

from tdfusion_ros.core.errors import ConfigError  # noqa: E402
from training.compare import main  # noqa: E402
from training.config import FusionTask  # noqa: E402
from training.data.datasets import load_samples  # noqa: E402
from training.train import train  # noqa: E402

pytestmark = pytest.mark.torch

SMALL = ['steps=2', 'batch=2', 'crop_hw=[64, 64]', 'warmup_steps=1', 'threads=1']


def arguments(data_root, tmp_path, *more):
    settings = [*SMALL, f'data={data_root}', *more]
    return [*settings, '--split', 'train', '-o', str(tmp_path / 'compare')]


def test_every_input_is_trained_afresh_with_every_seed(data_root, tmp_path, capsys):
    run = str(tmp_path / 'fusion')
    config = FusionTask(
        data=str(data_root), run=run, steps=1, batch=1, crop_hw=(64, 64), threads=1
    )
    train(config, load_samples(data_root, 'train'))
    main([*arguments(data_root, tmp_path), '--fused', f'ours={run}', '--seeds', '0', '1'])
    rows = ['ir', 'rgb', 'average', 'maximum', 'early', 'ours']
    table = json.loads((tmp_path / 'compare' / 'table.json').read_text())
    assert list(table) == rows
    assert all(len(seeds) == 2 for seeds in table.values())
    weights = [
        (tmp_path / 'compare' / f'{row}_{seed}' / 'weights.safetensors').read_bytes()
        for row in rows
        for seed in (0, 1)
    ]
    assert len(set(weights)) == 12
    assert '±' in capsys.readouterr().out


def test_finished_runs_are_measured_again_but_not_trained_again(data_root, tmp_path, monkeypatch):
    call = [*arguments(data_root, tmp_path), '--simple', 'ir']
    main(call)
    before = (tmp_path / 'compare' / 'table.json').read_text()
    monkeypatch.setattr('training.compare.train', None)
    main(call)
    assert (tmp_path / 'compare' / 'table.json').read_text() == before


def test_a_run_of_another_schedule_is_not_taken_for_this_one(data_root, tmp_path):
    main([*arguments(data_root, tmp_path), '--simple', 'ir'])
    with pytest.raises(ConfigError, match='other settings'):
        main([*arguments(data_root, tmp_path, 'lr=0.1'), '--simple', 'ir'])
