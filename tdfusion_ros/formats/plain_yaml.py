"""Read YAML files of users, without the features that can exhaust time or memory."""

from collections.abc import Iterator
from contextlib import contextmanager
import re
from typing import Any

import yaml

from tdfusion_ros.core.errors import FusionError

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


@contextmanager
def reading(kind: type[FusionError], what: str, *others: type[Exception]) -> Iterator[None]:
    """Turn what reading a text file raises, and others, into an error that says what and why."""
    causes: tuple[type[Exception], ...] = (OSError, UnicodeDecodeError, yaml.YAMLError, *others)
    try:
        yield
    except causes as error:
        raise kind(f'{what}: {reason(error)}') from None


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
