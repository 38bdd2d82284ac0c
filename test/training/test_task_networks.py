import copy
from dataclasses import replace

import pytest
import torch

from tdfusion_ros.core.errors import ConfigError
from training.data.augmentation import split
from training.data.batches import halves
from training.data.batches import make_batch
from training.data.datasets import open_dataset
from training.method.learned import learned_training
from training.method.learned import mean_task_loss
from training.method.learned import task_step
from training.method.losses import pair_of
from training.method.optimization import make_optimizer
from training.method.task_networks import evaluation_mode
from training.method.task_networks import loss_on_fused
from training.method.task_networks import make_detector

pytestmark = pytest.mark.torch


@pytest.fixture
def config(short_run):
    return short_run('learned', batch=4, meta_every=1)


@pytest.fixture
def parts(config, samples):
    return split(make_batch(samples, config, 0), 2)


@pytest.fixture
def detectors(tiny_detector):
    torch.manual_seed(0)
    return {name: make_detector(('a', 'b', 'c')) for name in ('detector_a', 'detector_b')}


def average(luma, ir):
    return (luma + ir) / 2


def test_each_network_is_evaluated_on_what_the_other_one_is_trained_on(parts, detectors):
    first, second = detectors.values()
    with evaluation_mode(first), evaluation_mode(second):
        of_first = loss_on_fused(first, average(*pair_of(parts[1])), parts[1])
        of_second = loss_on_fused(second, average(*pair_of(parts[0])), parts[0])
    found = mean_task_loss([first, second], parts)(average)
    torch.testing.assert_close(found, (of_first + of_second) / 2)


def test_a_network_is_never_trained_on_what_it_is_evaluated_on(parts, detectors):
    def weights_of_first(parts):
        networks = copy.deepcopy(detectors)
        optimizers = {name: make_optimizer(n, 1e-2, 0.0) for name, n in networks.items()}
        task_step(networks, optimizers, parts, [average(*pair_of(part)) for part in parts], False)
        return networks['detector_a'].state_dict()

    before = weights_of_first(parts)
    other = replace(parts[1], rgb=1 - parts[1].rgb, ir=1 - parts[1].ir)
    torch.testing.assert_close(weights_of_first([parts[0], other]), before, rtol=0, atol=0)
    own = replace(parts[0], ir=1 - parts[0].ir)
    changed = weights_of_first([own, parts[1]])
    assert any(not torch.equal(before[name], value) for name, value in changed.items())


def test_the_halves_of_a_batch_come_from_halves_of_the_data_that_never_mix(config, samples):
    # Within a half, every pair is used once before any is used twice.
    names = [make_batch(samples, replace(config, batch=2), step).names for step in range(2)]
    assert len({name for row in names for name in row}) == 4
    config = replace(config, mosaic=0.5)
    seen = [set(), set()]
    for step in range(12):
        for names, part in zip(seen, split(make_batch(samples, config, step), 2), strict=True):
            names |= {name for row in part.names for name in row.split('+')}
    first, second = seen
    assert first | second == {sample.name for sample in samples}
    assert not first & second


def test_halves_have_the_same_share_of_every_light_and_keep_neighbors_together(samples):
    lights = ['day', 'night', 'day', 'day', 'night', 'day', 'night', 'night', 'day', 'day']
    labeled = [replace(samples[0], strata={'light': light}) for light in lights]
    first, second = halves(labeled)
    assert sorted(first + second) == list(range(10))
    assert [lights[i] for i in first].count('day') == [lights[i] for i in second].count('day')
    for light in ('day', 'night'):
        of_first = [i for i in first if lights[i] == light]
        assert max(of_first) < min(i for i in second if lights[i] == light)


def test_a_lazy_set_or_one_pair_of_each_light_can_be_halved_but_not_a_single_pair(
    data_root, samples
):
    assert halves(open_dataset(data_root, 'train')) == halves(samples)
    labeled = [replace(samples[0], strata={'light': light}) for light in ('day', 'night')]
    assert sorted(halves(labeled)) == [[0], [1]]
    with pytest.raises(ConfigError, match='cross_fit=false'):
        halves(labeled[:1])


def test_the_loss_net_does_not_change_before_the_first_meta_step(config, samples, tiny_detector):
    config = replace(config, first_meta_step=2, cross_fit=False)
    training = learned_training(config, torch.device('cpu'))
    assert list(training.networks) == ['fusion', 'detector', 'loss_net']
    loss_net = training.networks['loss_net']
    before = copy.deepcopy(loss_net.state_dict())
    batches = [make_batch(samples, config, step) for step in range(3)]
    for step in (0, 1):
        training.step(step, batches[step], batches[step - 1 : step] if step else [])
    torch.testing.assert_close(loss_net.state_dict(), before, rtol=0, atol=0)
    training.step(2, batches[2], batches[1:2])
    assert any(not torch.equal(before[name], v) for name, v in loss_net.state_dict().items())
