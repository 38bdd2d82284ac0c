"""
Train one network.

    python -m training.train config/train/fusion_rt.yaml run=runs/fusion
    python -m training.train config/train/detector.yaml fusion=runs/fusion run=runs/detector
"""

from collections.abc import Iterator
from collections.abc import Sequence
import copy
from dataclasses import asdict
import json
import math
from pathlib import Path
import sys
import time

import cv2
import numpy as np
import torch
from torch import nn
from torch import Tensor
from tqdm import tqdm

from tdfusion_ros.core.errors import FusionError
from training.checkpoint import save_run
from training.config import load_config
from training.config import TrainConfig
from training.datasets import load_samples
from training.datasets import Sample
from training.tasks import TASK
from training.transforms import Batch
from training.transforms import collate
from training.transforms import flip
from training.transforms import mosaic
from training.transforms import photometric
from training.transforms import random_crop


def augment(
    samples: Sequence[Sample], index: int, config: TrainConfig, rng: np.random.Generator
) -> Sample:
    """Return one random crop around sample ``index``, or a mosaic of it and three others."""
    if rng.random() < config.mosaic:
        chosen = [index, *rng.integers(len(samples), size=3)]
        half = (config.crop_hw[0] // 2, config.crop_hw[1] // 2)
        parts = [random_crop(samples[i], rng, half, config.scale_range) for i in chosen]
        crop = mosaic(parts, config.crop_hw)
    else:
        crop = random_crop(samples[index], rng, config.crop_hw, config.scale_range)
    if rng.random() < 0.5:
        crop = flip(crop)
    return photometric(crop, rng, config.photometric)


def batches(samples: Sequence[Sample], config: TrainConfig) -> Iterator[Batch]:
    """Yield ``config.steps`` batches; every sample is used once before any is used twice."""
    rng = np.random.default_rng(config.seed)
    queue: list[int] = []
    for _ in range(config.steps):
        while len(queue) < config.batch:
            queue.extend(rng.permutation(len(samples)).tolist())
        indices, queue = queue[: config.batch], queue[config.batch :]
        yield collate([augment(samples, i, config, rng) for i in indices])


def learning_rate(step: int, config: TrainConfig) -> float:
    """Return the rate of a step: linear warm-up, then a cosine down to one per cent."""
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


def make_optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Return AdamW that decays convolution weights but neither biases nor norms."""
    parameters = list(network.parameters())
    groups = [
        {'params': [p for p in parameters if p.ndim > 1], 'weight_decay': config.weight_decay},
        {'params': [p for p in parameters if p.ndim <= 1], 'weight_decay': 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr)


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged weights and statistics a little towards those of ``network``."""
    state = network.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(state[name], 1 - decay)
        else:
            value.copy_(state[name])


def check_finite(losses: dict[str, Tensor], step: int, batch: Batch) -> dict[str, float]:
    """
    Return the losses as numbers.

    :raises FloatingPointError: if one is not finite; naming the batch that did it.
    """
    values = {name: value.item() for name, value in losses.items()}
    if not all(math.isfinite(value) for value in values.values()):
        raise FloatingPointError(
            f'loss is not finite at step {step}: {values}; batch: {", ".join(batch.names)}; '
            'look at these images, or lower lr'
        )
    return values


def train(config: TrainConfig, samples: Sequence[Sample]) -> nn.Module:
    """Train as ``config`` says, write the run folder, and return the averaged network."""
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    cv2.setNumThreads(config.threads)
    network, step_losses = TASK[config.task](config)
    # channels_last is 1.5 times faster on CPU than the default; bf16 brings nothing there.
    network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(network)
    optimizer = make_optimizer(network, config)
    folder = Path(config.run)
    folder.mkdir(parents=True, exist_ok=True)
    start, values = time.monotonic(), {}
    progress = tqdm(batches(samples, config), total=config.steps, mininterval=5.0)
    with (folder / 'log.jsonl').open('w', encoding='utf-8') as log:
        for step, batch in enumerate(progress):
            rate = learning_rate(step, config)
            for group in optimizer.param_groups:
                group['lr'] = rate
            losses = step_losses(network, batch)
            values = check_finite(losses, step, batch)
            optimizer.zero_grad()
            losses['loss'].backward()
            nn.utils.clip_grad_norm_(network.parameters(), 10.0)
            optimizer.step()
            update_average(average, network, min(config.ema_decay, (1 + step) / (10 + step)))
            log.write(json.dumps({'step': step, 'lr': rate, **values}) + '\n')
            progress.set_postfix({name: f'{value:.4f}' for name, value in values.items()})
    description = {
        'config': asdict(config),
        'pairs': len(samples),
        'seconds': round(time.monotonic() - start),
        'last_losses': values,
        'torch': torch.__version__,
    }
    save_run(folder, average, description)
    return average.eval()


def main(arguments: Sequence[str]) -> None:
    """Read the configuration and the data, then train."""
    if not arguments or arguments[0] in ('-h', '--help'):
        print(__doc__)
        return
    config = load_config(arguments)
    samples = load_samples(config.data, config.split, config.limit)
    print(f'{len(samples)} pairs of {config.data}/{config.split} -> {config.run}')
    train(config, samples)


if __name__ == '__main__':
    try:
        main(sys.argv[1:])
    except FusionError as error:
        sys.exit(str(error))
