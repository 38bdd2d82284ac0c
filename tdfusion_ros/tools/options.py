"""Command-line options that several subcommands share: parameters, topics, input, sizes."""

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
import re
from typing import Any

from tdfusion_ros.core.config import from_mapping
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.parameter_files import read_parameters
from tdfusion_ros.formats.plain_yaml import read_yaml
from tdfusion_ros.formats.read_errors import reading
from tdfusion_ros.formats.sources import BagSource
from tdfusion_ros.formats.sources import FolderSource
from tdfusion_ros.formats.sources import Source
from tdfusion_ros.formats.videos import VideoSource

NODE_ONLY = (
    *('max_rate_hz', 'input_qos', 'output_qos', 'input_timeout_s', 'diagnostics_period_s'),
    *('save_folder', 'autostart', 'calibration_depth_m', 'sync.policy'),
    *('rgb.image_transport', 'ir.image_transport'),
)
"""Parameters that nothing but the node uses."""


def add_config(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add('--config', type=Path, metavar='FILE', help='parameter file, such as config/fusion.yaml')
    text = 'which node of the file, such as /rig1/tdfusion; needed if it has several'
    add('--node', default='', metavar='NAME', help=text)
    text = 'set one parameter, such as -p score_threshold=0.5; may be repeated'
    add('-p', '--param', action='append', default=[], metavar='NAME=VALUE', help=text)


def add_shared(command: argparse.ArgumentParser, *, pairs: bool) -> None:
    """Add topics and config; ``pairs``: also ``--skip-bad`` and ``--times``."""
    add = command.add_argument
    for name in ('rgb', 'ir'):
        found = f'the one that ends in {name}/image_raw or {name}/image_raw/compressed'
        text = f'{name} image topic of the bag; default: {found}'
        add(f'--{name}-topic', default='', metavar='TOPIC', help=text)
    if pairs:
        text = 'of folders: leave out images that cannot be used or have no partner'
        add('--skip-bad', action='store_true', help=text)
        text = (
            "times of a bag's images: the stamps of the drivers (default), or when they were "
            'recorded, for drivers that do not stamp'
        )
        add('--times', choices=('header', 'recorded'), default='header', help=text)
    add_config(command)


def add_sizes(command: argparse.ArgumentParser, meaning: str) -> None:
    """Add ``--size``, which :func:`sizes_hw` reads."""
    text = f'{meaning}; may be repeated'
    add = command.add_argument
    add('--size', action='append', default=[], metavar='WIDTHxHEIGHT', help=text)


def config_of(options: argparse.Namespace, *used: str) -> FusionConfig:
    """
    Return the config of ``--config`` and ``--param``, which wins; ConfigError if wrong.

    :param used: how the names of the parameters begin that the command uses; none: all that
        are not for the node alone. Others may be in ``--config``, which the node reads, too.
    """
    values: dict[str, Any] = {}
    if options.config:
        values = read_parameters(options.config, options.node)
    for given in options.param:
        name, equals, value = given.partition('=')
        if not equals:
            raise ConfigError(f"--param must be NAME=VALUE, got '{given}'")
        with reading(ConfigError, f"--param {name}: '{value}' is not YAML"):
            values[name] = read_yaml(value)
    config = from_mapping(values)
    for name in (given.partition('=')[0] for given in options.param):
        if not (name.startswith(used) if used else name not in NODE_ONLY):
            some = ', '.join(one + '*' * one.endswith('.') for one in used)
            uses = f'uses only {some}' if used else 'uses no parameter of the node alone'
            raise ConfigError(f'{options.command} {uses}: leave out -p {name}')
    return config


def open_source(options: argparse.Namespace, config: FusionConfig, stack: ExitStack) -> Source:
    """Open the bag, the two folders or the two videos; FusionError if that is impossible."""
    if len(options.input) > 2:
        raise ConfigError(
            f'{options.command} takes one bag, two folders or two videos, got '
            f'{len(options.input)} paths'
        )
    if len(options.input) == 2 and any(path.is_file() for path in options.input):
        rgb, ir = options.input
        videos = VideoSource(rgb, ir, config)
        print('read', ', '.join(f'{s} from {v.text}' for s, v in videos.videos.items()))
        return videos
    if len(options.input) == 2:
        return FolderSource(*options.input, skip_bad=options.skip_bad)
    reader = stack.enter_context(BagReader(options.input[0]))
    topics = reader.find(options.rgb_topic, options.ir_topic)
    print(reader.describe(topics))
    return BagSource(reader, topics, config, options.times)


def sizes_hw(sizes: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Return (H, W) of sizes such as ``640x480`` [px], each once, or raise ConfigError."""
    parsed = []
    for size in dict.fromkeys(sizes):
        if not re.fullmatch(r'[1-9]\d{0,4}x[1-9]\d{0,4}', size):
            raise ConfigError(f"--size must be WIDTHxHEIGHT, such as 640x480, got '{size}'")
        width, height = map(int, size.split('x'))
        parsed.append((height, width))
    return tuple(parsed)


def counted(number: int, noun: str) -> str:
    """Return ``1 pair`` or ``2 pairs``."""
    return f'{number} {noun}' + ('' if number == 1 else 's')
