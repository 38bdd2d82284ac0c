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
    """Add the command."""
    params = commands.add_parser(
        'params',
        help='print every parameter with its default and meaning',
        description='Print every parameter of the node with its default and meaning, as a '
        'parameter file to copy and change.',
    )
    params.add_argument('--markdown', action='store_true', help='print a Markdown table instead')
    params.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the parameters; return the exit status."""
    print(parameter_table() if options.markdown else parameter_yaml(), end='')
    return 0


def parameter_yaml() -> str:
    """Return a parameter file with every default and what it means."""
    lines, group = [], ''
    for name, default, facts in settings():
        parent, _, leaf = name.rpartition('.')
        if parent != group:
            lines.append(f'    {parent}:')
            group = parent
        indent = '      ' if parent else '    '
        lines += [f'{indent}# {_meaning(facts)}', f'{indent}{leaf}: {_yaml_value(default)}']
    return YAML_HEAD + '\n'.join(lines) + '\n'


def parameter_table() -> str:
    """Return a Markdown table of every parameter."""
    lines = ['| parameter | default | meaning |', '|---|---|---|']
    for name, default, facts in settings():
        lines.append(f'| `{name}` | `{_yaml_value(default)}` | {_meaning(facts)} |')
    return '\n'.join(lines) + '\n'


def _meaning(facts: Mapping[str, Any]) -> str:
    """Return the description with the allowed values."""
    text = facts['doc']
    if facts['choices']:
        text += f' One of {", ".join(facts["choices"])}.'
    elif facts['low'] is not None:
        text += f' {facts["low"]:g} to {facts["high"]:g}.'
    return text + (' Live.' if facts['live'] else '')


def _yaml_value(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):  # ROS cannot infer the type of an empty list
        return f'[{", ".join(repr(item) for item in default or ("",))}]'
    return repr(default)
