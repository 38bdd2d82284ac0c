"""A training in progress: its networks, their running averages, and what its folder keeps."""

from collections.abc import Mapping
import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tdfusion_ros.core.errors import FusionError
from training import distributed
from training.checkpoint import load_unfinished
from training.checkpoint import save_run
from training.checkpoint import save_unfinished
from training.checkpoint import UNFINISHED
from training.checkpoint import weights_hash
from training.config import facts
from training.config import NETWORK_RUNS
from training.config import TrainConfig
from training.loop.validation import Best
from training.loop.validation import open_validation
from training.loop.validation import Validation
from training.method.segmentation import Segmenter
from training.method.tasks import Task


@dataclass(frozen=True)
class State:
    """What changes while a run trains."""

    config: TrainConfig
    task: Task
    averages: dict[str, nn.Module]
    """Running average of each network of the task."""
    best: Best
    """The averages when they were best; without a validation, the averages."""
    validation: Validation | None

    @property
    def networks(self) -> dict[str, nn.Module]:
        """All networks, by the name that they have in the file of an unfinished run."""
        networks = {f'average_{name}': network for name, network in self.averages.items()}
        if self.validation:
            networks |= {f'best_{name}': network for name, network in self.best.networks.items()}
        return {**self.task.networks, **networks}

    def is_measured(self, step: int) -> bool:
        """Tell whether the averages are measured after a step; the last ones always are."""
        every, steps = self.config.validate_every, self.config.steps
        return self.validation is not None and ((step + 1) % every == 0 or step + 1 == steps)


def begin(config: TrainConfig, task: Task, device: torch.device) -> State:
    """Return the state before the first step."""
    averages = {name: copy.deepcopy(network).eval() for name, network in task.networks.items()}
    distributed.synchronize_norms(task.networks, device)
    validation = open_validation(config, task, device)
    best = Best(copy.deepcopy(averages) if validation else averages, config.steps - 1)
    return State(config, task, averages, best, validation)


def save(state: State, steps: int) -> None:
    """Write all that the run needs to go on after so many steps."""
    config, best = state.config, state.best
    progress = {'step': steps, 'best': (best.step, best.value)}
    folder, optimizers = Path(config.run), state.task.optimizers
    save_unfinished(folder, progress, state.networks, optimizers, identity(config))


def identity(config: TrainConfig) -> dict[str, Any]:
    """
    Return what must be the same to resume a run: its settings and the networks that it reads.

    Paths may differ, as after a move: networks are compared by a hash of their weights.
    """
    runs = {name: getattr(config, name, '') for name in NETWORK_RUNS}
    hashes = {f'weights of {name}': weights_hash(run) for name, run in runs.items() if run}
    return {**facts(config), **hashes}


def resume(state: State) -> int:
    """
    Put the state of an interrupted run back, if there is one, and return its number of steps.

    :raises FusionError: if it cannot go on, or not all processes see it.
    """
    config, best = state.config, state.best
    folder, optimizers = Path(config.run), state.task.optimizers
    progress = load_unfinished(folder, state.networks, optimizers, identity(config))
    steps = progress.get('step', 0)
    if len(set(distributed.gather([steps]))) > 1:
        raise FusionError(f'{folder} differs between machines: put it where all of them see it')
    best.step, best.value = progress.get('best', (best.step, best.value))
    return steps


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged weights and statistics a little towards those of ``network``."""
    state = network.state_dict()
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(state[name], 1 - decay)
        else:
            value.copy_(state[name])


def follow(state: State, step: int) -> None:
    """Let the averages follow the networks after a step."""
    decay = min(state.config.ema_decay, (1 + step) / (10 + step))
    for name, average in state.averages.items():
        update_average(average, state.task.networks[name], decay)


def save_best(state: State, description: Mapping[str, Any]) -> nn.Module:
    """Write the finished run, the main network last as it marks the end, and return that one."""
    networks, folder = state.best.networks, Path(state.config.run)
    main, *others = networks
    if distributed.is_main():
        for name in others:
            save_network(folder / name, networks[name], state, description)
        save_network(folder, networks[main], state, description)
        (folder / UNFINISHED).unlink(missing_ok=True)
    return networks[main]


def save_network(
    folder: Path, network: nn.Module, state: State, description: Mapping[str, Any]
) -> None:
    """Write one network of the run, and what is told apart by it or by its teacher."""
    best, validation, classes = state.best, state.validation, state.task.classes
    if isinstance(network, Segmenter):
        classes = network.config.classes
    chosen: dict[str, Any] = {'step': best.step}
    if validation:
        chosen |= {'split': validation.split, validation.measure.name: best.value}
    content = {**description, 'best': chosen}
    save_run(folder, network, {**content, 'classes': classes} if classes else content)
