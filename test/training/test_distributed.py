import json
import os
import subprocess
import sys

import pytest

torch = pytest.importorskip('torch')
for package in ('cv2', 'safetensors', 'tqdm', 'yaml'):
    pytest.importorskip(package)
if not torch.distributed.is_available():
    pytest.skip('torch was built without torch.distributed', allow_module_level=True)

import ranks  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from variants import variant  # noqa: E402

from tdfusion_ros.core.errors import ConfigError  # noqa: E402
from training import distributed  # noqa: E402
from training.checkpoint import load_run  # noqa: E402
from training.config import FusionTask  # noqa: E402
from training.config import LearnedTask  # noqa: E402
from training.data.datasets import load_samples  # noqa: E402
from training.method.learned import learned_task  # noqa: E402
from training.train import train  # noqa: E402

pytestmark = pytest.mark.torch


def torchrun(root, *arguments):
    """Run a program in two processes on this machine; the port is chosen by torchrun."""
    call = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2', *arguments]
    path = os.pathsep.join(filter(None, (str(root), os.environ.get('PYTHONPATH'))))
    environment = {**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(
        [sys.executable, *call], cwd=root, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def both(root, data_root, tmp_path):
    """Return what each of two processes found, and the run that they trained."""
    run = tmp_path / 'run'
    torchrun(root, ranks.__file__, str(tmp_path), str(run), str(data_root))
    return [load_file(tmp_path / f'{rank}.safetensors') for rank in (0, 1)], run


def test_two_processes_find_the_gradients_of_one_and_end_with_the_same_networks(both):
    (first, second), run = both
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    for name, expected in ranks.everything().items():
        tolerance = {'rtol': 1e-9, 'atol': 1e-14} if expected.dtype == torch.float64 else {}
        if not name.startswith('statistics'):
            torch.testing.assert_close(first[name], expected, msg=name, **tolerance)
    for name, value in load_run(run).state_dict().items():
        assert torch.equal(value, first[name])


def test_torchrun_writes_one_run_that_one_process_would_have_trained(root, data_root, tmp_path):
    runs = tmp_path / 'two', tmp_path / 'one'
    steps, batch, crop_hw = 3, 2, (64, 64)
    settings = [f'run={runs[0]}', f'data={data_root}', f'steps={steps}', f'batch={batch}']
    crop = f'crop_hw={list(crop_hw)}'
    out = torchrun(root, '-m', 'training.train', *settings, crop, 'threads=1', 'device=cpu')
    assert out.count('on 2 x CPU') == out.count('4 pairs') == 1
    config = FusionTask(
        run=str(runs[1]), data=str(data_root), steps=steps, batch=batch, crop_hw=crop_hw, threads=1
    )
    train(variant(config, device='cpu'), load_samples(data_root, 'train'))
    logs = [
        [json.loads(line) for line in (run / 'log.jsonl').read_text('utf-8').splitlines()]
        for run in runs
    ]
    assert [line['step'] for line in logs[0]] == [0, 1, 2]
    for line, expected in zip(*logs, strict=True):
        assert line == pytest.approx(expected, rel=1e-4)
    two, one = (load_run(run).state_dict() for run in runs)
    torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-5)


def test_a_batch_that_cannot_be_shared_equally_is_refused(data_root, tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, 'world_size', lambda: 2)
    config = FusionTask(data=str(data_root), run=str(tmp_path / 'run'), batch=3)
    with pytest.raises(ConfigError, match='multiple of 2, for 2 processes, got 3'):
        train(config, load_samples(data_root, 'train'))


def test_teachers_are_not_combined_by_what_no_process_knows(data_root, monkeypatch):
    monkeypatch.setattr('training.method.task_networks.world_size', lambda: 2)
    config = LearnedTask(
        data=str(data_root), task_networks='both', combine='pcgrad', method='pixel'
    )
    with pytest.raises(ConfigError, match='several processes'):
        learned_task(config, torch.device('cpu'))


def test_alone_everything_stays_as_it_is():
    tensors = [torch.rand(2), torch.rand(1)]
    assert all(a is b for a, b in zip(distributed.average(tensors), tensors, strict=True))
    assert distributed.gather([1, 2]) == [1, 2]
    assert distributed.share(range(4)) == range(4)
    assert distributed.is_main()
