"""Charts: axes that do not lie, marks within the frame, however many values there are."""

import re

import numpy as np
import pytest

from tdfusion_ros.tools.view.charts import axis
from tdfusion_ros.tools.view.charts import Chart
from tdfusion_ros.tools.view.charts import edges_s
from tdfusion_ros.tools.view.charts import HEIGHT
from tdfusion_ros.tools.view.charts import span
from tdfusion_ros.tools.view.charts import WIDTH
from tdfusion_ros.tools.view.words import seconds


def drawn(xs, ys):
    chart = Chart('t', span('x [s]', xs), axis('y [ms]', ys))
    chart.points(xs, ys, 'blue')
    return chart


def places(svg):
    """Return every x and y of the dots, in pixels of the chart."""
    (path,) = re.findall(r'class="dot blue" d="([^"]*)"', svg)
    return np.array([p.split() for p in re.findall(r'M([-\d. ]+)h0', path)], float)


@pytest.mark.parametrize('scale', [1e-6, 0.3, 7, 1e4, 1e9])
@pytest.mark.parametrize('shift', [-3, 0, 5])
def test_axis_holds_zero_and_every_value_between_round_ticks(scale, shift):
    values = (np.random.default_rng(1).normal(0, 1, 50) + shift) * scale
    its = axis('y', values)
    ticks = its.ticks(4)
    assert its.low <= min(0, values.min())
    assert its.high >= max(0, values.max())
    assert 2 <= len(ticks) <= 8
    assert min(abs(t) for t in ticks) < 1e-6 * scale
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0])
    assert (its.high - its.low) < 3 * max(np.ptp(values), abs(values).max())


def test_dots_stand_where_their_values_are():
    xs, ys = np.array([0.0, 1.0, 4.0]), np.array([0.0, -5.0, 20.0])
    at = places(drawn(xs, ys).svg())
    assert (at[:, 0] - at[0, 0]) / (at[2, 0] - at[0, 0]) == pytest.approx(xs / 4, abs=1e-3)
    assert (at[0, 1] - at[:, 1]) / (at[0, 1] - at[2, 1]) == pytest.approx(ys / 20, abs=2e-3)


@pytest.mark.parametrize('number', [1, 2, 1500, 1501, 100_000])
def test_marks_lie_within_the_frame_and_their_number_is_bounded(number):
    rng = np.random.default_rng(0)
    xs, ys = np.sort(rng.uniform(0, 3600, number)), rng.normal(8, 2, number)
    svg = drawn(xs, ys).svg()
    assert len(svg) < 60_000
    numbers = [
        float(v) for d in re.findall(r' d="([^"]*)"', svg) for v in re.findall(r'\d+\.\d', d)
    ]
    assert min(numbers) >= 0
    assert max(numbers) <= max(WIDTH, HEIGHT)
    assert 'nan' not in svg


def test_ranges_of_many_values_reach_from_the_least_to_the_greatest():
    xs, ys = np.linspace(0, 10, 5000), np.zeros(5000)
    ys[2500], ys[2501] = 50, -50
    svg = drawn(xs, ys).svg()
    (path,) = re.findall(r'class="range blue" d="([^"]*)"', svg)
    heights = [abs(float(a) - float(b)) for a, b in re.findall(r' ([\d.]+)V([\d.]+)H', path)]
    assert max(heights) > 100  # of 152 pixels
    assert sorted(heights)[-2] < 2


def test_columns_stand_on_each_other_as_high_as_their_values():
    edges = np.array([0.0, 1.0, 2.0])
    low, high = np.array([1.0, 0.0]), np.array([3.0, 2.0])
    chart = Chart('t', span('x', edges), axis('y', low + high))
    chart.columns(edges, (('blue', low), ('red', high)))
    svg = chart.svg()
    bars = {
        color: [
            (float(bottom), float(top))
            for bottom, top in re.findall(r'M[\d.]+ ([\d.]+)V([\d.]+)', d)
        ]
        for color, d in re.findall(r'class="fill (\w+)" d="([^"]*)"', svg)
    }
    unit = bars['blue'][0][0] - bars['blue'][0][1]
    assert len(bars['blue']) == 1
    assert bars['red'][0][0] == pytest.approx(bars['blue'][0][1])
    assert [b - t for b, t in bars['red']] == pytest.approx([3 * unit, 2 * unit], abs=0.3)


def test_stretches_of_time_hold_every_value_and_are_round():
    rng = np.random.default_rng(0)
    for number, span_s in ((1, 0), (40, 4), (9000, 3600), (50, 0)):
        times = np.sort(rng.uniform(0, 1, number)) * span_s
        edges = edges_s(times)
        assert np.histogram(times, edges)[0].sum() == number
        assert 2 <= len(edges) <= 123
        assert f'{edges[1] - edges[0]:e}'[0] in '125'


def test_lengths_of_time_read_well():
    assert [seconds(v) for v in (0.2, 3.94, 599, 3725, 61 * 60)] == [
        '0.2 s',
        '3.9 s',
        '599 s',
        '1 h 02 min',
        '1 h 01 min',
    ]
