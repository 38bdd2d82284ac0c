"""Markdown that is as pleasant to read as plain text: wrapped, with tables and code."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import shlex
import textwrap

WIDTH = 99


def prose(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def bullets(texts: Iterable[str]) -> str:
    return '\n'.join(
        textwrap.fill(
            text,
            WIDTH,
            initial_indent='* ',
            subsequent_indent='  ',
            break_long_words=False,
            break_on_hyphens=False,
        )
        for text in texts
    )


def code(*lines: str) -> str:
    return '\n'.join(('```', *lines, '```'))


def shell(words: Sequence[str]) -> str:
    """Return a command for the shell, broken into lines between words."""
    lines = ['']
    for word in map(shlex.quote, words):
        if len(lines[-1]) + len(word) > WIDTH - 3:
            lines.append('   ')
        lines[-1] += f' {word}'
    return ' \\\n'.join(lines)[1:]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f'| {" | ".join(row)} |' for row in (head, *rows)]
    return '\n'.join([lines[0], '|' + '---|' * len(head), *lines[1:]])


def figure(value: float | None, digits: int) -> str:
    """Return a number; a dash for one that is not known, a count as it is."""
    if value is None or value != value:
        return '-'
    return str(value) if isinstance(value, int) else f'{value:.{digits}f}'


def listed(names: Sequence[str]) -> str:
    """Return names as one says them: a, b and c."""
    return ' and '.join([*([', '.join(names[:-1])] if names[1:] else []), *names[-1:]])


def counts(numbers: Mapping[str, int]) -> str:
    return ', '.join(f'{count} {name}' for name, count in numbers.items())


def grouped(number: int) -> str:
    """Return 677021 as 677 021."""
    return f'{number:,}'.replace(',', ' ')


def lasting(seconds: float) -> str:
    if seconds < 120:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 7200 else f'{seconds / 3600:.1f} h'


def spelt(value: object) -> str:
    """Return a setting as it is written; a list in round brackets."""
    return f'({", ".join(map(str, value))})' if isinstance(value, list | tuple) else str(value)
