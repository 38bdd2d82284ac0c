"""Figures and text of a bag as people can read them, and as a page can bear them."""

import html


def plain(text: object, most: int = 80) -> str:
    """Return text of a bag as harmless HTML: one line, printable, escaped, not endless."""
    line = ''.join(c if c.isprintable() else '\N{REPLACEMENT CHARACTER}' for c in str(text))
    return html.escape(line if len(line) <= most else line[: most - 1] + '…', quote=True)


def number(value: float) -> str:
    """Return a tick's number without needless digits."""
    return f'{value:.10g}'.replace('-', '\N{MINUS SIGN}') if abs(value) > 1e-9 else '0'


def seconds(value: float) -> str:
    """Return a length of time for people."""
    if abs(value) >= 600:
        minutes, rest = divmod(round(value), 60)
        hours, minutes = divmod(minutes, 60)
        return f'{hours} h {minutes:02d} min' if hours else f'{minutes} min {rest:02d} s'
    return f'{value:.3g} s' if abs(value) < 1 else f'{value:.1f}'.removesuffix('.0') + ' s'


def signed(value: float) -> str:
    """Return a figure with its sign, one decimal."""
    return f'{value:+.1f}'.replace('-', '\N{MINUS SIGN}')


def plural(number: int, noun: str) -> str:
    """Return a number of things."""
    return f'{number:,} {noun}' + ('' if number == 1 else 's')
