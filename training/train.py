"""
Train one network.

    python -m training.train config/train/fusion_rt.yaml run=runs/fusion
    python -m training.train config/train/learned_rt.yaml run=runs/learned
    python -m training.train config/train/detector.yaml fusion=runs/fusion run=runs/detector

On several GPUs of a machine, here 4 (batch is what they share):

    python -m torch.distributed.run --nproc_per_node 4 -m training.train config/train/...yaml

Watch it, where the tensorboard package is installed: tensorboard --logdir runs
"""

from collections.abc import Generator
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
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

from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FusionError
from training import distributed
from training.bundle.history import git_commit
from training.config import TrainConfig
from training.config_reader import load_config
from training.data.augmentation import Batch
from training.data.batches import cache_samples
from training.data.batches import choose_workers
from training.data.batches import make_batch
from training.data.batches import prefetched
from training.data.datasets import DataSet
from training.data.datasets import open_dataset
from training.data.datasets import Sample
from training.loop.board import draw_panel
from training.loop.board import panel_batch
from training.loop.journal import open_journal
from training.loop.state import begin
from training.loop.state import follow
from training.loop.state import resume
from training.loop.state import save
from training.loop.state import save_best
from training.method.imitation import imitation_task
from training.method.learned import learned_task
from training.method.tasks import detection_task
from training.method.tasks import fusion_task
from training.method.tasks import segmentation_task
from training.method.tasks import Task

TASK = {
    'fusion': fusion_task,
    'learned': learned_task,
    'imitation': imitation_task,
    'detection': detection_task,
    'segmentation': segmentation_task,
}


def learning_rate(step: int, config: TrainConfig) -> float:
    """Return the share of the highest rate: linear warm-up, then a cosine to one per cent."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))


def check_finite(losses: dict[str, Tensor], step: int, batch: Batch) -> dict[str, float]:
    """
    Return the losses as numbers, the mean over all processes.

    :raises FusionError: if one is not finite, naming the batch.
    """
    stacked = torch.stack([value.detach() for value in losses.values()])
    values = dict(zip(losses, distributed.average([stacked])[0].tolist(), strict=True))
    if not all(math.isfinite(value) for value in values.values()):
        raise FusionError(
            f'loss is not finite at step {step}: {values}; batch: {", ".join(batch.names)}; '
            'look at these images, or lower lr'
        )
    return values


def prepare(config: TrainConfig) -> torch.device:
    """
    Return the device to train on, and say which; set seed and threads.

    :raises ConfigError: if the device is not there, or the batch cannot be shared.
    """
    device, processes = distributed.choose_device(config.device), distributed.world_size()
    if config.batch % (processes * config.parts):
        teachers = ' and 2 teachers of a kind' if config.parts > 1 else ''
        raise ConfigError(
            f'batch must be a multiple of {processes * config.parts}, for {processes} processes'
            f'{teachers}, got {config.batch}'
        )
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    workers = choose_workers(config.workers, device)
    cv2.setNumThreads(1 if workers else config.threads)
    if distributed.is_main():
        print(f'on {name_of(device)}, workers: {workers}')
    return device


def name_of(device: torch.device) -> str:
    """Return what a device is called, and how many processes have one each."""
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else 'CPU'
    count = distributed.world_size()
    return name if count == 1 else f'{count} x {name}'


def seed_step(config: TrainConfig, step: int) -> None:
    """Make what is drawn in a step (dropout) depend on its number and the process alone."""
    entropy = np.random.SeedSequence((config.seed, 2, step, distributed.rank()))
    torch.manual_seed(int(entropy.generate_state(1, np.uint64)[0]))


def set_learning_rates(task: Task, share: float) -> None:
    """Set every optimizer to a share of the rate that it was made with."""
    for optimizer in task.optimizers.values():
        for group in optimizer.param_groups:
            group['lr'] = share * group.setdefault('highest_lr', group['lr'])


def take_steps(
    config: TrainConfig, task: Task, samples: Sequence[Sample], first: int, device: torch.device
) -> Generator[tuple[int, dict[str, float]], None, None]:
    """Take the steps of a task from ``first`` on; yield the number and the losses of each."""

    def make(step: int) -> Batch:
        return make_batch(samples, config, config.batch_number(step)).to(device)

    earlier = [make(step) for step in range(max(0, first - task.memory), first)]
    workers = choose_workers(config.workers, device)
    with closing(prefetched(make, range(first, config.steps), workers)) as batches:
        for step, batch in enumerate(batches, first):
            seed_step(config, step)
            set_learning_rates(task, learning_rate(step, config))
            yield step, check_finite(task.step(step, batch, earlier), step, batch)
            earlier = [*earlier, batch][-task.memory :] if task.memory else []


def train(config: TrainConfig, samples: Sequence[Sample]) -> nn.Module:
    """
    Train as ``config`` says, write the run folder, and return the averaged network.

    An interrupted run resumes from its last saved state.

    :param samples: of ``config.data``, in memory or as a lazy set.
    """
    device = prepare(config)
    state = begin(config, TASK[config.task](config, device), device)
    networks, first = state.task.networks, resume(state)
    lines = {'log': first}
    if state.validation:
        lines['validation'] = sum(state.is_measured(step) for step in range(first))
    shown = panel_batch(samples, config.crop_hw).to(device)
    begun, values = time.monotonic(), {}
    steps = take_steps(config, state.task, samples, first, device)
    with open_journal(Path(config.run), lines) as journal, closing(steps):
        hide = not distributed.is_main()
        progress = tqdm(steps, initial=first, total=config.steps, mininterval=1.0, disable=hide)
        for step, values in progress:
            follow(state, step)
            journal.losses(step, values)
            progress.set_postfix(loss=f'{values["loss"]:.4f}', refresh=False)
            if config.panel_every and step % config.panel_every == 0:
                journal.panel(step, draw_panel(networks, shown))
            if state.validation and state.is_measured(step):
                found = state.validation(state.averages)
                state.best.offer(state.averages, step, found, state.validation.measure.higher)
                journal.validation(step, state.validation, found)
            if (step + 1) % config.save_every == 0 and distributed.is_main():
                journal.flush()
                save(state, step + 1)
    description = {
        'config': asdict(config),
        'pairs': len(samples),
        'seconds': round(time.monotonic() - begun),
        'last_losses': values,
        'torch': torch.__version__,
        'git_commit': git_commit(),
        'device': name_of(device),
    }
    return save_best(state, description)


def main(arguments: Sequence[str]) -> None:
    """Read the configuration and the data, then train."""
    if not arguments or arguments[0] in ('-h', '--help'):
        print(__doc__)
        return
    config = load_config(arguments)
    distributed.start(distributed.choose_device(config.device))
    data = open_dataset(config.data, config.split)
    samples = cache_samples(data[: config.limit] if config.limit else data)
    if distributed.is_main():
        place = 'read anew for each batch' if isinstance(samples, DataSet) else 'in memory'
        print(f'{len(samples)} pairs of {config.data}/{config.split}, {place} -> {config.run}')
    train(config, samples)
    distributed.finish()


if __name__ == '__main__':
    try:
        main(sys.argv[1:])
    except (FusionError, OSError) as error:
        sys.exit(f'training: {error}')
