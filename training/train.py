"""
Train the networks of a task.

    python -m training.train config/train/fusion_rt.yaml data=DATA run=runs/fusion
    python -m training.train config/train/learned.yaml data=DATA run=runs/learned
    python -m training.train config/train/detector.yaml data=DATA source=early run=runs/det

The arguments are YAML files and name=value settings; later ones win; --help lists all of them. An
interrupted run resumes with the same command. To watch it with the tensorboard package:

    tensorboard --logdir runs
"""

from collections import deque
from collections.abc import Callable
from collections.abc import Sequence
from contextlib import closing
import math
from pathlib import Path
import shlex
import sys
import time
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn
from torch import Tensor
from tqdm import tqdm

from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FusionError
from training import shell
from training.bundle.history import git_commit
from training.checkpoint import make_folder
from training.checkpoint import saved_steps
from training.config import DetectionTask
from training.config import DownstreamTask
from training.config import TrainConfig
from training.config_reader import load_config
from training.config_reader import settings_text
from training.data.augmentation import Batch
from training.data.batches import cache_samples
from training.data.batches import choose_workers
from training.data.batches import make_batch
from training.data.batches import prefetched
from training.data.datasets import Sample
from training.data.mixture import Data
from training.data.mixture import Mixture
from training.data.mixture import open_data
from training.loop.run_log import draw_panel
from training.loop.run_log import open_run_log
from training.loop.run_log import panel_batch
from training.loop.run_log import RunLog
from training.loop.state import resume
from training.loop.state import RunState
from training.loop.state import save
from training.loop.state import start_state
from training.loop.state import update_averages
from training.loop.state import write_run
from training.method.fusion import fusion_training
from training.method.learned import learned_training
from training.method.optimization import set_learning_rates
from training.method.optimization import Training
from training.method.pretrained import origins
from training.method.tasks import blend_with_start
from training.method.tasks import downstream_training
from training.method.tasks import imitation_training

TRAININGS: dict[str, Callable[[Any, torch.device], Training]] = {
    'fusion': fusion_training,
    'learned': learned_training,
    'imitation': imitation_training,
    **dict.fromkeys(('detection', 'segmentation'), downstream_training),
}
SAVE_SECONDS = 60.0
"""The state is also saved after so many seconds, if ``save_every`` takes longer."""


def main(arguments: Sequence[str]) -> None:
    """Read the settings and the data, train, and print what to do next."""
    if not arguments or arguments[0] in ('-h', '--help'):
        print(__doc__)
        print(settings_text())
        return
    config = load_config(arguments)
    data = open_data(config.data, config.split)
    make_folder(config.run)
    try:
        train(config, data[: config.limit] if config.limit else data)
    except KeyboardInterrupt:
        steps = saved_steps(config.run)
        saved = f'saved at step {steps}: the same command resumes it'
        raise KeyboardInterrupt(
            f'interrupted; {saved if steps else "nothing saved yet"}'
        ) from None
    print(f'{config.run} is finished; next: {shlex.join(("python", "-m", *next_command(config)))}')


def next_command(config: TrainConfig) -> list[str]:
    """Return the module to continue with, and its arguments."""
    if isinstance(config, DownstreamTask):
        kind = 'detector' if isinstance(config, DetectionTask) else 'segmenter'
        split = ['--split', config.validate_split] if config.validate_split != 'val' else []
        return ['training.evaluate', f'--{kind}', config.run, '--data', config.data, *split]
    start = getattr(config, 'frozen_detector', '') or getattr(config, 'detector', '')
    schedule = f'config/train/{"detector_coco" if start else "detector"}.yaml'
    given = {'data': config.data, 'pretrained': start, 'fusion': config.run}
    settings = [f'{name}={value}' for name, value in given.items() if value]
    return ['training.train', schedule, *settings, f'run={config.run}_detector']


def train(config: TrainConfig, data: Data | list[Sample]) -> nn.Module:
    """Train, or resume, as ``config`` says; write the run and return the averaged main network."""
    device = prepare(config)
    state, first_step = open_run(config, device)  # before the data, which may take minutes
    samples = read_samples(config, data)
    if first_step:
        print(f'resuming at step {first_step} of {config.steps}')
    start_s = time.monotonic()
    last_losses = run_steps(state, samples, first_step, device)
    if isinstance(config, DetectionTask) and config.pretrained and config.pretrained_share:
        blend_with_start(state.best.networks['detector'], config, state.training.classes)
    description: dict[str, Any] = {
        'pairs': len(samples),
        'seconds': round(time.monotonic() - start_s),
        'last_losses': last_losses,
        'torch': torch.__version__,
        'git_commit': git_commit(),
        'device': describe(device),
        **origins(config),
    }
    if isinstance(samples, Mixture):
        parts = [f'{part.name} {part.entry.share:g}' for part in samples.parts]
        description['shares'] = ', '.join(parts)
    return write_run(state, description)


def read_samples(config: TrainConfig, data: Data | list[Sample]) -> Sequence[Sample]:
    """Return the samples of a data set, in memory if they fit; a list as it is."""
    if isinstance(data, list):
        return data
    samples = cache_samples(data)
    place = 'read from disk for each batch' if samples is data else 'in memory'
    print(f'{len(samples)} pairs of {config.data}/{config.split}, {place} -> {config.run}')
    return samples


