from dataclasses import replace
import json

import pytest

torch = pytest.importorskip('torch')
for package in ('cv2', 'safetensors', 'tqdm', 'yaml'):
    pytest.importorskip(package)

from tdfusion_ros.core.errors import ModelError  # noqa: E402
from training.checkpoint import load_run  # noqa: E402
from training.config import TrainConfig  # noqa: E402
from training.datasets import load_samples  # noqa: E402
from training.train import learning_rate  # noqa: E402
from training.train import make_batch  # noqa: E402
from training.train import train  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture
def config(data_root, tmp_path):
    return TrainConfig(
        data=str(data_root),
        run=str(tmp_path / 'fusion'),
        steps=3,
        batch=2,
        crop_hw=(64, 64),
        warmup_steps=1,
        threads=1,
    )


def detector_config(config, tmp_path):
    return replace(
        config,
        task='detection',
        fusion=config.run,
        run=str(tmp_path / 'detector'),
        mosaic=0.5,
    )


def test_both_networks_train_from_files_to_a_run_folder(config, data_root, tmp_path):
    samples = load_samples(data_root, 'train')
    train(config, samples)
    train(detector_config(config, tmp_path), samples)
    for run in ('fusion', 'detector'):
        log = (tmp_path / run / 'log.jsonl').read_text(encoding='utf-8').splitlines()
        assert [json.loads(line)['step'] for line in log] == [0, 1, 2]
        network = load_run(tmp_path / run)
        assert all(value.isfinite().all() for value in network.state_dict().values())


def test_a_saved_run_loads_as_the_network_that_was_returned(config, data_root):
    trained = train(config, load_samples(data_root, 'train'))
    loaded = load_run(config.run)
    y, ir = torch.rand(1, 1, 32, 32), torch.rand(1, 1, 32, 32)
    torch.testing.assert_close(loaded(y, ir), trained(y, ir))


def test_same_seed_gives_the_same_batches_and_another_seed_others(config, data_root):
    samples = load_samples(data_root, 'train')
    first, again, other = (
        make_batch(samples, c, 0) for c in (config, config, replace(config, seed=1))
    )
    assert torch.equal(first.rgb, again.rgb)
    assert not torch.equal(first.rgb, other.rgb)


def test_every_pair_is_used_once_before_any_is_used_twice(config, data_root):
    samples = load_samples(data_root, 'train')
    used = [name for step in (0, 1) for name in make_batch(samples, config, step).names]
    assert sorted(used) == sorted(s.name for s in samples)


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_batch(config, data_root):
    samples = load_samples(data_root, 'train', limit=1)
    with pytest.raises(FloatingPointError, match=r'not finite at step 0.*batch: a, a'):
        train(replace(config, gradient_weight=float('nan')), samples)
    assert not (data_root.parent / 'fusion' / 'run.json').exists()


def test_learning_rate_warms_up_to_its_peak_and_ends_near_zero(config):
    config = replace(config, steps=100, warmup_steps=10)
    rates = [learning_rate(step, config) for step in range(100)]
    assert max(rates) == rates[9] == 1.0
    assert rates[0] == pytest.approx(0.1)
    assert rates[-1] < 0.02


def learned_config(config, tmp_path, **changes):
    values = {'task': 'learned', 'run': str(tmp_path / 'learned'), 'steps': 6, 'meta_every': 2}
    return replace(config, batch=1, **{**values, **changes})


@pytest.mark.parametrize('method', ['adam', 'pixel', 'paper'])
def test_the_learned_loss_trains_fusion_detector_and_loss_net(config, data_root, tmp_path, method):
    config = learned_config(config, tmp_path, method=method, look_ahead=2)
    train(config, load_samples(data_root, 'train'))
    log = [json.loads(line) for line in (tmp_path / 'learned/log.jsonl').read_text().splitlines()]
    taught = [line['step'] for line in log if 'after_look_ahead' in line]
    assert taught == [2, 4]
    assert log[-1]['weight_ir'] != log[0]['weight_ir']
    for place in ('', 'detector', 'loss_net'):
        load_run(tmp_path / 'learned' / place)


@pytest.mark.parametrize(
    'changes',
    [
        {'task': 'fusion'},
        {'task': 'learned'},
        {'task': 'learned', 'teacher': 'both', 'combine': 'pcgrad'},
        {'task': 'segmentation', 'source': 'ir'},
    ],
    ids=lambda changes: '-'.join(changes.values()),
)
def test_an_interrupted_run_ends_as_the_uninterrupted_one_to_the_bit(
    config, masked_root, tmp_path, monkeypatch, changes
):
    if 'teacher' in changes or changes['task'] == 'segmentation':
        pytest.importorskip('transformers')  # its network drops at random: that goes on, too
    samples = load_samples(masked_root, 'train')
    changes = {**changes, 'save_every': 2, 'look_ahead': 2}
    whole, broken = (
        learned_config(config, tmp_path, run=str(tmp_path / name), **changes)
        for name in ('whole', 'broken')
    )
    train(whole, samples)

    def make_batch_until_the_power_fails(samples, config, step):
        if step == 5:
            raise KeyboardInterrupt
        return make_batch(samples, config, step)

    with monkeypatch.context() as patch:
        patch.setattr('training.train.make_batch', make_batch_until_the_power_fails)
        with pytest.raises(KeyboardInterrupt):
            train(broken, samples)
    train(broken, samples)
    for file in ('weights.safetensors', 'log.jsonl'):
        assert (tmp_path / 'broken' / file).read_bytes() == (
            tmp_path / 'whole' / file
        ).read_bytes()


def test_a_run_does_not_go_on_under_other_settings(config, data_root, monkeypatch):
    samples = load_samples(data_root, 'train')
    config = replace(config, save_every=1)
    with monkeypatch.context() as patch:
        patch.setattr('training.train.save_run', lambda *_: (_ for _ in ()).throw(OSError))
        with pytest.raises(OSError):  # noqa: PT011
            train(config, samples)
    with pytest.raises(ModelError, match='other settings'):
        train(replace(config, lr=1.0), samples)
    train(config, samples)
    with pytest.raises(ModelError, match='finished'):
        train(config, samples)
