from dataclasses import replace
import threading

import pytest
import torch

from training.config import FusionTask
from training.data.batches import cache_samples
from training.data.batches import draw
from training.data.batches import lights_of
from training.data.batches import make_batch
from training.data.batches import prefetched
from training.data.datasets import open_dataset


@pytest.fixture
def config(data_root):
    return FusionTask(data=str(data_root), batch=2, crop_hw=(64, 64), mosaic=0.5)


def assert_equal(batch, other):
    for name, value in vars(batch).items():
        same = torch.equal if torch.is_tensor(value) else lambda a, b: a == b
        assert same(value, getattr(other, name)), name


def test_every_pair_is_used_once_before_any_is_used_twice(config, samples):
    config = replace(config, mosaic=0.0)
    used = [name for step in (0, 1) for name in make_batch(samples, config, step).names]
    assert sorted(used) == sorted(s.name for s in samples)


def test_one_of_both_cameras_is_black_as_often_as_was_asked_for(config, samples):
    config = replace(config, modality_dropout=0.5, photometric=0.0, batch=64)
    batch = make_batch(samples, config, 0)
    rgb, ir = (image.flatten(1).amax(1) == 0 for image in (batch.rgb, batch.ir))
    assert not (rgb & ir).any()
    assert 8 <= rgb.sum() <= 24
    assert 8 <= ir.sum() <= 24
    whole = make_batch(samples, replace(config, modality_dropout=0.0), 0)
    assert torch.equal(batch.rgb[~rgb], whole.rgb[~rgb])
    assert torch.equal(batch.boxes_xyxy, whole.boxes_xyxy)


@pytest.mark.parametrize('workers', [1, 3])
def test_batches_made_ahead_from_disk_are_those_made_from_memory(config, masked_root, workers):
    lazy = open_dataset(masked_root, 'train')
    samples = list(lazy)
    ahead = list(prefetched(lambda step: make_batch(lazy, config, step), range(2, 9), workers))
    assert len(ahead) == 7
    for step, batch in enumerate(ahead, start=2):
        assert_equal(batch, make_batch(samples, config, step))


@pytest.mark.parametrize('workers', [0, 2])
def test_an_error_while_a_batch_is_made_stops_at_its_own_step(workers):
    def make(step):
        if step == 3:
            raise OSError
        return step

    batches = prefetched(make, range(9), workers)
    assert [next(batches) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError):  # noqa: PT011
        next(batches)


def test_batches_ahead_are_dropped_when_the_caller_stops():
    made = []
    batches = prefetched(made.append, range(1000), 2)
    next(batches)
    batches.close()
    assert len(made) <= 5
    assert not [t for t in threading.enumerate() if t.name.startswith('batches')]


def test_a_data_set_is_cached_only_if_it_is_small(data_root):
    data = open_dataset(data_root, 'train')
    pixels = 4 * 96 * 128 * 4
    assert isinstance(cache_samples(data), list)
    assert cache_samples(data, limit=pixels) is data


def test_thermal_view_is_partial_as_often_as_was_asked_for(config, samples):
    config = replace(config, mosaic=0.0, batch=64)
    assert make_batch(samples, config, 0).coverage is None
    batch = make_batch(samples, replace(config, partial_coverage=0.5), 0)
    partial = batch.coverage.flatten(1).amin(1) < 1
    assert 20 <= partial.sum() <= 44
    assert not batch.ir[batch.coverage == 0].any()


def test_every_hundred_draws_have_the_shares_of_the_sets_and_use_all_before_any_twice():
    sets = [(range(7), 3), (range(7, 10), 1)]
    for cycle in range(3):
        drawn = [draw(100 * cycle + i, sets, seed=5)[0] for i in range(100)]
        assert sum(i < 7 for i in drawn) == 75
    for chosen in (list(indices) for indices, _ in sets):
        own = [i for i in (draw(n, sets, 5)[0] for n in range(100)) if i in chosen]
        for start in range(0, len(own) - len(chosen), len(chosen)):
            assert sorted(own[start : start + len(chosen)]) == chosen


def test_the_sets_are_mixed_and_another_seed_mixes_them_differently():
    sets = [(range(1), 1), (range(1, 2), 1)]
    first, other = ([draw(i, sets, seed)[0] for i in range(40)] for seed in (0, 1))
    assert len({tuple(first[i : i + 4]) for i in range(0, 40, 4)}) > 3
    assert first != other


def test_the_lights_of_a_set_are_known_before_it_is_read(data_root, samples):
    assert lights_of(open_dataset(data_root, 'train')) == lights_of(samples)
    labeled = [replace(samples[0], strata={'light': light}) for light in ('day', 'night')]
    assert lights_of(labeled) == ['day', 'night']
