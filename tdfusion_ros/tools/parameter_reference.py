"""The parameters as people read them: a parameter file, and the README's table."""

from typing import Any

from tdfusion_ros.core.config import settings

HEAD = """\
# Every parameter of the node with its default; `tdfusion params` printed this file.
# Copy it, keep what you change, and name it: params_file:=my.yaml
# Live: may be changed while the node runs.
/**:
  ros__parameters:
"""


def parameter_yaml() -> str:
    """Return a parameter file with every default and what it means."""
    lines, group = [], ''
    for name, default, facts in settings():
        parent, _, leaf = name.rpartition('.')
        if parent != group:
            lines.append(f'    {parent}:')
            group = parent
        indent = '      ' if parent else '    '
        lines += [
            f'{indent}# {facts["doc"]}{_limits(facts)}',
            f'{indent}{leaf}: {_value(default)}',
        ]
    return HEAD + '\n'.join(lines) + '\n'


def parameter_table() -> str:
    """Return a Markdown table of every parameter."""
    lines = ['| parameter | default | meaning |', '|---|---|---|']
    lines += [
        f'| `{name}` | `{_value(default)}` | {facts["doc"]}{_limits(facts)} |'
        for name, default, facts in settings()
    ]
    return '\n'.join(lines) + '\n'


def _limits(facts: Any) -> str:
    live = ' Live.' if facts['live'] else ''
    if facts['choices']:
        return f' One of {", ".join(facts["choices"])}.{live}'
    if facts['low'] is not None:
        return f' {facts["low"]:g} to {facts["high"]:g}.{live}'
    return live


def _value(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):  # ROS cannot tell the type of an empty list
        return f'[{", ".join(repr(item) for item in default or ("",))}]'
    return repr(default)
