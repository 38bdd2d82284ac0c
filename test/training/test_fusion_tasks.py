"""The tasks that train a fusion network, and the networks that they are trained for."""

import copy
from dataclasses import asdict
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file
import torch

from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.nets.fusion_rt import FusionRT
from tdfusion_ros.nets.fusion_rt import FusionRTConfig
from tdfusion_ros.nets.segmenter import Segmenter
from tdfusion_ros.nets.segmenter import SegmenterConfig
from training.checkpoint import read_description
from training.checkpoint import save_run
from training.data.batches import make_batch
from training.data.datasets import CLASSES
from training.data.datasets import open_dataset
from training.method import fusion
from training.method.fusion import frozen_networks
from training.method.fusion import fusion_loss_of
from training.method.fusion import fusion_training
from training.method.learned import learned_training
from training.method.loss_net import LossNetConfig
from training.method.loss_net import LossNetRT
from training.method.losses import sources_of
from training.method.task_networks import make_detector
from training.method.tasks import make_fusion
from training.train import train


@pytest.fixture
def detector_run(tiny_detector, tmp_path):
    torch.manual_seed(0)
    save_run(tmp_path / 'detector', make_detector(CLASSES), {'classes': CLASSES})
    return str(tmp_path / 'detector')


@pytest.fixture
def config(short_run, detector_run):
    torch.manual_seed(0)
    return short_run('fusion', batch=2, frozen_detector=detector_run)


@pytest.fixture
def batch(config, samples):
    return make_batch(samples, config, 0)


def weights_after_a_step(config, batch):
    torch.manual_seed(1)
    training = fusion_training(config, torch.device('cpu'))
    losses = training.step(0, batch, [])
    return training, losses


def test_the_frozen_detector_changes_the_fusion_network_but_not_itself(config, batch, monkeypatch):
    made = []
    monkeypatch.setattr(
        fusion, 'frozen_networks', lambda *args: made.append(frozen_networks(*args)) or made[0]
    )
    before = frozen_networks(config, torch.device('cpu'))['task'][0].state_dict()
    training, losses = weights_after_a_step(config, batch)
    assert list(training.networks) == ['fusion']
    assert losses['task'] > 0
    for name, value in made[0]['task'][0].state_dict().items():
        assert torch.equal(value, before[name])
    without = weights_after_a_step(replace(config, frozen_detector=''), batch)[0]
    ours, other = (t.networks['fusion'].state_dict() for t in (training, without))
    assert any(not torch.equal(ours[name], other[name]) for name in ours)


def test_training_without_a_frozen_detector_says_so(config, capsys):
    fusion_training(config, torch.device('cpu'))
    assert not capsys.readouterr().out
    fusion_training(replace(config, frozen_detector=''), torch.device('cpu'))
    assert 'no frozen_detector' in capsys.readouterr().out


def test_the_loss_is_the_fixed_loss_plus_the_weighted_task_loss(config, batch):
    light, heavy = (
        weights_after_a_step(replace(config, task_weight=weight), batch)[1]
        for weight in (0.0, 2.0)
    )
    torch.testing.assert_close(heavy['loss'], light['loss'] + 2 * light['task'])


def test_classes_that_an_image_does_not_label_teach_nothing_about_it(config, batch):
    unlabeled = replace(batch, labeled=torch.zeros(len(batch.names), len(CLASSES)).bool())
    unlabeled.valid.zero_()
    assert weights_after_a_step(config, unlabeled)[1]['task'] == 0


@pytest.mark.parametrize('name', ['half', 'picture'])
def test_each_fixed_loss_trains_a_network_toward_it(config, batch, name):
    config = replace(config, frozen_detector='', fixed_loss=name, lr=1e-2)
    training = fusion_training(config, torch.device('cpu'))
    losses = [training.step(step, batch, [])['loss'].item() for step in range(20)]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize('asked', [False, True])
def test_a_network_that_goes_on_compares_details_by_cell_if_it_is_asked_to(
    config, tmp_path, asked
):
    save_run(tmp_path / 'before', FusionRT(FusionRTConfig(width=4, depth=2)), {})
    config = replace(config, fusion=str(tmp_path / 'before'), fusion_steady=asked)
    assert make_fusion(config).config.steady is asked


def test_a_darker_place_costs_more_than_as_much_noise(config):
    loss_of = fusion_loss_of(replace(config, fixed_loss='picture'), torch.device('cpu'))
    luma = torch.full((1, 1, 96, 96), 0.5)
    noise = torch.where(torch.rand_like(luma) < 0.5, -0.1, 0.1)
    darker, noisy = (loss_of(luma + change, (luma, luma)) for change in (-0.1, noise))
    assert darker['intensity'].item() == pytest.approx(noisy['intensity'].item(), rel=1e-3)
    assert darker['tone'] > 0.009
    assert noisy['tone'] < 0.001
    rest = darker['intensity'] + config.gradient_weight * darker['gradient']
    torch.testing.assert_close(darker['loss'], rest + fusion.TONE * darker['tone'])


