"""Charts as inline SVG: axes with units, at most a few thousand marks, colors from the page."""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
import math

import numpy as np

from tdfusion_ros.tools.view.words import number
from tdfusion_ros.tools.view.words import plain

WIDTH, HEIGHT = 1040, 210
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 12, 46
MOST_POINTS = 1500  # beyond that, the range within each of BINS stretches of time is drawn
BINS = 120


@dataclass(frozen=True)
class Axis:
    """
    A linear axis.

    :param label: what it shows, with its unit.
    :param whole: only whole numbers make sense on it.
    """

    label: str
    low: float
    high: float
    whole: bool = False

    def ticks(self, about: int) -> list[float]:
        """Return round numbers within the axis, about so many."""
        step = nice(max(self.high - self.low, 1e-9) / about)
        if self.whole:
            step = max(1.0, round(step))
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


@dataclass
class Chart:
    """Marks on two axes; ``svg`` draws them."""

    title: str
    x: Axis
    y: Axis
    marks: list[str] = field(default_factory=list)

    def points(self, xs: np.ndarray, ys: np.ndarray, color: str) -> None:
        """Draw values over time: each of them, or where there are too many their ranges."""
        if len(xs) > MOST_POINTS:
            self._ranges(xs, ys, color)
            return
        dots = ''.join(
            f'M{self._x(x):.1f} {self._y(y):.1f}h0'
            for x, y in zip(xs.tolist(), ys.tolist(), strict=True)
        )
        self.marks.append(f'<path class="dot {color}" d="{dots}"/>')

    def line(self, xs: np.ndarray, ys: np.ndarray, color: str) -> None:
        """Join values by straight lines; of very many only as many as there are pixels."""
        step = max(1, len(xs) // MOST_POINTS)
        corners = ' '.join(
            f'{self._x(x):.1f},{self._y(y):.1f}'
            for x, y in zip(xs[::step].tolist(), ys[::step].tolist(), strict=True)
        )
        self.marks.append(f'<polyline class="line {color}" points="{corners}"/>')

    def columns(self, edges: np.ndarray, layers: Sequence[tuple[str, np.ndarray]]) -> None:
        """Draw stacked columns; ``layers`` are color and heights, from the bottom up."""
        base = np.zeros(len(edges) - 1)
        for color, heights in layers:
            parts = []
            for index in np.flatnonzero(heights > 0).tolist():
                left, right = self._x(edges[index]) + 0.75, self._x(edges[index + 1]) - 0.75
                top, bottom = self._y(base[index] + heights[index]), self._y(base[index])
                wide = max(right - left, 0.5)
                parts.append(f'M{left:.1f} {bottom:.1f}V{top:.1f}h{wide:.1f}V{bottom:.1f}z')
            self.marks.append(f'<path class="fill {color}" d="{"".join(parts)}"/>')
            base = base + heights

    def svg(self) -> str:
        """Return the chart as an SVG element."""
        body = ''.join((*self._grid(), *self.marks))
        return (
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{plain(self.title)}">'
            f'{body}</svg>'
        )

    def _ranges(self, xs: np.ndarray, ys: np.ndarray, color: str) -> None:
        edges = np.linspace(self.x.low, self.x.high, BINS + 1)
        place = np.clip(np.digitize(xs, edges) - 1, 0, BINS - 1)
        bars, medians = [], []
        for index in np.unique(place).tolist():
            own = ys[place == index]
            left, right = self._x(edges[index]) + 0.75, self._x(edges[index + 1]) - 0.75
            bars.append(
                f'M{left:.1f} {self._y(own.min()) + 0.5:.1f}V{self._y(own.max()) - 0.5:.1f}'
                f'H{right:.1f}V{self._y(own.min()) + 0.5:.1f}z'
            )
            medians.append(f'M{left:.1f} {self._y(np.median(own)):.1f}H{right:.1f}')
        self.marks.append(f'<path class="range {color}" d="{"".join(bars)}"/>')
        self.marks.append(f'<path class="line {color}" d="{"".join(medians)}"/>')

    def _grid(self) -> list[str]:
        floor, parts = HEIGHT - BOTTOM, []
        for value in self.y.ticks(5):
            at = self._y(value)
            parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
            parts.append(_text(LEFT - 8, at + 4, number(value), 'end'))
        for value in self.x.ticks(10):
            at = self._x(value)
            parts.append(f'<path class="axis" d="M{at:.1f} {floor}v5"/>')
            parts.append(_text(at, floor + 19, number(value), 'middle'))
        parts.append(f'<path class="axis" d="M{LEFT} {floor}H{WIDTH - RIGHT}"/>')
        parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, self.x.label, 'middle'))
        middle = (TOP + floor) / 2
        parts.append(
            f'<text class="name" text-anchor="middle" '
            f'transform="translate(14 {middle:.0f}) rotate(-90)">{plain(self.y.label)}</text>'
        )
        return parts

    def _x(self, value: float) -> float:
        share = (value - self.x.low) / ((self.x.high - self.x.low) or 1.0)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def _y(self, value: float) -> float:
        share = (value - self.y.low) / ((self.y.high - self.y.low) or 1.0)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def axis(label: str, values: np.ndarray, *, whole: bool = False) -> Axis:
    """Return an axis that begins at zero and ends at a round number beyond the values."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    if low == high:
        high = 1.0
    step = nice((high - low) / 5)
    if whole:
        step = max(1.0, round(step))
    return Axis(label, np.floor(low / step) * step, np.ceil(high / step) * step, whole)


def span(label: str, at_s: np.ndarray) -> Axis:
    """Return an axis from the first to the last value."""
    low, high = float(at_s.min()), float(at_s.max())
    return Axis(label, low, high if high > low else low + 1.0)


def nice(value: float) -> float:
    """Return the next 1, 2 or 5 times a power of ten that is not below the value."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit >= value * (1 - 1e-9))


def edges_s(times_s: np.ndarray) -> np.ndarray:
    """
    Return the limits of stretches of equal, round length for columns over time [s].

    :param times_s: (N,) of what is to be counted; N > 0.

    Four typical periods at least, so that jitter makes no dents; at most BINS of them.
    """
    steps = np.diff(np.sort(times_s))
    steps = steps[steps > 0]
    period = float(np.median(steps)) if len(steps) else 1.0
    low, high = float(times_s.min()), float(times_s.max())
    wide = nice(max(4 * period, (high - low) / BINS))
    first = math.floor(low / wide)
    return np.arange(first, max(math.floor(high / wide), first) + 2) * wide


def _text(x: float, y: float, text: str, anchor: str) -> str:
    kind = 'tick' if text and text[0] in '0123456789\N{MINUS SIGN}' else 'name'
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{plain(text)}</text>'
    )
