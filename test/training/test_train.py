from dataclasses import replace
import json

import pytest

torch = pytest.importorskip('torch')
for package in ('cv2', 'safetensors', 'tqdm', 'yaml'):
    pytest.importorskip(package)

from training.checkpoint import load_run  # noqa: E402
from training.config import TrainConfig  # noqa: E402
from training.datasets import load_samples  # noqa: E402
from training.train import batches  # noqa: E402
from training.train import learning_rate  # noqa: E402
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
        next(batches(samples, c)) for c in (config, config, replace(config, seed=1))
    )
    assert torch.equal(first.rgb, again.rgb)
    assert not torch.equal(first.rgb, other.rgb)


def test_every_pair_is_used_once_before_any_is_used_twice(config, data_root):
    samples = load_samples(data_root, 'train')
    used = [name for batch in batches(samples, replace(config, steps=2)) for name in batch.names]
    assert sorted(used) == sorted(s.name for s in samples)


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_batch(config, data_root):
    samples = load_samples(data_root, 'train', limit=1)
    with pytest.raises(FloatingPointError, match=r'not finite at step 0.*batch: a, a'):
        train(replace(config, gradient_weight=float('nan')), samples)
    assert not (data_root.parent / 'fusion' / 'run.json').exists()


def test_learning_rate_warms_up_to_its_peak_and_ends_near_zero(config):
    config = replace(config, steps=100, warmup_steps=10, lr=1.0)
    rates = [learning_rate(step, config) for step in range(100)]
    assert max(rates) == rates[9] == 1.0
    assert rates[0] == pytest.approx(0.1)
    assert rates[-1] < 0.02