def test_noise_is_in_what_is_read_and_not_in_what_is_compared(config, batch, monkeypatch):
    compared = []
    loss_of = fusion_loss_of(config, torch.device('cpu'))

    def record(fused, sources):
        compared.append((fused.detach(), *sources))
        return loss_of(fused, sources)

    monkeypatch.setattr(fusion, 'fusion_loss_of', lambda *_: record)
    for noise in (0.0, 0.1):
        weights_after_a_step(replace(config, noise=noise, frozen_detector=''), batch)
    (clean, *sources), (noisy, *others) = compared
    assert not torch.equal(clean, noisy)
    for image, other, own in zip(sources, others, sources_of(batch.pair), strict=True):
        assert torch.equal(image, other)
        assert torch.equal(image, own)


def test_training_continues_the_fusion_network_of_a_bundle(config):
    shipped = Path(__file__).parents[2] / 'models' / 'msrs_rt'
    config = replace(config, fusion=str(shipped), frozen_detector='')
    network = fusion_training(config, torch.device('cpu')).networks['fusion']
    weights = load_file(shipped / 'weights.safetensors')
    for name, value in network.state_dict().items():
        assert torch.equal(value, weights[f'fusion.{name}'])
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.fixture
def with_masks(config, masked_root, tmp_path):
    """Return the settings for both tasks at once, on data with masks."""
    torch.manual_seed(0)
    network = Segmenter(SegmenterConfig(('road', 'car')))
    save_run(tmp_path / 'segmenter', network, {'config': asdict(config)})
    return replace(config, data=str(masked_root), frozen_segmenter=str(tmp_path / 'segmenter'))


def masked_batch(config):
    return make_batch(open_dataset(config.data, 'train'), config, 0)


def test_both_tasks_at_once_add_their_weighted_losses(with_masks):
    config, batch = replace(with_masks, segmentation_weight=3.0), masked_batch(with_masks)
    _, losses = weights_after_a_step(config, batch)
    _, without = weights_after_a_step(replace(config, segmentation_weight=0.0), batch)
    assert losses['segmentation'] > 0
    torch.testing.assert_close(losses['loss'], without['loss'] + 3 * losses['segmentation'])
    _, alone = weights_after_a_step(replace(config, frozen_detector=''), batch)
    assert 'task' not in alone
    assert alone['segmentation'] > 0


def test_a_batch_without_masks_teaches_nothing_about_them(with_masks):
    batch = masked_batch(with_masks)
    assert 'segmentation' not in weights_after_a_step(with_masks, replace(batch, mask=None))[1]
    unlabeled = replace(batch, mask=torch.full_like(batch.mask, 255))
    assert weights_after_a_step(with_masks, unlabeled)[1]['segmentation'] == 0


def test_a_frozen_network_that_does_not_read_the_fused_image_is_refused(with_masks, tmp_path):
    network = Segmenter(SegmenterConfig(('road', 'car'), inputs=2))
    save_run(tmp_path / 'of_both', network, {'config': asdict(with_masks)})
    config = replace(with_masks, frozen_segmenter=str(tmp_path / 'of_both'))
    with pytest.raises(ConfigError, match='3 channels, as source=fused: got one with 2'):
        fusion_training(config, torch.device('cpu'))


def test_a_named_detector_is_frozen_and_a_new_one_learns_along(short_run, samples, detector_run):
    learning = short_run('learned', batch=4, meta_every=1)
    batches = [make_batch(samples, learning, step) for step in range(3)]
    for named in (detector_run, ''):
        training = learned_training(replace(learning, detector=named), torch.device('cpu'))
        detector, loss_net = training.networks['detector'], training.networks['loss_net']
        before = [copy.deepcopy(network.state_dict()) for network in (detector, loss_net)]
        for step in range(3):
            training.step(step, batches[step], batches[max(0, step - 1) : step])
        changed = [
            any(not torch.equal(was[name], value) for name, value in network.state_dict().items())
            for network, was in zip((detector, loss_net), before, strict=True)
        ]
        assert changed == [not named, True]


def test_a_learned_loss_trains_without_labels(samples, short_run, tmp_path, logged):
    torch.manual_seed(0)
    generator = LossNetRT(LossNetConfig('affine'))
    torch.nn.init.constant_(generator.head.bias, 0.5)
    save_run(tmp_path / 'loss_net', generator, {})
    unlabeled = [
        replace(s, boxes_xyxy=s.boxes_xyxy[:0], class_ids=s.class_ids[:0]) for s in samples
    ]
    learned = short_run(loss=str(tmp_path / 'loss_net'), steps=24, lr=3e-3, validate_every=8)
    train(learned, unlabeled)
    first, *_, last = (line['loss'] for line in logged(learned.run))
    assert last < first
    before, *_, after = (line['loss'] for line in logged(learned.run, 'validation'))
    assert after < before
    with pytest.raises(FusionError, match='contains a FusionRT, not a loss generator'):
        train(replace(learned, loss=learned.run, run=str(tmp_path / 'other')), unlabeled)


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
