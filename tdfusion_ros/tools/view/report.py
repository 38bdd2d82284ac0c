"""Render the report of a bag or result folder: images, timing, detections, what is missing."""

from collections.abc import Sequence
from datetime import datetime
from datetime import timezone
from typing import Any

from jinja2 import Environment
from jinja2 import PackageLoader
from jinja2 import StrictUndefined
from jinja2 import Template
import numpy as np

from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.overlay import COLORS
from tdfusion_ros.formats.bag_topics import image_topics
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.tools.view import analysis
from tdfusion_ros.tools.view.analysis import Samples
from tdfusion_ros.tools.view.charts import bin_edges_s
from tdfusion_ros.tools.view.charts import draw_samples
from tdfusion_ros.tools.view.charts import draw_stacked
from tdfusion_ros.tools.view.moments import choose_moments
from tdfusion_ros.tools.view.recording import read_both
from tdfusion_ros.tools.view.recording import Recording
from tdfusion_ros.tools.view.result_folder import ResultFolder

MAX_MOMENTS = 24
MAX_TEXT = 600  # characters of one text of the bag
COLORED_CLASSES = 6
MAX_ROWS = {'topics': 60, 'classes': 24, 'drops': 24, 'warnings': 12}
BY_STAMP, BY_NUMBER = 'time since the first stamp [s]', 'images after the first'
SKEW = 'ir minus rgb [ms]'
BY_CLOCK = 'time since the start of the recording [s]'


def render_report(
    bag: BagReader | ResultFolder,
    inputs: BagReader | None = None,
    *,
    namespace: str | None = None,
    rgb: str = '',
    ir: str = '',
    moments: int = 8,
    sync: SyncConfig | None = None,
) -> str:
    """
    Return the report of a bag or of a result folder as one HTML file.

    :param inputs: the bag with the cameras' images, if they are not in ``bag``.
    :param namespace: namespace of the rig; None: the first one with results.
    :param rgb, ir: image topics; empty: the ones that end in ``rgb/image_raw``, ``ir/image_raw``.
    :param moments: number of rows of the contact sheet, at most MAX_MOMENTS.
    :param sync: how the images were paired; None: with the defaults.
    :raises BagError: if the bag lacks the namespace or an image topic.
    """
    result, source = read_both(bag, inputs, namespace=namespace, rgb=rgb, ir=ir)
    return _template().render(
        result=result,
        source=source,
        moments=choose_moments(result, source, min(moments, MAX_MOMENTS)),
        image_topics=image_topics(source.reader.topics()),
        max_rows=MAX_ROWS,
        timed=_is_timed(result),
        limit='the default limit' if sync in (None, SyncConfig()) else 'the limit',
        max_skew_ms=(sync or SyncConfig()).limit_ms,
        rate_hz=analysis.rate_hz,
        **_figures(result, source, sync or SyncConfig()),
    )


def _is_timed(recording: Recording) -> bool:
    return not isinstance(recording.reader, ResultFolder) or recording.reader.timed


def format_duration(seconds: float) -> str:
    """Return a duration for people."""
    if abs(seconds) >= 600:
        minutes, rest = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return f'{hours} h {minutes:02d} min' if hours else f'{minutes} min {rest:02d} s'
    return f'{seconds:.3g} s' if abs(seconds) < 1 else f'{round(seconds, 1):g} s'


def _template() -> Template:
    loader = PackageLoader('tdfusion_ros.tools.view', '')
    environment = Environment(
        loader=loader, autoescape=True, finalize=_printable, undefined=StrictUndefined
    )
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters |= {
        'duration': format_duration,
        'thousands': '{:,}'.format,
        'signed': lambda value: f'{value:+.1f}'.replace('-', '\N{MINUS SIGN}'),
        'plural': lambda number, noun: f'{number:,} {noun}' + ('' if number == 1 else 's'),
    }
    return environment.get_template('report.html.j2')


def _printable(value: Any) -> Any:
    """Return text on one line, printable and not too long; jinja2 escapes it afterwards."""
    if not isinstance(value, str) or hasattr(value, '__html__'):
        return value
    text = value if len(value) <= MAX_TEXT else value[: MAX_TEXT - 1] + '…'
    return ''.join(c if c.isprintable() else '\N{REPLACEMENT CHARACTER}' for c in text)


