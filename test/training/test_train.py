from dataclasses import replace
import os
from pathlib import Path
import subprocess
import sys

import pytest
from safetensors import safe_open
from safetensors.torch import save_file
import torch

from tdfusion_ros.core.errors import FusionError
from training.checkpoint import load_run
from training.checkpoint import read_description
from training.checkpoint import saved_steps
from training.checkpoint import UNFINISHED
from training.config_reader import load_config
from training.data.datasets import open_dataset
import training.evaluate
import training.train
from training.train import learning_rate_factor
from training.train import main
from training.train import train

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / 'models' / 'msrs_rt'

pytestmark = pytest.mark.usefixtures('tiny_detector')


@pytest.fixture
def masked_samples(masked_root):
    return list(open_dataset(masked_root, 'train'))


def with_classes(root, *names):
    (root / 'classes.txt').write_text('\n'.join(names), encoding='utf-8')


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_batch(short_run, samples):
    config = short_run(gradient_weight=float('nan'))
    with pytest.raises(FusionError, match=r'not finite at step 0.*batch: a, a'):
        train(config, samples[:1])
    assert not (Path(config.run) / 'run.json').exists()


def test_learning_rate_warms_up_to_its_peak_and_ends_near_zero(short_run):
    config = short_run(steps=100, warmup_steps=10)
    factors = [learning_rate_factor(step, config) for step in range(100)]
    assert max(factors) == factors[9] == 1.0
    assert factors[0] == pytest.approx(0.1)
    assert factors[-1] < 0.02


@pytest.mark.parametrize('method', ['adam', 'pixel', 'paper'])
def test_the_learned_loss_trains_fusion_detector_and_loss_net(short_run, samples, logged, method):
    config = short_run('learned', steps=5, meta_every=2, method=method, inner_steps=2)
    train(config, samples)
    log = logged(config.run)
    assert [line['step'] for line in log if 'after_inner_update' in line] == [2, 4]
    assert log[-1]['map_size'] != log[0]['map_size']
    agreed = [line['step'] for line in log if 'agreement' in line]
    assert agreed == ([] if method == 'paper' else [4])  # it has no momentum
    for place in ('', 'detector', 'loss_net'):
        load_run(Path(config.run) / place)


@pytest.mark.parametrize(
    ('task', 'changes', 'saved'),
    [
        ('fusion', {}, 2),
        ('fusion', {'save_every': 100}, 3),  # by time, as in a slow run
        ('learned', {'inner_steps': 2, 'meta_every': 2, 'workers': 2, 'validate_every': 2}, 2),
        ('learned', {'task_networks': 'both', 'combine': 'pcgrad', 'meta_every': 1}, 2),
    ],
)
def test_an_interrupted_run_ends_as_the_uninterrupted_one_to_the_bit(
    short_run, masked_samples, tmp_path, monkeypatch, interrupt, task, changes, saved
):
    settings = {'steps': 4, 'save_every': 2, 'panel_every': 0, **changes}
    whole, broken = (
        short_run(task, run=str(tmp_path / name), **settings) for name in ('whole', 'broken')
    )
    train(whole, masked_samples)
    if saved == 3:
        monkeypatch.setattr(training.train, 'SAVE_SECONDS', 0.0)
    interrupt(3, train, broken, masked_samples)
    assert saved_steps(broken.run) == saved
    train(broken, masked_samples)
    names = ['weights.safetensors', 'log.jsonl']
    for name in names + (['validation.jsonl'] if 'validate_every' in changes else []):
        assert Path(broken.run, name).read_bytes() == Path(whole.run, name).read_bytes()
    assert read_description(broken.run)['best'] == read_description(whole.run)['best']


