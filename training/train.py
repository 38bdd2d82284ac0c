"""
Train one network.

    python -m training.train config/train/fusion_rt.yaml run=runs/fusion
    python -m training.train config/train/learned_rt.yaml run=runs/learned
    python -m training.train config/train/detector.yaml fusion=runs/fusion run=runs/detector

Watch it, where the tensorboard package is installed: tensorboard --logdir runs
"""

from collections.abc import Sequence
import copy
from dataclasses import asdict
import json
import math
from pathlib import Path
import sys
import time
from typing import Any
from typing import TextIO

import cv2
import numpy as np
import torch
from torch import nn
from torch import Tensor
from tqdm import tqdm

from tdfusion_ros.core.errors import FusionError
from training.board import draw_panel
from training.board import open_board
from training.board import panel_batch
from training.checkpoint import load_unfinished
from training.checkpoint import save_run
from training.checkpoint import save_unfinished
from training.checkpoint import UNFINISHED
from training.config import load_config
from training.config import TrainConfig
from training.datasets import load_samples
from training.datasets import Sample
from training.learned import learned_task
from training.tasks import detection_task
from training.tasks import fusion_task
from training.tasks import segmentation_task
from training.tasks import Task
from training.transforms import Batch
from training.transforms import collate
from training.transforms import flip
from training.transforms import mosaic
from training.transforms import photometric
from training.transforms import random_crop

TASK = {
    'fusion': fusion_task,
    'learned': learned_task,
    'detection': detection_task,
    'segmentation': segmentation_task,
}


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


def make_batch(samples: Sequence[Sample], config: TrainConfig, step: int) -> Batch:
    """
    Return the batch of a step; it depends on nothing but the seed and the step.

    Every sample is used once before any is used twice.
    """
    indices = []
    for place in range(step * config.batch, (step + 1) * config.batch):
        epoch, index = divmod(place, len(samples))
        order = np.random.default_rng((config.seed, 0, epoch)).permutation(len(samples))
        indices.append(int(order[index]))
    rng = np.random.default_rng((config.seed, 1, step))
    return collate([augment(samples, i, config, rng) for i in indices])


def learning_rate(step: int, config: TrainConfig) -> float:
    """Return the share of the highest rate: linear warm-up, then a cosine to one per cent."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))


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
    """
    Train as ``config`` says, write the run folder, and return the averaged network.

    A run that was interrupted goes on where it last saved its state.
    """
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    cv2.setNumThreads(config.threads)
    task = TASK[config.task](config)
    averages = {name: copy.deepcopy(network) for name, network in task.networks.items()}
    folder = Path(config.run)
    folder.mkdir(parents=True, exist_ok=True)
    everything = {**task.networks, **{f'average_{name}': a for name, a in averages.items()}}
    state = (everything, task.optimizers, asdict(config))
    first = load_unfinished(folder, *state)
    earlier = [make_batch(samples, config, i) for i in range(max(0, first - task.memory), first)]
    shown = panel_batch(samples[0], config.crop_hw)
    begun, values = time.monotonic(), {}
    with open_log(folder / 'log.jsonl', first) as log, open_board(folder, first) as board:
        progress = tqdm(
            range(first, config.steps), initial=first, total=config.steps, mininterval=1.0
        )
        for step in progress:
            batch = make_batch(samples, config, step)
            set_learning_rates(task, learning_rate(step, config))
            values = check_finite(task.step(step, batch, earlier), step, batch)
            earlier = [*earlier, batch][-task.memory :] if task.memory else []
            decay = min(config.ema_decay, (1 + step) / (10 + step))
            for name, average in averages.items():
                update_average(average, task.networks[name], decay)
            log.write(json.dumps({'step': step, **values}) + '\n')
            board.scalars(step, values)
            if config.panel_every and step % config.panel_every == 0:
                board.panel(step, draw_panel(task.networks, shown))
            progress.set_postfix(loss=f'{values["loss"]:.4f}', refresh=False)
            if (step + 1) % config.save_every == 0:
                log.flush()
                board.flush()
                save_unfinished(folder, step + 1, *state)
    description = {
        'config': asdict(config),
        'pairs': len(samples),
        'seconds': round(time.monotonic() - begun),
        'last_losses': values,
        'torch': torch.__version__,
    }
    return save_averages(folder, averages, description).eval()


def save_averages(
    folder: Path, averages: dict[str, nn.Module], description: dict[str, Any]
) -> nn.Module:
    """Write the finished run, the main network last as it marks the end, and return that one."""
    main, *others = averages
    for name in others:
        save_run(folder / name, averages[name], description)
    save_run(folder, averages[main], description)
    (folder / UNFINISHED).unlink(missing_ok=True)
    return averages[main]


def set_learning_rates(task: Task, share: float) -> None:
    """Set every optimiser to a share of the rate that it was made with."""
    for optimizer in task.optimizers.values():
        for group in optimizer.param_groups:
            group['lr'] = share * group.setdefault('highest_lr', group['lr'])


def open_log(path: Path, first: int) -> TextIO:
    """Open the log to go on after its first lines; what was logged later is cut off."""
    kept = path.read_text(encoding='utf-8').splitlines(keepends=True)[:first] if first else []
    path.write_text(''.join(kept), encoding='utf-8')
    return path.open('a', encoding='utf-8')


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
