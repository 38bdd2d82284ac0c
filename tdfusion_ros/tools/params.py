"""``tdfusion params``: every parameter with its default and meaning, as YAML or as a table."""

import argparse
from collections.abc import Mapping
from typing import Any

from tdfusion_ros.core.config import settings

YAML_HEAD = """\
# Every parameter of the node with its default, printed by `tdfusion params`.
# To change some: copy this file, keep the ones you change, and launch with params_file:=my.yaml
# Live: can be changed while the node runs.
/**:
  ros__parameters:
"""


def add(commands: Any) -> None:
    params = commands.add_parser(
        'params',
        help='print every parameter with its default and meaning',
        description='Print every parameter of the node with its default and meaning, as a '
        'parameter file to copy and change.',
    )
    params.add_argument('--markdown', action='store_true', help='print a Markdown table instead')
    params.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    print(parameter_table() if options.markdown else parameter_yaml(), end='')
    return 0


def parameter_yaml() -> str:
    """Return a parameter file with every default and what it means."""
    lines, group = [], ''
    for name, default, metadata in settings():
        parent, _, leaf = name.rpartition('.')
        if parent != group:
            lines.append(f'    {parent}:')
            group = parent
        indent = '      ' if parent else '    '
        lines += [f'{indent}# {_meaning(metadata)}', f'{indent}{leaf}: {_yaml_value(default)}']
    return YAML_HEAD + '\n'.join(lines) + '\n'


def parameter_table() -> str:
    """Return a Markdown table of every parameter."""
    lines = ['| parameter | default | meaning |', '|---|---|---|']
    for name, default, metadata in settings():
        lines.append(f'| `{name}` | `{_yaml_value(default)}` | {_meaning(metadata)} |')
    return '\n'.join(lines) + '\n'


def _meaning(metadata: Mapping[str, Any]) -> str:
    """Return the description with the allowed values."""
    text = metadata['doc']
    if metadata['choices']:
        text += f' One of {", ".join(metadata["choices"])}.'
    elif metadata['low'] is not None:
        text += f' {metadata["low"]:g} to {metadata["high"]:g}.'
    return text + (' Live.' if metadata['live'] else '')


def _yaml_value(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):  # ROS cannot infer the type of an empty list
        return f'[{", ".join(repr(item) for item in default or ("",))}]'
    return repr(default)
