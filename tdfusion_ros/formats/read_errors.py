"""Say in one sentence why a file cannot be read, whatever raised the error."""

from collections.abc import Iterator
from contextlib import contextmanager

import yaml

from tdfusion_ros.core.errors import FusionError


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
