"""What several subcommands take: parameters, a bag or folders, sizes."""

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
import re
from typing import TYPE_CHECKING

import yaml

from tdfusion_ros.core.config import from_mapping
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.formats.plain_yaml import read_yaml

if TYPE_CHECKING:
    from tdfusion_ros.formats.sources import Source


def add_config(command: argparse.ArgumentParser) -> None:
    """Let a command take parameters."""
    command.add_argument('--config', type=Path, help='parameters as in config/fusion.yaml')
    command.add_argument(
        '-p',
        '--param',
        action='append',
        default=[],
        metavar='NAME=VALUE',
        help='set a parameter, as -p score_threshold=0.5',
    )


def add_topics(command: argparse.ArgumentParser) -> None:
    """Let a command take the image topics of its bag."""
    for stream in ('rgb', 'ir'):
        command.add_argument(
            f'--{stream}-topic',
            default='',
            help=f'of the bag; default: the one ending in {stream}/image_raw[/compressed]',
        )


def config_of(options: argparse.Namespace) -> FusionConfig:
    """Return the config that ``--config`` and ``--param`` say."""
    values = {}
    if options.config:
        try:
            raw = read_yaml(options.config.read_text(encoding='utf-8'))
            values = _flat(next(iter(raw.values()))['ros__parameters'])
        except (
            OSError,
            UnicodeDecodeError,
            yaml.YAMLError,
            AttributeError,
            KeyError,
            TypeError,
            StopIteration,
        ) as error:
            raise ConfigError(f'{options.config} is not a parameter file: {error!r}') from None
    for given in options.param:
        name, equals, value = given.partition('=')
        if not equals:
            raise ConfigError(f"--param wants NAME=VALUE, got '{given}'")
        try:
            values[name] = read_yaml(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--param {name}: '{value}' is not YAML: {error}") from None
    return from_mapping(values)


def _flat(tree: dict, prefix: str = '') -> dict:
    out = {}
    for name, value in tree.items():
        out |= (
            _flat(value, f'{prefix}{name}.') if isinstance(value, dict) else {prefix + name: value}
        )
    return out


def source_of(options: argparse.Namespace, config: FusionConfig, stack: ExitStack) -> 'Source':
    """Return the pairs of the bag or the folders; ``stack`` closes them."""
    from tdfusion_ros.formats.bags import BagReader
    from tdfusion_ros.formats.sources import BagSource
    from tdfusion_ros.formats.sources import FolderSource

    if len(options.input) > 2:
        raise ConfigError(f'{options.command} takes one bag or two folders')
    if len(options.input) == 2:
        return FolderSource(*options.input)
    reader = stack.enter_context(BagReader(options.input[0]))
    return BagSource(reader, reader.find(options.rgb_topic, options.ir_topic), config)


def sizes_hw(sizes: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Return height and width of sizes that were given as ``640x480`` [px]."""
    found = []
    for size in sizes:
        if not re.fullmatch(r'[1-9]\d{0,4}x[1-9]\d{0,4}', size):
            raise ConfigError(f"--size wants WIDTHxHEIGHT, as 640x480, got '{size}'")
        width, height = map(int, size.split('x'))
        found.append((height, width))
    return tuple(found)


def check_output(path: Path | None) -> None:
    """Refuse before the work what could not be written after it."""
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise ConfigError(f'{path} cannot be written: name a file in a folder that exists')
