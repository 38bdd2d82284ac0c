"""Task imitation: a real-time network is trained to produce the images of another one."""

import pytest
import torch

from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.nets.fusion_rt import FusionRT
from tdfusion_ros.nets.fusion_rt import FusionRTConfig
from training.checkpoint import read_description
from training.checkpoint import save_run
from training.method.loss_net import LossNetRT
from training.train import train


@pytest.fixture
def imitating(short_run, tmp_path):
    """Return settings that imitate a random network: ``imitating(views=2)``."""
    torch.manual_seed(1)
    run = tmp_path / 'imitated'
    save_run(run, FusionRT(FusionRTConfig(width=4, depth=2)), {})
    save_run(tmp_path / 'loss_net', LossNetRT(), {})
    fixed = {'imitate': str(run), 'panel_every': 0, 'views': 2}
    return lambda **changes: short_run('imitation', **{**fixed, **changes})


def test_a_network_approaches_the_one_that_it_imitates(imitating, samples, logged):
    config = imitating(steps=12, lr=2e-2, validate_every=6)
    train(config, samples)
    distances = [line['intensity'] for line in logged(config.run)]
    assert distances[-1] < 0.7 * distances[0]
    first, last = (line['loss'] for line in logged(config.run, 'validation'))
    assert last < first
    assert read_description(config.run)['config']['imitate'] == config.imitate


def test_views_repeat_and_imitation_runs_once_for_each(imitating, samples, logged, monkeypatch):
    seen = []
    forward = FusionRT.forward  # of the imitated network: the other one runs mix
    monkeypatch.setattr(
        FusionRT, 'forward', lambda *a: (seen.append(a[1].mean().item()), forward(*a))[1]
    )
    config = imitating(steps=4, lr=0.0)
    train(config, samples)
    assert len(seen) == len(set(seen)) == 2
    losses = [line['loss'] for line in logged(config.run)]
    assert losses[0] != losses[1]
    assert losses[2:] == losses[:2]


def test_realtime_networks_imitate_and_fusion_networks_are_imitated(imitating, samples, tmp_path):
    with pytest.raises(FusionError, match='only network=fusion_rt'):
        train(imitating(network='fusion'), samples)
    with pytest.raises(FusionError, match='contains a LossNetRT, not a fusion network'):
        train(imitating(imitate=str(tmp_path / 'loss_net')), samples)
