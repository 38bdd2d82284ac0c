import copy
from dataclasses import replace

import pytest
import torch

from tdfusion_ros.core.errors import FusionError
from training.checkpoint import save_run
from training.data.batches import make_batch
from training.data.datasets import CLASSES
from training.method.learned import learned_training
from training.method.loss_net import LossNetConfig
from training.method.loss_net import LossNetRT
from training.method.task_networks import make_detector
from training.train import train


@pytest.fixture
def config(short_run):
    return short_run('learned', batch=4, meta_every=1)


@pytest.fixture
def detector_run(tiny_detector, tmp_path):
    torch.manual_seed(0)
    save_run(tmp_path / 'detector', make_detector(CLASSES), {'classes': list(CLASSES)})
    return str(tmp_path / 'detector')


def test_a_named_detector_is_frozen_and_a_new_one_learns_along(config, samples, detector_run):
    batches = [make_batch(samples, config, step) for step in range(3)]
    for named in (detector_run, ''):
        training = learned_training(replace(config, detector=named), torch.device('cpu'))
        detector, loss_net = training.networks['detector'], training.networks['loss_net']
        before = [copy.deepcopy(network.state_dict()) for network in (detector, loss_net)]
        for step in range(3):
            training.step(step, batches[step], batches[max(0, step - 1) : step])
        changed = [
            any(not torch.equal(was[name], value) for name, value in network.state_dict().items())
            for network, was in zip((detector, loss_net), before, strict=True)
        ]
        assert changed == [not named, True]


def test_a_learned_loss_trains_without_labels(config, samples, short_run, tmp_path, logged):
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
