"""Read the settings of a training run: YAML files, ``name=value``, or what a run folder stores."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import fields
from difflib import get_close_matches
import json
import os
from pathlib import Path
from typing import Any

from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.formats.plain_yaml import read_yaml
from tdfusion_ros.formats.read_errors import reading
from training.config import PATHS
from training.config import RENAMED
from training.config import setting_names
from training.config import TASKS
from training.config import TrainConfig


def config_from_mapping(values: Mapping[str, Any]) -> TrainConfig:
    """Return the settings of ``values['task']`` (default: fusion), or raise ConfigError."""
    rest = dict(values)
    task = rest.pop('task', 'fusion')
    if not isinstance(task, str) or task not in TASKS:
        raise ConfigError(f'task must be one of {", ".join(TASKS)}, got {task!r}')
    known = setting_names(task)
    for name in rest:
        if name in known:
            continue
        current = RENAMED.get(name, name)
        if current in known:
            raise ConfigError(f'setting {name} is now called {current}: rename it')
        if tasks := [other for other in TASKS if current in setting_names(other)]:
            raise ConfigError(
                f'setting {name} belongs to task {" and ".join(tasks)}, not to {task}: remove it'
            )
        near = get_close_matches(name, known, n=1)
        hint = f'did you mean {near[0]}? ' if near else ''
        raise ConfigError(
            f'unknown setting {name!r}: {hint}python -m training.train --help lists all settings'
        )
    return TASKS[task](**rest)


def settings_text() -> str:
    """Return all settings with their defaults: first the common ones, then the others by task."""
    common = set.intersection(*(setting_names(task) for task in TASKS))
    parts = [_listed('Settings of every task:', 'fusion', common)]
    for task in TASKS:
        parts.append(_listed(f'More settings of task={task}:', task, setting_names(task) - common))
    return '\n\n'.join(parts)


def _listed(title: str, task: str, names: set[str]) -> str:
    """Return a line and an indented explanation for each of some settings of a task."""
    lines = [title]
    for one in fields(TASKS[task]):
        if one.name in names:
            value = one.default if isinstance(one.default, str) else json.dumps(one.default)
            lines += [f'  {one.name}={value}', f'      {one.metadata["doc"]}']
    return '\n'.join(lines)


def load_config(arguments: Sequence[str]) -> TrainConfig:
    """
    Read command line arguments: YAML files and ``name=value``, later ones win.

    Paths in a YAML file are relative to its folder, paths in ``name=value`` to the current one.

    :raises ConfigError: if a file cannot be read, or a setting is wrong or missing.
    """
    values: dict[str, Any] = {}
    for argument in arguments:
        if '=' in argument:
            name, _, text = argument.partition('=')
            with reading(ConfigError, f'{argument} is not valid YAML'):
                values[name] = text if name in PATHS else read_yaml(text) if text else ''
        else:
            values |= _read_yaml(Path(argument))
    config = config_from_mapping(values)
    for name, what in (('data', 'of the data set'), ('run', 'for the weights and logs')):
        if not getattr(config, name):
            raise ConfigError(f'{name} is missing: add {name}=FOLDER, the folder {what}')
    return config


def _read_yaml(path: Path) -> dict[str, Any]:
    with reading(ConfigError, f'cannot read the settings file {path}'):
        loaded = read_yaml(path.read_text(encoding='utf-8')) or {}
    if not isinstance(loaded, dict):
        raise ConfigError(f'{path} must contain lines "name: value", got {loaded!r}')
    values = {str(name): value for name, value in loaded.items()}
    for name in PATHS:
        if isinstance(values.get(name), str) and values[name]:
            values[name] = os.path.normpath(path.parent / values[name])
    return values
