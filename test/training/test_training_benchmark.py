"""The benchmark of a training step, with a small network."""

import pytest

from benchmarks import training


@pytest.mark.parametrize('task', ['detection', 'learned'])
def test_the_parts_of_a_step_are_timed(data_root, tiny_detector, monkeypatch, capsys, task):
    monkeypatch.setattr(training, 'RUNS', 2)
    settings = [f'task={task}', f'data={data_root}', 'crop_hw=[64,96]', 'device=cpu']
    training.main(settings + (['source=ir'] if task == 'detection' else []))
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith('|')]
    assert [row.split('|')[1].strip() for row in rows] == [
        'step, 2 crops of 64x64',
        'running averages',
        'batch, 4 crops of 96x64',
        'batch, 4 crops of 32x32',
    ]
    assert all(float(row.split('|')[2]) >= 0 for row in rows)
