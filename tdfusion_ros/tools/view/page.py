"""Pieces of a page. Every piece escapes the text that it is given; charts are SVG already."""

from collections.abc import Sequence

from tdfusion_ros.tools.view.charts import Chart
from tdfusion_ros.tools.view.pictures import Moment
from tdfusion_ros.tools.view.pictures import Picture
from tdfusion_ros.tools.view.style import STYLE
from tdfusion_ros.tools.view.words import plain

# Nothing may be loaded or run, whatever a bag smuggles in.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, body: str) -> str:
    """Return the whole file."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{plain(title)}</title>\n<style>{STYLE}</style>\n</head>\n'
        f'<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n'
    )


def head(kicker: str, name: str, lines: Sequence[str]) -> str:
    """Return the top of the page."""
    told = ''.join(f'<p class="soft">{plain(line, 300)}</p>' for line in lines)
    return f'<p class="kicker">{plain(kicker)}</p>\n<h1>{plain(name, 200)}</h1>\n{told}'


def tiles(entries: Sequence[tuple[str, str]]) -> str:
    """Return the key figures: a figure, and what it is."""
    inner = ''.join(
        f'<div class="tile"><b>{plain(figure)}</b><span>{plain(what, 120)}</span></div>'
        for figure, what in entries
    )
    return f'<div class="tiles">{inner}</div>'


def missing(sentences: Sequence[str]) -> str:
    """Return the list of what the bag does not have."""
    if not sentences:
        return ''
    items = ''.join(f'<li>{plain(sentence, 400)}</li>' for sentence in sentences)
    return f'<div class="missing"><b>Not in this report</b><ul>{items}</ul></div>'


def section(title: str, note: str, *parts: str) -> str:
    """Return a section: its title, a sentence on how to read it, and its parts."""
    return f'<h2>{plain(title)}</h2>\n<p class="soft">{plain(note, 500)}</p>\n' + '\n'.join(parts)


def sentence(text: str) -> str:
    """Return a paragraph."""
    return f'<p>{plain(text, 600)}</p>'


def figure(chart: Chart, note: str, keys: Sequence[tuple[str, str]] = ()) -> str:
    """Return a chart below its title, with the colors' meaning: class and name."""
    told = f'<p class="soft">{plain(note, 400)}</p>' if note else ''
    return (
        f'<h3>{plain(chart.title)}</h3>{told}<div class="panel">{chart.svg()}{legend(keys)}</div>'
    )


def legend(keys: Sequence[tuple[str, str]]) -> str:
    """Return what colors mean: class and name."""
    inner = ''.join(
        f'<span class="key {color}"><i></i><span>{plain(name, 40)}</span></span>'
        for color, name in keys
    )
    return f'<p>{inner}</p>' if inner else ''


def table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], numbers: int, wide: bool = False
) -> str:
    """Return a table whose last ``numbers`` columns are figures, flush right."""

    def row(cells: Sequence[str], tag: str) -> str:
        first = len(cells) - numbers
        return ''.join(
            f'<{tag}{" class=r" if index >= first else ""}>{plain(cell, 200)}</{tag}>'
            for index, cell in enumerate(cells)
        )

    body = ''.join(f'<tr>{row(cells, "td")}</tr>' for cells in rows)
    return (
        f'<div class="scroll"><table{" class=wide" if wide else ""}>'
        f'<thead><tr>{row(titles, "th")}</tr></thead>'
        f'<tbody>{body}</tbody></table></div>'
    )


def sheet(rows: Sequence[tuple[str, Sequence[str], Moment]], titles: Sequence[str]) -> str:
    """Return the contact sheet; each row is a time, what was there, and the pictures."""
    top = ''.join(f'<div class="head">{plain(title)}</div>' for title in ('', *titles))
    out = [f'<div class="moment">{top}</div>']
    for time, facts, moment in rows:
        cells = ''.join(
            _picture(picture, f'{title}, {time}')
            for title, picture in zip(titles, (moment.rgb, moment.ir, moment.fused), strict=True)
        )
        told = '<br>'.join(plain(fact) for fact in facts)
        out.append(f'<div class="moment"><p><b>{plain(time)}</b>{told}</p>{cells}</div>')
    return '\n'.join(out)


def _picture(picture: Picture, what: str) -> str:
    if not picture.uri:
        return f'<div class="none">{plain(picture.missing, 160)}</div>'
    return f'<img src="{picture.uri}" alt="{plain(what)}">'