def _figures(result: Recording, source: Recording, sync: SyncConfig) -> dict[str, Any]:
    """Return figures and charts by the names that the template uses; None: not known."""
    cameras = source.times('rgb'), source.times('ir')
    detections = result.times('detections')
    results = result.times('fused') if result.times('fused').stamps_ns else detections
    stamps = [times.stamps_ns for times in (*cameras, results, detections) if times.stamps_ns]
    times = [topic.times_ns for topic in result.topics.values() if topic.times_ns]
    first_stamp_ns, first_ns = min(map(min, stamps), default=0), min(map(min, times), default=0)

    dated = times and not isinstance(result.reader, ResultFolder)
    rgb = analysis.classify_rgb_images(*cameras, results, sync, result.alone)
    skew = analysis.measure_skew(*cameras, results) if _is_timed(result) else None
    latency = analysis.measure_latency(cameras[0], results) if result is source else None
    node_latency = None
    if result.node.latencies:
        at_ns, p50_ms, p95_ms = map(np.array, zip(*result.node.latencies, strict=True))
        node_latency = {'blue': Samples(at_ns, p50_ms), 'red': Samples(at_ns, p95_ms)}
    by_clock = first_ns, BY_CLOCK, 'latency [ms]'
    classes = analysis.summarize_classes(result, MAX_ROWS['classes'])
    class_keys = [(f'c{one.color % len(COLORS)}', one.name) for one in classes[:COLORED_CLASSES]]
    return {
        'begin': datetime.fromtimestamp(first_ns / 1e9, timezone.utc) if dated else None,
        'duration_s': (max(map(max, times), default=0) - first_ns) / 1e9,
        'messages': sum(map(len, times)),
        'first_stamp_ns': first_stamp_ns,
        'results': results,
        'offline': analysis.is_offline(results),
        'rgb': rgb,
        'causes': analysis.causes_of_loss(source, rgb, result.node) if rgb else {},
        'skew': skew,
        'latency': latency,
        'node_latency': node_latency,
        'classes': classes,
        'temperatures': analysis.summarize_temperatures(result),
        'class_keys': class_keys + [('gray', 'all others')] * (len(classes) > COLORED_CLASSES),
        'images_with_detections': len(np.unique(result.detections.image)),
        'rgb_chart': rgb and _is_timed(result) and _rgb_chart(rgb, first_stamp_ns),
        'skew_chart': skew and draw_samples({'blue': skew}, first_stamp_ns, BY_STAMP, SKEW),
        'latency_chart': latency and draw_samples({'blue': latency}, *by_clock),
        'node_latency_chart': node_latency and draw_samples(node_latency, *by_clock),
        'detection_chart': classes and _detection_chart(result, class_keys, first_stamp_ns),
    }


def _rgb_chart(rgb: analysis.RgbImages, first_stamp_ns: int) -> str:
    at_s = (rgb.stamps_ns - first_stamp_ns) / 1e9
    edges = bin_edges_s(at_s)
    parts = {'blue': rgb.fused, 'gray': ~(rgb.fused | rgb.lost), 'red': rgb.lost}
    layers = [(color, np.histogram(at_s[part], edges)[0]) for color, part in parts.items()]
    label = f'images in {format_duration(edges[1] - edges[0])}'
    return draw_stacked(edges, layers, BY_STAMP, label)


def _detection_chart(
    result: Recording, class_keys: Sequence[tuple[str, str]], first_stamp_ns: int
) -> dict[str, Any]:
    """Return the chart of detections per image and the width of its columns [s]."""
    columns = result.detections
    at_s = (np.array(result.times('detections').stamps_ns) - first_stamp_ns) / 1e9
    edges = bin_edges_s(at_s)
    images = np.maximum(np.histogram(at_s, edges)[0], 1)
    found_s, class_index = at_s[np.array(columns.image)], np.array(columns.class_index)
    indices = [columns.names[name] for _, name in class_keys]
    parts = [class_index == index for index in indices] + [~np.isin(class_index, indices)]
    layers = [
        (color, np.histogram(found_s[part], edges)[0] / images)
        for color, part in zip([*(color for color, _ in class_keys), 'gray'], parts, strict=True)
    ]
    x_label = BY_STAMP if _is_timed(result) else BY_NUMBER
    svg = draw_stacked(edges, layers, x_label, 'detections per image')
    return {'svg': svg, 'bin_s': float(edges[1] - edges[0])}
