"""Which sample each row of a batch shows: by data set and by turn."""

from collections.abc import Sequence

import numpy as np

from training.data.datasets import DataSet
from training.data.datasets import Sample
from training.data.mixture import CYCLE
from training.data.mixture import Mixture


def sets_of(samples: Sequence[Sample]) -> list[tuple[range, float]]:
    """Return the indices and the share of each data set: one, except in a mixture."""
    if not isinstance(samples, Mixture):
        return [(range(len(samples)), 1.0)]
    shares = (part.entry.share for part in samples.parts)
    return list(zip(samples.ranges, shares, strict=True))


def lights_of(samples: Sequence[Sample]) -> list[str]:
    """Return day or night of each sample, empty where unknown, without reading any."""
    if isinstance(samples, Mixture):
        return [light for part in samples.parts for light in lights_of(part.data)]
    if isinstance(samples, DataSet):
        return [samples.strata.get(name, {}).get('light', '') for name in samples.names]
    return [sample.strata.get('light', '') for sample in samples]


def draw(place: int, sets: Sequence[tuple[range, float]], seed: int) -> tuple[int, range]:
    """
    Return the sample at a place in the endless list of draws, and all samples of its data set.

    Of every hundred draws each set gets its share. Every sample of a set is drawn once before any
    is drawn twice.
    """
    cycle, slot = divmod(place, CYCLE)
    shares = np.array([share for _, share in sets])
    ends = np.rint(CYCLE * shares.cumsum() / shares.sum())
    numbers = np.searchsorted(ends, np.arange(CYCLE), side='right')
    numbers = np.random.default_rng((seed, 3)).permutation(numbers)
    mine, indices = numbers == numbers[slot], sets[numbers[slot]][0]
    epoch, index = divmod(cycle * int(mine.sum()) + int(mine[:slot].sum()), len(indices))
    order = np.random.default_rng((seed, 0, epoch)).permutation(len(indices))
    return indices[int(order[index])], indices
