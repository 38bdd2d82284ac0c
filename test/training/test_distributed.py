import os
import subprocess
import sys

import pytest
import torch

if not torch.distributed.is_available():
    pytest.skip('torch was built without torch.distributed', allow_module_level=True)

import ranks
from safetensors.torch import load_file

from tdfusion_ros.core.errors import ConfigError
from training import distributed
from training.checkpoint import load_run
from training.method.learned import learned_training
from training.train import main
from training.train import train


def test_two_processes_compute_and_train_what_one_would(root, data_root, tmp_path, logged):
    call = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2']
    path = os.pathsep.join(filter(None, (str(root), os.environ.get('PYTHONPATH'))))
    done = subprocess.run(
        [*call, ranks.__file__, str(tmp_path), str(data_root)],
        env={**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    first, second = (load_file(tmp_path / f'{rank}.safetensors') for rank in (0, 1))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    for name, expected in ranks.everything().items():
        tolerance = {'rtol': 1e-9, 'atol': 1e-14} if expected.dtype == torch.float64 else {}
        if not name.startswith('statistics'):
            torch.testing.assert_close(first[name], expected, msg=name, **tolerance)
    for name, value in load_run(tmp_path / 'learned').state_dict().items():
        assert torch.equal(value, first[name])
    # The command writes one run, that of a single process.
    assert done.stdout.count('4 pairs') == 1
    main(ranks.fusion_settings(tmp_path / 'one', data_root))
    two, one = (logged(tmp_path / name) for name in ('two', 'one'))
    assert [line['step'] for line in two] == [0, 1]
    for line, expected in zip(two, one, strict=True):
        assert line == pytest.approx(expected, rel=1e-4)
    two, one = (load_run(tmp_path / name).state_dict() for name in ('two', 'one'))
    torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-5)


def test_what_processes_cannot_share_or_compare_is_refused(short_run, samples, monkeypatch):
    monkeypatch.setattr(distributed, 'world_size', lambda: 2)
    with pytest.raises(ConfigError, match='multiple of 2, got 3: 2 processes share it'):
        train(short_run(batch=3), samples)
    monkeypatch.setattr('training.method.learned.world_size', lambda: 2)
    config = short_run('learned', task_networks='both', combine='pcgrad', method='pixel')
    with pytest.raises(ConfigError, match='several processes'):
        learned_training(config, torch.device('cpu'))
