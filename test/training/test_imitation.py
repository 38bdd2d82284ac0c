"""Task imitation: a real-time network is trained to produce the images of another one."""

import pytest

from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import ModelError
from tdfusion_ros.nets.detector import Detector
from tdfusion_ros.nets.fusion_rt import FusionRT
from training.checkpoint import read_description
from training.checkpoint import save_run
from training.train import train

pytestmark = pytest.mark.torch


@pytest.fixture
def imitating(short_run, samples, tmp_path):
    """Return settings that imitate a short run: ``imitating(views=2)``."""
    imitated = short_run(run=str(tmp_path / 'imitated'), seed=1)
    train(imitated, samples)
    fixed = {'imitate': imitated.run, 'panel_every': 0}
    return lambda **changes: short_run('imitation', **{**fixed, 'views': 2, **changes})


def test_a_network_approaches_the_one_that_it_imitates(imitating, samples, logged):
    config = imitating(steps=12, lr=2e-2, validate_every=6)
    train(config, samples)
    distances = [line['distance'] for line in logged(config.run)]
    assert distances[-1] < 0.7 * distances[0]
    first, last = (line['loss'] for line in logged(config.run, 'validation'))
    assert last < first
    assert read_description(config.run)['config']['imitate'] == config.imitate


def test_the_imitated_network_runs_once_for_each_view(imitating, samples, monkeypatch):
    seen = []
    forward = FusionRT.forward  # of the imitated network: the other one runs mix
    monkeypatch.setattr(
        FusionRT, 'forward', lambda *a: (seen.append(a[1].mean().item()), forward(*a))[1]
    )
    train(imitating(steps=6), samples)
    assert len(seen) == len(set(seen)) == 2


def test_views_repeat_and_look_the_same(imitating, samples, logged):
    config = imitating(steps=4, lr=0.0)
    train(config, samples)
    losses = [line['loss'] for line in logged(config.run)]
    assert losses[0] != losses[1]
    assert losses[2:] == losses[:2]


def test_only_the_realtime_network_imitates(imitating, samples):
    with pytest.raises(ConfigError, match='only network=fusion_rt'):
        train(imitating(network='fusion'), samples)


def test_a_network_that_does_not_fuse_is_not_imitated(short_run, samples, tmp_path):
    save_run(tmp_path / 'detector', Detector(), {})
    with pytest.raises(ModelError, match='contains a Detector, not a fusion network'):
        train(short_run('imitation', imitate=str(tmp_path / 'detector')), samples)