def open_run(config: TrainConfig, device: torch.device) -> tuple[RunState, int]:
    """
    Return the networks of a run, new or as last saved, and the number of steps taken.

    :raises FusionError: if the run cannot be resumed, or a network that it reads does not fit.
    """
    state = start_state(config, TRAININGS[config.task](config, device), device)
    return state, resume(state)


def run_steps(
    state: RunState, samples: Sequence[Sample], first_step: int, device: torch.device
) -> dict[str, float]:
    """Take all steps from ``first_step`` on and return the losses of the last one."""
    config, training = state.config, state.training
    panel_pairs = panel_batch(samples, config.crop_hw).to(device)

    def make(step: int) -> Batch:
        return make_batch(samples, config, config.batch_number(step), device)

    count = training.previous_batches
    previous = deque(map(make, range(max(0, first_step - count), first_step)), maxlen=count)
    steps = range(first_step, config.steps)
    batches = prefetched(make, steps, choose_workers(config.workers, device))
    kept_lines = {'log': first_step}
    if state.validation:
        kept_lines['validation'] = sum(map(state.validates_after, range(first_step)))
    losses: dict[str, float] = {}
    pending: deque[tuple[int, dict[str, Tensor], Batch]] = deque()
    saved_s = time.monotonic()
    with open_run_log(Path(config.run), kept_lines) as log, closing(batches):
        bar = tqdm(batches, None, config.steps, initial=first_step, mininterval=1)
        for step, batch in enumerate(bar, first_step):
            # Random draws of a step (dropout) depend on its number alone.
            entropy = np.random.SeedSequence((config.seed, 2, step))
            torch.manual_seed(int(entropy.generate_state(1, np.uint64)[0]))
            set_learning_rates(training, learning_rate_factor(step, config))
            pending.append((step, training.step(step, batch, list(previous)), batch))
            previous.append(batch)
            update_averages(state, step)
            is_due = saves_after(config, step, saved_s)
            # Reading a loss waits for the device, so while it works the losses before are read.
            while len(pending) > (0 if is_due or is_looked_at(state, step) else 1):
                done, tensors, its_batch = pending.popleft()
                losses = finite_losses(tensors, done, its_batch)
                log.losses(done, losses)
                bar.set_postfix(loss=f'{losses["loss"]:.4f}', refresh=False)
            after_step(state, log, step, panel_pairs)
            if is_due:
                saved_s = time.monotonic()
                log.flush()
                save(state, step + 1)
    return losses


def saves_after(config: TrainConfig, step: int, saved_s: float) -> bool:
    """Return whether the state is saved after a step, if it was last saved at ``saved_s``."""
    late = time.monotonic() - saved_s >= SAVE_SECONDS
    return (step + 1) % config.save_every == 0 or late


def is_looked_at(state: RunState, step: int) -> bool:
    """Return whether the networks are used after a step: drawn, validated, or returned."""
    last = step + 1 == state.config.steps
    return last or state.draws_after(step) or state.validates_after(step)


def after_step(state: RunState, log: RunLog, step: int, panel_pairs: Batch) -> None:
    """Draw a panel and validate, each after the steps that the settings say."""
    if state.draws_after(step):
        log.panel(step, draw_panel(state.training.networks, panel_pairs))
    if state.validation and state.validates_after(step):
        measure, value = state.validation.measure, state.validation(state.averages)
        state.best.offer(state.averages, step, value, measure.higher_is_better)
        log.validation(step, state.validation.split, {measure.name: value})


def prepare(config: TrainConfig) -> torch.device:
    """Set seed and threads; choose, print and return the device; or raise ConfigError."""
    cuda = torch.cuda.is_available()
    if config.device == 'cuda' and not cuda:
        raise ConfigError('device=cuda: torch finds no GPU; set device=cpu, or install CUDA')
    device = torch.device('cuda' if cuda and config.device != 'cpu' else 'cpu')
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    workers = choose_workers(config.workers, device)
    cv2.setNumThreads(1 if workers else config.threads)
    print(f'on {describe(device)}, workers: {workers}')
    return device


def describe(device: torch.device) -> str:
    """Return the name of a device."""
    return torch.cuda.get_device_name(device) if device.type == 'cuda' else 'CPU'


def learning_rate_factor(step: int, config: TrainConfig) -> float:
    """Return the factor of the highest rate: linear warm-up, then a cosine to one percent."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress))


def finite_losses(losses: dict[str, Tensor], step: int, batch: Batch) -> dict[str, float]:
    """Return the losses; FusionError with the batch if not finite."""
    stacked = torch.stack([value.detach() for value in losses.values()])
    values = dict(zip(losses, stacked.tolist(), strict=True))
    if not all(math.isfinite(value) for value in values.values()):
        raise FusionError(
            f'loss is not finite at step {step}: {values}; batch: {", ".join(batch.names)}. '
            'Check these images, or lower lr'
        )
    return values


if __name__ == '__main__':
    shell.run('training', lambda: main(sys.argv[1:]))
