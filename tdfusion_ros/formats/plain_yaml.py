"""Read YAML files of users, without the features that can exhaust time or memory."""

import re
from typing import Any

import yaml

MAX_CHARACTERS = 1 << 18  # a parameter file has 10 000
MAX_DEPTH = 50


class Loader(getattr(yaml, 'CSafeLoader', yaml.SafeLoader)):  # type: ignore[misc]
    """A safe loader, by libyaml if it is there, that reads 1e-2 as a number, as ROS does."""


NUMBER = re.compile(r'[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$', re.ASCII)
Loader.add_implicit_resolver('tag:yaml.org,2002:float', NUMBER, list('-+.0123456789'))


def read_yaml(text: str, max_characters: int = MAX_CHARACTERS) -> Any:
    """Return the plain values of a YAML text; YAMLError for aliases, too long, too deep ones."""
    if len(text) > max_characters:
        raise yaml.YAMLError(f'{len(text)} characters of YAML, expected at most {max_characters}')
    depth = 0
    try:
        for event in yaml.parse(text, Loader):
            if isinstance(event, yaml.AliasEvent):
                # Ten lines of aliases can stand for a list of a billion values.
                raise yaml.YAMLError('aliases (*name) are not supported: repeat the value')
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise yaml.YAMLError(f'lists and mappings are nested deeper than {MAX_DEPTH}')
        return yaml.load(text, Loader)  # one of the safe loaders
    except (ValueError, OverflowError) as error:  # PyYAML does not catch what int() raises
        raise yaml.YAMLError(f'a value cannot be read: {error}') from None
