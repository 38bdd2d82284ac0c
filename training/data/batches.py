"""Batches of random crops that depend on the step alone, prepared ahead by threads."""

from collections import deque
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
import os

import numpy as np
import torch

from training.config import TrainConfig
from training.data import augmentation
from training.data import cameras
from training.data.augmentation import Batch
from training.data.datasets import DataSet
from training.data.datasets import Sample
from training.data.mixture import CYCLE
from training.data.mixture import Data
from training.data.mixture import Mixture

CACHE_BYTES = 4 * 2**30
"""Bytes of pixels up to which a data set is kept in memory."""


def cache_samples(dataset: Data, limit: int = CACHE_BYTES) -> Sequence[Sample]:
    """
    Return the samples in memory if they are small enough, else the data set, which is lazy.

    :param limit: bytes, estimated by the first sample.
    :raises FusionError: listing all files that cannot be used.
    """
    for remark in dataset.check():
        print(f'note: {remark}')
    first = dataset[0]
    size = sum(image.nbytes for image in (first.rgb, first.ir, first.mask) if image is not None)
    small = size * len(dataset) < limit
    if not small:
        return dataset
    samples = list(dataset)
    return replace(dataset, loaded=tuple(samples)) if isinstance(dataset, Mixture) else samples


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


def augment(
    samples: Sequence[Sample],
    drawn: tuple[int, Sequence[int]],
    config: TrainConfig,
    rng: np.random.Generator,
) -> Sample:
    """Return one random crop of a sample, or a mosaic of it and three others of its data set."""
    index, partners = drawn

    def random_crop(i: int, size_hw: tuple[int, int]) -> Sample:
        return augmentation.random_crop(samples[i], rng, size_hw, config.scale_range)

    if rng.random() < config.mosaic:
        chosen = [index, *(partners[i] for i in rng.integers(len(partners), size=3))]
        half = (config.crop_hw[0] // 2, config.crop_hw[1] // 2)
        crop = augmentation.mosaic([random_crop(i, half) for i in chosen], config.crop_hw)
    else:
        crop = random_crop(index, config.crop_hw)
    if rng.random() < 0.5:
        crop = augmentation.flip(crop)
    if config.misregistration_px:
        crop = cameras.shift_ir(crop, rng, config.misregistration_px)
    crop = cameras.photometric(crop, rng, config.photometric)
    if config.stretch and rng.random() < config.stretch:
        crop = cameras.stretch_ir(crop, rng, config.invert)
    if config.partial_coverage and rng.random() < config.partial_coverage:
        crop = cameras.narrow_view(crop, rng)
    if rng.random() < config.modality_dropout:
        crop = cameras.drop_modality(crop, rng)
    return crop


def make_batch(
    samples: Sequence[Sample], config: TrainConfig, step: int, device: torch.device | None = None
) -> Batch:
    """
    Return the batch of a step on a device.

    A row depends on the seed and its position in the run alone, so threads do not change it.
    Every sample of a data set is used once before any is used twice.
    """
    sets, rows = sets_of(samples), []
    for row in range(config.batch):
        place = step * config.batch + row
        rng = np.random.default_rng((config.seed, 1, place))
        rows.append(augment(samples, draw(place, sets, config.seed), config, rng))
    return augmentation.collate(rows, device)


def choose_workers(wanted: int, device: torch.device) -> int:
    """Return the number of threads for batches; -1: none on the CPU, up to 8 with a GPU."""
    if wanted >= 0:
        return wanted
    return min(8, os.cpu_count() or 1) if device.type == 'cuda' else 0


def prefetched(
    make: Callable[[int], Batch], steps: range, workers: int
) -> Generator[Batch, None, None]:
    """
    Yield ``make(step)`` of each step, in order.

    Decoding, OpenCV and NumPy release the interpreter's lock, so threads do.

    :param workers: number of threads, which prepare up to twice as many batches; 0: none.
    """
    if not workers:
        yield from map(make, steps)
        return
    ahead: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix='batches') as pool:
        try:
            for step in steps:
                ahead.append(pool.submit(make, step))
                if len(ahead) > 2 * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:  # also if the caller stops early
            for future in ahead:
                future.cancel()
