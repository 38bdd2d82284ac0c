"""Draw charts as inline SVG whose colors come from the page, so that they fit dark and light."""

from collections.abc import Mapping
from collections.abc import Sequence
import io
import re
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
import numpy as np

from tdfusion_ros.tools.view.analysis import Samples

MAX_POINTS = 1000  # of more values, the range within each of MAX_BINS bins is drawn
MAX_BINS = 120
# matplotlib cannot use CSS variables: it draws with these colors, which are replaced in the SVG.
NAMES = ('blue', 'red', 'gray', 'soft', 'grid', 'c0', 'c1', 'c2', 'c3', 'c4', 'c5')
COLORS = {name: f'#0{index:x}0b0c' for index, name in enumerate(NAMES)}
STYLE: Any = {
    'svg.fonttype': 'none',  # text stays text
    'svg.hashsalt': 'tdfusion',  # the same chart gets the same ids
    'font.size': 9,
    'path.simplify': False,
    'axes.linewidth': 0.8,
    'axes.labelcolor': COLORS['soft'],
    'axes.edgecolor': COLORS['soft'],
    **{f'axes.spines.{side}': False for side in ('top', 'right', 'left')},
    **{f'{axis}tick.color': COLORS['soft'] for axis in 'xy'},
    'ytick.major.size': 0,
    'axes.grid': True,
    'axes.grid.axis': 'y',
    'grid.color': COLORS['grid'],
    'axes.axisbelow': True,
}


def draw_stacked(
    edges_s: np.ndarray, layers: Sequence[tuple[str, np.ndarray]], x_label: str, y_label: str
) -> str:
    """Return a chart of columns between (N + 1,) edges, of colors and (N,) heights upward."""
    figure, axes = _new_chart(x_label, y_label)
    base = np.zeros(len(edges_s) - 1)
    for color, heights in layers:
        axes.stairs(base + heights, edges_s, baseline=base, fill=True, lw=0, color=COLORS[color])
        base = base + heights
    axes.set_xlim(edges_s[0], edges_s[-1])
    axes.set_ylim(0, max(base.max() * 1.08, 1e-9))
    if np.array_equal(base, np.round(base)):
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10), integer=True))
    return _to_svg(figure, y_label)


def draw_samples(series: Mapping[str, Samples], origin_ns: int, x_label: str, y_label: str) -> str:
    """Return a chart of values over time, by color, including zero; lines join several series."""
    figure, axes = _new_chart(x_label, y_label)
    for color, samples in series.items():
        at_s, values = (samples.times_ns - origin_ns) / 1e9, samples.values
        if len(values) > MAX_POINTS:
            _draw_ranges(axes, at_s, values, COLORS[color])
        else:
            marks = '.' if len(series) == 1 else '.-'
            axes.plot(at_s, values, marks, ms=5, lw=1.3, color=COLORS[color])
    axes.margins(x=0.01)
    every = np.concatenate([samples.values for samples in series.values()])
    if every.min() >= 0:
        axes.set_ylim(bottom=0)
    elif every.max() <= 0:
        axes.set_ylim(top=0)
    return _to_svg(figure, y_label)


def _draw_ranges(axes: Axes, xs: np.ndarray, ys: np.ndarray, color: str) -> None:
    """Draw the range and the median of the values within each bin."""
    edges = np.linspace(xs.min(), xs.max(), MAX_BINS + 1)
    place = np.clip(np.digitize(xs, edges) - 1, 0, MAX_BINS - 1)
    low, median, high = np.full((3, MAX_BINS), np.nan)
    for index in np.unique(place):
        low[index], median[index], high[index] = np.percentile(ys[place == index], (0, 50, 100))
    axes.stairs(high, edges, baseline=low, fill=True, lw=0, alpha=0.35, color=color)
    axes.stairs(median, edges, baseline=None, lw=1.5, color=color)


def bin_edges_s(times_s: np.ndarray) -> np.ndarray:
    """Return limits of equal, round bins [s] of four typical periods or more, for jitter."""
    steps = np.diff(np.unique(times_s))
    period = float(np.median(steps)) if len(steps) else 1.0
    low, high = float(times_s.min()), max(float(times_s.max()), float(times_s.min()) + 4 * period)
    bins = np.clip((high - low) / (4 * period), 1, MAX_BINS).astype(int)
    return np.asarray(MaxNLocator(bins, steps=(1, 2, 5, 10)).tick_values(low, high))


def _new_chart(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    with matplotlib.rc_context(STYLE):
        figure = Figure((10.8, 2.3))
        axes = figure.add_axes((0.062, 0.23, 0.92, 0.73))  # the charts of a page are aligned
        axes.set(xlabel=x_label, ylabel=y_label)
    axes.yaxis.set_label_coords(-0.046, 0.5)
    for axis, most in ((axes.xaxis, 10), (axes.yaxis, 5)):
        axis.set_major_locator(MaxNLocator(most, steps=(1, 2, 5, 10)))
        axis.set_major_formatter('{x:.6g}')
    return figure, axes


def _to_svg(figure: Figure, description: str) -> str:
    """Return a figure as an SVG element that is as wide as the page and has its colors."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format='svg', transparent=True, metadata=nothing)
    text = buffer.getvalue()
    (view_box,) = re.findall(r'viewBox="([^"]*)"', text)
    body = text[text.index('</defs>') + len('</defs>') :]  # the first ones are a style sheet
    body = re.sub(r'(?<=<g) id="[^"]*"| clip-path="[^"]*"|font-family: [^;]*; ', '', body)
    for name, stand_in in COLORS.items():
        body = body.replace(stand_in, f'var(--{name})')
    return f'<svg viewBox="{view_box}" role="img" aria-label="{description}">\n{body}'