def test_a_run_resumes_after_a_move_with_other_threads_but_not_with_other_settings(
    short_run, samples, data_root, tmp_path, interrupt
):
    start, other = (
        short_run(run=str(tmp_path / f'start{seed}'), steps=1, seed=seed) for seed in (0, 5)
    )
    train(start, samples)
    train(other, samples)
    config = short_run(fusion=start.run, save_every=1)
    interrupt(2, train, config, samples)
    with pytest.raises(FusionError, match=r'other settings: lr was 0\.002, is 1\.0; seed was'):
        train(replace(config, lr=1.0, seed=9), samples)
    with pytest.raises(FusionError, match='weights of fusion was'):
        train(replace(config, fusion=other.run), samples)
    moved = {}
    for name, place in (('data', data_root), ('run', config.run), ('fusion', start.run)):
        moved[name] = str(Path(place).rename(tmp_path / f'moved_{name}'))
    config = replace(config, **moved)
    config = replace(config, threads=2, workers=1, save_every=7, panel_every=3, device='cpu')
    train(config, samples)
    assert read_description(config.run)['config']['save_every'] == 7
    with pytest.raises(FusionError, match='finished'):
        train(config, samples)


def test_an_earlier_state_resumes_but_a_damaged_one_is_refused(short_run, samples, interrupt):
    config = short_run(save_every=1)
    interrupt(2, train, config, samples)
    path = Path(config.run) / UNFINISHED
    with safe_open(path, 'pt') as file:
        tensors, notes = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    old = notes['facts'].replace('{', '{"data": "/gone", "source": "fused", "pull": 0.5, ', 1)
    save_file(tensors, path, {**notes, 'facts': old})
    state = path.read_bytes()
    path.write_bytes(state[:1000])
    with pytest.raises(FusionError, match=rf'{UNFINISHED} cannot be read'):
        train(config, samples)
    for wrong in ({}, {**notes, 'facts': '['}, {**notes, 'progress': 'null'}):
        save_file(tensors, path, wrong)
        with pytest.raises(FusionError, match=rf'{UNFINISHED} does not fit'):
            train(config, samples)
    first = next(iter(tensors))
    save_file({**tensors, first: tensors[first].repeat(2)}, path, notes)
    with pytest.raises(FusionError, match=rf'{UNFINISHED} does not fit'):
        train(config, samples)
    path.write_bytes(state)
    train(config, samples)


def test_an_interrupted_command_says_what_is_saved_and_the_next_one_where_it_resumes(
    data_root, tmp_path, interrupt, capsys
):
    run = tmp_path / 'run'
    places = [f'data={data_root}', f'run={run}']
    settings = [*places, 'steps=3', 'batch=1', 'crop_hw=[64,64]', 'save_every=2', 'workers=0']
    assert interrupt(1, main, settings) == 'interrupted; nothing saved yet'
    assert interrupt(2, main, settings).startswith('interrupted; saved at step 2: the same')
    main(settings)
    output = capsys.readouterr().out
    assert 'resuming at step 2 of 3' in output
    assert f'{run} is finished; next: python -m training.train config/train/det' in output


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        (['frozen_detector=a b/yolo.onnx'], ['pretrained=a b/yolo.onnx', 'fusion=F']),
        (['task=learned'], ['config/train/detector.yaml', 'fusion=F']),
        (['task=detection', 'source=ir'], ['training.evaluate', '--detector', 'F']),
        (['task=segmentation', 'source=ir', 'validate_split=test'], ['--split', 'test']),
    ],
)
def test_the_next_command_runs_as_it_stands(settings, words, root):
    config = load_config(['data=D', 'run=F', *settings])
    module, *arguments = training.train.next_command(config)
    assert set(words) <= {module, *arguments}
    if module == 'training.train':
        assert load_config([str(root / arguments[0]), *arguments[1:]]).run == 'F_detector'
    else:
        assert training.evaluate.parse(arguments).data == ['D']


def test_an_unusable_run_folder_is_refused_before_data_are_read(data_root, tmp_path, monkeypatch):
    monkeypatch.setattr(training.train, 'cache_samples', None)
    (tmp_path / 'file').touch()
    with pytest.raises(FusionError, match='file cannot be written: Not a directory'):
        main([f'data={data_root}', f'run={tmp_path / "file"}'])


