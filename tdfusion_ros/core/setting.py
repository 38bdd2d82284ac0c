"""How a setting is declared, and how its value is checked."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import field
from dataclasses import fields
from dataclasses import is_dataclass
from math import inf
from math import isfinite
from typing import Any

from tdfusion_ros.core.errors import ConfigError


def setting(
    default: Any,
    doc: str,
    low: float | None = None,
    high: float | None = None,
    *,
    choices: tuple[Any, ...] = (),
    live: bool = False,
) -> Any:
    """Declare a setting: default, description, range (None: open), choices, if it is live."""
    return field(
        default=default,
        metadata={'doc': doc, 'choices': choices, 'low': low, 'high': high, 'live': live},
    )


def flatten(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """Return nested mappings as one, with dotted names."""
    values: dict[str, Any] = {}
    for name, value in tree.items():
        key = f'{prefix}{name}'
        values |= flatten(value, f'{key}.') if isinstance(value, Mapping) else {key: value}
    return values


def flat(config: Any, prefix: str = '') -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """Return (dotted name, value, metadata) of every setting of a config and its groups."""
    for f in fields(config):
        value = getattr(config, f.name)
        if is_dataclass(value):
            yield from flat(value, f'{prefix}{f.name}.')
        else:
            yield f'{prefix}{f.name}', value, f.metadata


def cast(name: str, value: Any, default: Any) -> Any:
    """Return a value as the type of the setting's default; ConfigError if it has another type."""
    wanted = type(default)
    if getattr(value, 'ndim', None) == 0:  # a numpy scalar
        value = value.item()
    if wanted is float and type(value) is int and abs(value) < 2**53:
        return float(value)
    if wanted is str and not isinstance(value, str):  # as in ``ir.no_data: 0``
        items = [value] if isinstance(value, (int, float)) else value
        if isinstance(items, Sequence) and items and {int, float} >= {type(i) for i in items}:
            return ', '.join(map(str, items))
    if wanted is tuple and isinstance(value, (list, tuple)):
        if default and len(value) == len(default):
            return tuple(cast(name, *pair) for pair in zip(value, default, strict=True))
        if not default and all(isinstance(item, str) for item in value):
            return tuple(item for item in value if item)
    elif type(value) is wanted:
        return value
    kind = f'of type {wanted.__name__}'
    if wanted is tuple:
        names = 'a list of names, such as [person, car]'
        kind = f'a list of {len(default)} numbers' if default else names
    raise ConfigError(f'{name} must be {kind}, got {value!r}')


def numbers(name: str, text: str, count: int | None = None) -> tuple[float, ...] | None:
    """Return the numbers of ``0, 16383`` or ``none``; None: ``auto``; else ConfigError."""
    if text.strip() == 'auto':
        return None
    words = [] if text.strip() == 'none' else text.replace(',', ' ').split()
    with suppress(ValueError):
        values = tuple(float(word) for word in words)
        if all(map(isfinite, values)) and (not count or len(values) in (0, count)):
            return values
    wanted = f'{count} numbers' if count else 'numbers'
    raise ConfigError(f'{name} must be auto, none, or {wanted} with commas, got {text!r}')


def check(name: str, value: Any, metadata: Mapping[str, Any]) -> None:
    """Raise ConfigError for a value outside of the choices or the range of its setting."""
    if metadata['choices'] and value not in metadata['choices']:
        choices = ', '.join(map(str, metadata['choices']))
        raise ConfigError(f'{name} must be one of {choices}, got {value!r}')
    low, high = metadata['low'], metadata['high']
    if low is not None and not low <= value <= (inf if high is None else high):
        limits = f'{low:g} or more' if high is None else f'between {low:g} and {high:g}'
        raise ConfigError(f'{name} must be {limits}, got {value!r}')
