"""Read ROS parameter files: select the parameters of one node among several."""

from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
import re
from typing import Any

from tdfusion_ros.core.config import ROS_PARAMETERS
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.setting import flatten
from tdfusion_ros.formats.plain_yaml import read_yaml
from tdfusion_ros.formats.read_errors import reading

NODE = 'tdfusion'
KEY = 'ros__parameters'


def read_parameters(path: Path, node: str = '') -> dict[str, Any]:
    """
    Return the parameters of a node by their dotted names, without those that every ROS node has.

    As in ROS, names of nodes may contain ``*`` (any name) and ``**`` (any names), and what a name
    without them says wins.

    :param node: its full name, as ``/rig1/tdfusion``; empty: the only node called ``tdfusion``, or
        the only node of the file.
    :raises ConfigError: if the file cannot be read, or it is not clear which node is meant.
    """
    with reading(ConfigError, f'{path} is not a parameter file'):
        tree = read_yaml(path.read_text(encoding='utf-8'))
    nodes = list(_nodes(tree)) if isinstance(tree, Mapping) else []
    if not nodes:
        raise ConfigError(
            f'{path} is not a parameter file: expected NODE: {KEY}: NAME: VALUE (tdfusion params)'
        )
    name = node or _only_node(path, [name for name, _ in nodes])
    values: dict[str, Any] = {}
    # False before True: names with wildcards first.
    for pattern, parameters in sorted(nodes, key=lambda item: '*' not in item[0]):
        if _matches(pattern, name):
            values |= flatten(parameters)
    return {name: v for name, v in values.items() if not name.startswith(ROS_PARAMETERS)}


def _nodes(tree: Mapping[Any, Any], prefix: str = '') -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the full name, which may have wildcards, and the parameters of each node."""
    for key, value in tree.items():
        if not isinstance(value, Mapping):
            continue
        if key == KEY:
            yield prefix or '/**', value
        else:
            yield from _nodes(value, f'{prefix}/{str(key).strip("/")}')


def _only_node(path: Path, names: list[str]) -> str:
    own = {name for name in names if '*' not in name.rpartition('/')[2]}
    ours = {name for name in own if name.endswith(f'/{NODE}')}
    found = sorted(ours or own or {f'/{NODE}'})
    if len(found) > 1 or (own and not ours and len(names) > 1):
        raise ConfigError(
            f'{path} has parameters of {", ".join(sorted(names))}; choose one: --node {found[0]}'
        )
    return found[0].replace('/**', '').replace('*', NODE)


def _matches(pattern: str, name: str) -> bool:
    parts = (
        '(/[^/]+)*' if part == '**' else '/' + re.escape(part).replace(r'\*', '[^/]*')
        for part in pattern.strip('/').split('/')
    )
    return re.fullmatch(''.join(parts), f'/{name.strip("/")}') is not None