@pytest.mark.parametrize('command', ['train', 'export', 'evaluate', 'compare'])
def test_a_missing_torch_ends_each_command_with_one_line(root, tmp_path, command):
    (tmp_path / 'sitecustomize.py').write_text("import sys\nsys.modules['torch'] = None\n")
    call = [sys.executable, '-m', f'training.{command}']
    path = {**os.environ, 'PYTHONPATH': str(tmp_path)}
    done = subprocess.run(call, cwd=root, env=path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "training: torch is missing: pip install '.[train]'\n"


@pytest.mark.parametrize(
    ('missing', 'message'),
    [
        ('data=nowhere', 'nowhere is not a folder: name the folder of a data set'),
        ('fusion=nowhere', 'nowhere is not a finished training run: it is no folder'),
        ('fusion=/dev/null', '/dev/null is not a finished training run: it is no folder'),
        (f'fusion={ROOT}', 'is not a finished training run: it has no run.json'),
        (f'pretrained={ROOT}/test', 'is not a finished training run: it has no run.json'),
        (f'run={SHIPPED}', 'is a bundle: name another folder for results'),
        ('pretrained=nowhere.onnx', 'nowhere.onnx cannot be read'),
    ],
)
def test_missing_data_and_networks_are_refused_before_images_are_read(
    data_root, tmp_path, monkeypatch, missing, message
):
    monkeypatch.setattr(training.train, 'cache_samples', None)
    settings = [f'data={data_root}', f'run={tmp_path / "run"}', 'task=detection']
    start = 'fusion=A' if 'fusion' in missing else 'source=ir'
    with pytest.raises(FusionError, match=message):
        main([*settings, start, missing])


@pytest.mark.parametrize(('task', 'settings'), [('detection', {'source': 'ir'}), ('learned', {})])
def test_a_detector_learns_the_classes_of_the_data_in_bfloat16_and_starts_only_on_these(
    short_run, masked_root, masked_samples, tmp_path, task, settings
):
    with_classes(masked_root, 'deer', 'boar', 'hare', 'fox')
    config = short_run(task, amp=True, **settings)
    train(config, masked_samples)
    run = Path(config.run) / ('detector' if task == 'learned' else '')
    assert load_run(run).config.classes == 4
    for value in [v for place in (run, config.run) for v in load_run(place).state_dict().values()]:
        assert value.dtype != torch.bfloat16
        assert value.isfinite().all()
    for folder in (run, config.run):
        assert read_description(folder)['classes'] == ['deer', 'boar', 'hare', 'fox']
    with_classes(masked_root, 'deer', 'boar', 'hare')
    with pytest.raises(FusionError, match=r'hare, fox, but the data have .* boar, hare:'):
        train(short_run('learned', run=str(tmp_path / 'other'), detector=str(run)), masked_samples)


@pytest.mark.parametrize(
    ('task', 'settings', 'folder', 'message'),
    [
        ('detection', {'source': 'ir'}, 'labels', 'has no boxes'),
        ('learned', {'task_networks': 'both'}, 'labels', 'has no boxes'),
        ('segmentation', {'source': 'ir'}, 'masks', 'has no masks'),
    ],
)
def test_tasks_need_labels(
    short_run, masked_root, masked_samples, task, settings, folder, message
):
    (masked_root / folder).rename(masked_root / 'elsewhere')
    with pytest.raises(FusionError, match=message):
        train(short_run(task, **settings), masked_samples)


def test_a_missing_device_is_refused_and_auto_named(short_run, samples, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(FusionError, match='device=cpu'):
        train(short_run(device='cuda'), samples)
    train(short_run(steps=1), samples)
    assert 'on CPU' in capsys.readouterr().out


def test_the_smoke_config_trains_the_learned_loss(root, data_root, tmp_path, capsys, logged):
    run = tmp_path / 'smoke'
    changes = [f'data={data_root}', f'run={run}', 'steps=3', 'validate_every=2']
    main([str(root / 'config' / 'train' / 'smoke.yaml'), *changes])
    assert '4 pairs' in capsys.readouterr().out
    for place in ('', 'detector', 'loss_net'):
        load_run(run / place)
    assert len(logged(run, 'validation')) == 2
