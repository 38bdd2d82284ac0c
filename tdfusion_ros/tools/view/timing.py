"""Times of a bag: results, skew and latency, as key figures and charts."""

import numpy as np

from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.tools.view import facts
from tdfusion_ros.tools.view import page
from tdfusion_ros.tools.view.charts import Axis
from tdfusion_ros.tools.view.charts import axis
from tdfusion_ros.tools.view.charts import Chart
from tdfusion_ros.tools.view.charts import edges_s
from tdfusion_ros.tools.view.charts import span
from tdfusion_ros.tools.view.facts import Samples
from tdfusion_ros.tools.view.recording import Recording
from tdfusion_ros.tools.view.words import plural
from tdfusion_ros.tools.view.words import seconds
from tdfusion_ros.tools.view.words import signed

BY_STAMP = 'stamp, since the first one [s]'
BY_CLOCK = 'time of recording, since the bag began [s]'


class Timing:
    """
    What is known of the times of a bag.

    :param result: the bag with the results; ``source`` the one with the cameras' images.
    :param apart: whether these are two bags.
    """

    def __init__(self, result: Recording, source: Recording, *, apart: bool) -> None:
        rgb, ir, fused = source.track('rgb'), source.track('ir'), facts.results(result)
        self.result = result
        self.fused = fused
        self.apart = apart
        self.input = facts.input_facts(rgb, ir, fused)
        self.skew = facts.skews(rgb, ir, fused)
        self.latency = None if apart else facts.latencies(rgb, fused)
        self.p50 = facts.from_health(result.health, 'latency_ms_p50')
        self.p95 = facts.from_health(result.health, 'latency_ms_p95')
        self.classes = facts.classes(result)
        self.frames_ns = facts.stamps(result.track('detections'))
        every = [t.stamps_ns for t in (rgb, ir, fused, result.track('detections')) if t.stamps_ns]
        self.origin_ns = min(map(min, every)) if every else 0
        ends_ns = facts.span_ns(result)
        self.begin_ns = ends_ns[0] if ends_ns else 0

    def missing(self) -> list[str]:
        """Return a sentence for each time that is not known."""
        out = []
        if self.latency is None and self.p50 is None:
            why = 'the images and their results were not recorded together'
            if facts.is_offline(self.fused):
                why = 'the results were written at their own stamps, as tdfusion fuse does'
            out.append(f'Latency: {why}, and there are no diagnostics.')
        if self.input is not None and not self.input.fused.any():
            out.append('A match: no result carries the stamp of an rgb image.')
        return out


def tiles(times: Timing) -> list[tuple[str, str]]:
    """Return the key figures."""
    out, number = [], len(times.fused.stamps_ns)
    if times.input is not None:
        done, lost = int(times.input.fused.sum()), int(times.input.lost.sum())
        what = 'rgb images fused' if times.input.alone is None else 'possible pairs fused'
        out.append((f'{done:,} of {done + lost:,}', what))
    else:
        out.append((f'{number:,}', 'results'))
    rate = facts.rate_hz(times.fused)
    if rate is not None:
        out.append((f'{rate:.1f} Hz', 'rate of the results, mean'))
    if times.skew is not None:
        size = np.abs(times.skew.values)
        out.append((f'{np.median(size):.1f} ms', f'skew, median; worst {size.max():.1f} ms'))
    if times.latency is not None:
        p50, p95 = np.percentile(times.latency.values, (50, 95))
        out.append((f'{p50:.0f} ms', f'latency, median; p95 {p95:.0f} ms'))
    elif times.p50 is not None and times.p95 is not None:
        p50, p95 = times.p50.values[-1], times.p95.values[-1]
        out.append((f'{p50:.0f} ms', f'latency told by the node, p50; p95 {p95:.0f} ms'))
    if len(times.frames_ns):
        images = len(np.unique(np.array(times.result.found.frame)))
        out.append(
            (
                f'{len(times.result.found.score):,}',
                f'detections, in {images:,} of {len(times.frames_ns):,} images',
            )
        )
    return out


def timing_section(times: Timing) -> str:
    """Return results, skew and latency over time."""
    parts = [*_results(times), *_skew(times), *_latency(times)]
    if not parts:
        return ''
    return page.section(
        'Timing',
        'Over many values a band shows their range and the line in it the median.',
        *parts,
    )


