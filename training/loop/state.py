"""The state of a run: networks, their running averages and the best ones; saving and resuming."""

from collections.abc import Mapping
import copy
from dataclasses import asdict
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch import Tensor

from tdfusion_ros.nets.segmenter import Segmenter
from training.checkpoint import load_unfinished
from training.checkpoint import save_run
from training.checkpoint import save_unfinished
from training.checkpoint import UNFINISHED
from training.checkpoint import weights_hash
from training.config import NETWORK_RUNS
from training.config import result_settings
from training.config import TrainConfig
from training.loop.validation import open_validation
from training.loop.validation import Validation
from training.method.optimization import Networks
from training.method.optimization import Training


@dataclass
class Best:
    """The averaged networks when they were best, after which step, and their value."""

    networks: dict[str, nn.Module]
    step: int = -1
    value: float | None = None

    def offer(self, networks: Networks, step: int, value: float, higher_is_better: bool) -> None:
        """Keep a copy of the networks if they are better than the best so far."""
        if self.value is None or (value > self.value if higher_is_better else value < self.value):
            self.step, self.value = step, value
            for name, network in networks.items():
                self.networks[name].load_state_dict(network.state_dict())


@dataclass(frozen=True)
class RunState:
    """Everything that changes while a run trains."""

    config: TrainConfig
    training: Training
    averages: dict[str, nn.Module]
    """Running average of each network."""
    best: Best
    """The best averages so far; without validation, the current ones."""
    validation: Validation | None

    @property
    def networks(self) -> dict[str, nn.Module]:
        """All networks, by their name in the file of an unfinished run."""
        averages = {f'average_{name}': network for name, network in self.averages.items()}
        best = {f'best_{name}': network for name, network in self.best.networks.items()}
        return {**self.training.networks, **averages, **(best if self.validation else {})}

    @cached_property
    def followed(self) -> list[tuple[list[Tensor], list[Tensor]]]:
        """The tensors of all averages and those that they follow: first numbers, then counts."""
        values, current = (
            [value for name in self.averages for value in networks[name].state_dict().values()]
            for networks in (self.averages, self.training.networks)
        )
        moves = [value.is_floating_point() for value in values]
        kinds = moves, [not moving for moving in moves]
        return [(list(compress(values, kind)), list(compress(current, kind))) for kind in kinds]

    def draws_after(self, step: int) -> bool:
        """Return whether a panel is drawn after a step."""
        every = self.config.panel_every
        return every > 0 and step % every == 0

    def validates_after(self, step: int) -> bool:
        """Return whether the averages are validated after a step; always after the last one."""
        every, steps = self.config.validate_every, self.config.steps
        return self.validation is not None and ((step + 1) % every == 0 or step + 1 == steps)


def start_state(config: TrainConfig, training: Training, device: torch.device) -> RunState:
    """Return the state before the first step."""
    averages = {name: copy.deepcopy(net).eval() for name, net in training.networks.items()}
    validation = open_validation(config, training, device)
    best = Best(copy.deepcopy(averages) if validation else averages, config.steps - 1)
    return RunState(config, training, averages, best, validation)


def save(state: RunState, steps: int) -> None:
    """Save everything that is needed to resume after so many steps."""
    progress = {'step': steps, 'best': (state.best.step, state.best.value)}
    optimizers = state.training.optimizers
    identity = run_identity(state.config)
    save_unfinished(Path(state.config.run), progress, state.networks, optimizers, identity)


def resume(state: RunState) -> int:
    """Load the saved state of an interrupted run and return its steps, or raise FusionError."""
    folder, optimizers = Path(state.config.run), state.training.optimizers
    identity = run_identity(state.config)
    progress = load_unfinished(folder, state.networks, optimizers, identity)
    steps = progress.get('step', 0)
    state.best.step, state.best.value = progress.get('best', (state.best.step, state.best.value))
    return steps


def run_identity(config: TrainConfig) -> dict[str, Any]:
    """
    Return what must be the same to resume a run: its settings and the networks that it reads.

    Paths may change, as after a move: networks are compared by a hash of their weights.
    """
    runs = {name: run for name in NETWORK_RUNS if (run := getattr(config, name, ''))}
    weights = {f'weights of {name}': weights_hash(run) for name, run in runs.items()}
    return result_settings(config) | weights


@torch.no_grad()
def update_averages(state: RunState, step: int) -> None:
    """Move the averaged weights and statistics toward the networks after a step."""
    decay = min(state.config.ema_decay, (1 + step) / (10 + step))
    moved, copied = state.followed
    torch._foreach_lerp_(*moved, 1 - decay)  # few kernels instead of hundreds
    if copied[0]:
        torch._foreach_copy_(*copied)


def write_run(state: RunState, description: Mapping[str, Any]) -> nn.Module:
    """Write the best networks of the run and return the main one, whose file comes last."""
    networks, folder = state.best.networks, Path(state.config.run)
    main, *others = networks
    chosen: dict[str, Any] = {'step': state.best.step}
    if state.validation:
        chosen |= {'split': state.validation.split}
        chosen |= {state.validation.measure.name: state.best.value}
    content = {'config': asdict(state.config), **description, 'best': chosen}
    for place, name in (*((folder / name, name) for name in others), (folder, main)):
        classes, network = state.training.classes, networks[name]
        if isinstance(network, Segmenter):
            classes = network.config.classes
        save_run(place, network, {**content, 'classes': classes} if classes else content)
    (folder / UNFINISHED).unlink(missing_ok=True)
    return networks[main]
