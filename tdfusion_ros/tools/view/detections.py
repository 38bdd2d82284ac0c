"""What was detected: over time, and by class."""

import numpy as np

from tdfusion_ros.core.overlay import COLORS
from tdfusion_ros.tools.view import facts
from tdfusion_ros.tools.view import page
from tdfusion_ros.tools.view.charts import Axis
from tdfusion_ros.tools.view.charts import axis
from tdfusion_ros.tools.view.charts import Chart
from tdfusion_ros.tools.view.charts import edges_s
from tdfusion_ros.tools.view.timing import BY_STAMP
from tdfusion_ros.tools.view.timing import Timing
from tdfusion_ros.tools.view.words import plural
from tdfusion_ros.tools.view.words import seconds

MOST_COLORS = 6
MOST_CLASSES = 24
TITLES = (
    'class',
    'detections',
    'images with it',
    'lowest score',
    'median score',
    'highest score',
)


def section(times: Timing) -> str:
    """Return what was detected, over time and by class."""
    if not len(times.frames_ns):
        return ''
    number = len(times.frames_ns)
    parts = []
    if times.classes:
        parts = [
            _detections(times),
            page.table(TITLES, [_row(c) for c in times.classes[:MOST_CLASSES]], 5),
        ]
    note = (
        f'{len(times.result.found.score):,} detections in {plural(number, "image")}. A detection '
        'counts for its best class.'
    )
    if len(times.classes) > MOST_CLASSES:
        note += f' The {MOST_CLASSES} most frequent of {len(times.classes)} classes.'
    return page.section('Detections', note, *parts)


def _row(entry: facts.ClassFacts) -> tuple[str, ...]:
    return (
        entry.name or '(no name)',
        f'{entry.count:,}',
        f'{entry.images:,}',
        *('-' if np.isnan(v) else f'{v:.2f}' for v in (entry.low, entry.median, entry.high)),
    )


def _detections(times: Timing) -> str:
    found = times.result.found
    at_s = (times.frames_ns - times.origin_ns) / 1e9
    edges = edges_s(at_s)
    images = np.maximum(facts.per_bin(at_s, edges), 1)
    frame, kind = np.array(found.frame, np.int64), np.array(found.kind, np.int64)
    layers, rest = [], np.ones(len(kind), bool)
    for entry in times.classes[:MOST_COLORS]:
        own = kind == found.names.index(entry.name)
        rest &= ~own
        layers.append((_color(entry), facts.per_bin(at_s[frame[own]], edges) / images))
    if rest.any():
        layers.append(('gray', facts.per_bin(at_s[frame[rest]], edges) / images))
    total = np.sum([heights for _, heights in layers], axis=0)
    chart = Chart(
        'Detections per image',
        Axis(BY_STAMP, float(edges[0]), float(edges[-1])),
        axis('detections per image', total),
    )
    chart.columns(edges, layers)
    return page.figure(chart, f'Mean over {seconds(edges[1] - edges[0])}.', keys(times))


def keys(times: Timing) -> list[tuple[str, str]]:
    """Return color and name of the classes that have a color of their own."""
    out = [(_color(entry), entry.name) for entry in times.classes[:MOST_COLORS]]
    return out + ([('gray', 'all others')] if len(times.classes) > MOST_COLORS else [])


def _color(entry: facts.ClassFacts) -> str:
    return f'c{entry.color % len(COLORS)}'