def _results(times: Timing) -> list[str]:
    known = times.input
    if known is None:
        return []
    at_s = (known.stamps_ns - times.origin_ns) / 1e9
    edges = edges_s(at_s)
    layers = [('blue', facts.per_bin(at_s[known.fused], edges))]
    keys = [('blue', 'with a result')]
    if known.alone is not None:
        layers.append(('gray', facts.per_bin(at_s[known.alone], edges)))
        keys.append(('gray', 'without an ir partner'))
    layers.append(('red', facts.per_bin(at_s[known.lost], edges)))
    keys.append(('red', 'lost'))
    chart = Chart(
        'rgb images with and without a result',
        Axis(BY_STAMP, float(edges[0]), float(edges[-1])),
        axis(
            f'images in {seconds(edges[1] - edges[0])}',
            np.sum([heights for _, heights in layers], axis=0),
            whole=True,
        ),
    )
    chart.columns(edges, layers)
    return [page.figure(chart, _fate(known), keys)]


def _fate(known: facts.Input) -> str:
    """Return what became of the rgb images, in words."""
    total, lost = len(known.fused), int(known.lost.sum())
    out = [f'{int(known.fused.sum()):,} of {total:,} have a result']
    if known.alone is not None:
        out.append(
            f"{int(known.alone.sum()):,} have no ir partner (each other's nearest, at most "
            f'{SyncConfig().max_skew_ms:g} ms apart)'
        )
    ends = f' ({known.before:,} before the first result, {known.after:,} after the last)'
    out.append(f'{lost:,} were lost' + (ends if known.before or known.after else ''))
    note = ', '.join(out) + '.'
    if known.orphans:
        note += f' {plural(known.orphans, "result")} without an rgb image in the bag.'
    return note


def _skew(times: Timing) -> list[str]:
    skew = times.skew
    if skew is None:
        return []
    at_s = (skew.times_ns - times.origin_ns) / 1e9
    chart = Chart(
        'Skew of the pairs', span(BY_STAMP, at_s), axis('ir minus rgb [ms]', skew.values)
    )
    chart.points(at_s, skew.values, 'blue')
    of = 'results' if times.fused.stamps_ns else 'rgb images'
    low, middle, high = np.percentile(skew.values, (0, 50, 100))
    return [
        page.figure(
            chart,
            f'Stamp of the nearest ir image minus that of the rgb image, of {len(skew):,} {of}: '
            f'median {signed(middle)}, from {signed(low)} to {signed(high)} ms. Time offsets of '
            'the parameters are not in it.',
        )
    ]


def _latency(times: Timing) -> list[str]:
    out = []
    if times.latency is not None:
        at_s = (times.latency.times_ns - times.begin_ns) / 1e9
        values = times.latency.values
        chart = Chart('Latency', span(BY_CLOCK, at_s), axis('latency [ms]', values))
        chart.points(at_s, values, 'blue')
        p50, p95 = np.percentile(values, (50, 95))
        out.append(
            page.figure(
                chart,
                'From the recording of an rgb image to that of its result, of '
                f'{len(values):,} results: median {p50:.1f}, p95 {p95:.1f}, '
                f'worst {values.max():.1f} ms.',
            )
        )
    if times.p50 is not None and times.p95 is not None:
        out.append(_told_latency(times, times.p50, times.p95))
    return out


def _told_latency(times: Timing, p50: Samples, p95: Samples) -> str:
    at_s = [(series.times_ns - times.begin_ns) / 1e9 for series in (p50, p95)]
    chart = Chart(
        'Latency, as the node measured it',
        span(BY_CLOCK, np.concatenate(at_s)),
        axis('latency [ms]', np.concatenate((p50.values, p95.values))),
    )
    for when, series, color in zip(at_s, (p50, p95), ('blue', 'red'), strict=True):
        chart.line(when, series.values, color)
        if len(when) <= 60:
            chart.points(when, series.values, color)
    return page.figure(
        chart,
        'From the arrival of the later image to publication: percentiles of the last results '
        f'before each diagnostics message; at the end p50 {p50.values[-1]:.1f}, '
        f'p95 {p95.values[-1]:.1f} ms.',
        (('blue', 'p50'), ('red', 'p95')),
    )
