"""YAML from outside, without the parts of it that can be turned against the reader."""

from typing import Any

import yaml

MOST_CHARACTERS = 1 << 18  # a second to read; a file of parameters has 10 000
MOST_DEPTH = 50
# Ten lines of aliases become a list of a billion, in the first thing that walks through it.
_ALIAS = yaml.YAMLError('aliases (*name) are not taken; write the value out')


class _PlainLoader(yaml.SafeLoader):
    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise _ALIAS
        self._depth += 1
        if self._depth > MOST_DEPTH:  # PyYAML's time grows with the square of it
            raise yaml.YAMLError(f'lists and mappings are nested deeper than {MOST_DEPTH}')
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def read_yaml(text: str) -> Any:
    """
    Return what a YAML text holds: plain values only, none of them twice by reference.

    :raises yaml.YAMLError: if it is none, or far larger or deeper than anything that is meant.
    """
    if len(text) > MOST_CHARACTERS:
        raise yaml.YAMLError(f'{len(text)} characters of YAML, expected at most {MOST_CHARACTERS}')
    try:
        return yaml.load(text, _PlainLoader)  # derived from SafeLoader
    except (ValueError, OverflowError) as error:  # PyYAML lets through what int() and date() raise
        raise yaml.YAMLError(f'a value cannot be read: {error}') from None


def refuse_aliases(text: str) -> None:
    """Raise yaml.YAMLError for a text that another reader would come to grief with."""
    loader = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)  # a bag may have thousands of files
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, loader)):
        raise _ALIAS
