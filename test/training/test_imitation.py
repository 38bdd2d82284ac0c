"""Task imitation: a real-time network learns to make what another one makes."""

import json

import pytest

torch = pytest.importorskip('torch')
for package in ('cv2', 'safetensors', 'tqdm', 'yaml'):
    pytest.importorskip(package)

from variants import variant  # noqa: E402

from tdfusion_ros.core.errors import ConfigError  # noqa: E402
from tdfusion_ros.core.errors import ModelError  # noqa: E402
from tdfusion_ros.nets.detector import Detector  # noqa: E402
from tdfusion_ros.nets.fusion_rt import FusionRT  # noqa: E402
from training.checkpoint import read_description  # noqa: E402
from training.checkpoint import save_run  # noqa: E402
from training.data.datasets import load_samples  # noqa: E402
from training.train import train  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture
def config(short_run, tmp_path):
    return variant(short_run(), run=str(tmp_path / 'fusion'))


@pytest.fixture
def imitating(config, data_root, tmp_path):
    """Return the settings of a run that imitates another one."""
    shown = variant(config, run=str(tmp_path / 'shown'), seed=1)
    train(shown, load_samples(data_root, 'train'))
    return variant(config, task='imitation', imitate=shown.run, steps=12, lr=2e-2, views=2)


def log_of(run):
    with open(f'{run}/log.jsonl', encoding='utf-8') as file:
        return [json.loads(line) for line in file]


def test_a_network_comes_nearer_to_the_one_that_it_imitates(imitating, data_root):
    train(variant(imitating, validate_every=6), load_samples(data_root, 'train'))
    distances = [line['distance'] for line in log_of(imitating.run)]
    assert distances[-1] < 0.7 * distances[0]
    with open(f'{imitating.run}/validation.jsonl', encoding='utf-8') as file:
        first, last = (json.loads(line)['loss'] for line in file)
    assert last < first
    assert read_description(imitating.run)['config']['imitate'] == imitating.imitate


def test_the_imitated_network_is_asked_once_about_each_view(imitating, data_root, monkeypatch):
    asked = []
    forward = FusionRT.forward  # of the imitated one: the other one is asked for its mix
    monkeypatch.setattr(
        FusionRT, 'forward', lambda *a: (asked.append(a[1].mean().item()), forward(*a))[1]
    )
    train(variant(imitating, panel_every=0), load_samples(data_root, 'train'))
    assert len(asked) == len(set(asked)) == 2


def test_views_come_again_and_look_the_same(imitating, data_root):
    train(variant(imitating, lr=0.0), load_samples(data_root, 'train'))
    losses = [line['loss'] for line in log_of(imitating.run)]
    assert losses[0] != losses[1]
    assert losses[2:4] == losses[:2]


@pytest.mark.parametrize(
    ('change', 'text'),
    [({'imitate': ''}, 'needs imitate=RUN'), ({'views': -1}, 'views must be 0')],
)
def test_an_imitation_that_cannot_be_is_refused(config, change, text):
    with pytest.raises(ConfigError, match=text):
        variant(config, task='imitation', **{'imitate': 'runs/a', **change})


def test_no_other_than_the_realtime_network_imitates(imitating, data_root):
    with pytest.raises(ConfigError, match='network=fusion_rt alone'):
        train(variant(imitating, network='fusion'), load_samples(data_root, 'train'))


def test_what_does_not_fuse_is_not_imitated(config, data_root, tmp_path):
    save_run(tmp_path / 'detector', Detector(), {})
    with pytest.raises(ModelError, match='holds a Detector, not a fusion network'):
        train(
            variant(config, task='imitation', imitate=str(tmp_path / 'detector')),
            load_samples(data_root, 'train'),
        )
