"""Charts: bounded in size, the same each time, in the colors of the page."""

import re

import numpy as np
import pytest

from tdfusion_ros.tools.view.analysis import Samples
from tdfusion_ros.tools.view.charts import COLORS
from tdfusion_ros.tools.view.charts import draw_samples

HEIGHT = 165.6  # of a chart, in units of its view box


def draw(times_s, values):
    samples = Samples((np.asarray(times_s) * 1e9).astype(np.int64), np.asarray(values, float))
    return draw_samples({'blue': samples}, 0, 'x [s]', 'y [ms]')


def heights(svg, color):
    """Return the vertical places of all corners of filled areas of a color."""
    areas = re.findall(rf'd="([^"]*)"[^>]*style="fill: var\(--{color}\)', svg)
    return [float(y) for area in areas for y in re.findall(r'[ML] [-\d.]+ ([-\d.]+)', area)]


@pytest.mark.parametrize('number', [1, 2, 1000, 1001, 100_000])
def test_chart_of_any_number_of_values_is_bounded_and_has_the_colors_of_the_page(number):
    rng = np.random.default_rng(0)
    svg = draw(np.sort(rng.uniform(0, 3600, number)), rng.normal(8, 2, number))
    assert len(svg) < 150_000
    assert not re.search('nan|inf|http|<style|<metadata|font-family', svg)
    assert 'var(--blue)' in svg
    assert not any(stand_in in svg for stand_in in COLORS.values())
    assert all(0 <= float(y) <= HEIGHT for y in re.findall(r' y="([-\d.]+)"', svg))


def test_range_of_many_values_includes_the_outliers():
    values = np.zeros(5000)
    values[2500], values[2501] = 50, -50
    ys = heights(draw(np.linspace(0, 10, 5000), values), 'blue')
    assert max(ys) - min(ys) > 0.6 * HEIGHT
