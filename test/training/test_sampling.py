from dataclasses import replace

from training.data.datasets import open_dataset
from training.data.sampling import draw
from training.data.sampling import lights_of


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
