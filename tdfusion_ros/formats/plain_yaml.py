"""Read YAML files of users, without the features that can exhaust time or memory."""

from typing import Any

import yaml

MAX_CHARACTERS = 1 << 18  # takes a second; a parameter file has 10 000
MAX_DEPTH = 50  # PyYAML's time grows with its square
_TOO_DEEP = f'lists and mappings are nested deeper than {MAX_DEPTH}'
# Ten lines of aliases can stand for a list of a billion values.
_ALIAS = yaml.YAMLError('aliases (*name) are not supported: repeat the value')


class _PlainLoader(yaml.SafeLoader):
    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise _ALIAS
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.YAMLError(_TOO_DEEP)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def read_yaml(text: str) -> Any:
    """
    Return the plain values of a YAML text.

    :raises yaml.YAMLError: if it is not YAML, has aliases, or is too long or too deep.
    """
    if len(text) > MAX_CHARACTERS:
        raise yaml.YAMLError(f'{len(text)} characters of YAML, expected at most {MAX_CHARACTERS}')
    try:
        return yaml.load(text, _PlainLoader)  # derived from SafeLoader
    except (ValueError, OverflowError) as error:  # PyYAML does not catch what int() raises
        raise yaml.YAMLError(f'a value cannot be read: {error}') from None


def check_plain(text: str) -> None:
    """
    Check a long text before another reader parses it.

    :raises yaml.YAMLError: if it is not YAML, has aliases, or is too deep.
    """
    depth = 0
    loader = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)
    for event in yaml.parse(text, loader):
        if isinstance(event, yaml.AliasEvent):
            raise _ALIAS
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise yaml.YAMLError(_TOO_DEEP)


def reason(error: Exception) -> str:
    """Return why a file cannot be read or written: of YAML with its line and column."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f'line {mark.line + 1}, column {mark.column + 1}: {error.problem or error.context}'
    if isinstance(error, UnicodeDecodeError):
        return 'it is not a text file in UTF-8'
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)
