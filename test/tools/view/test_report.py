"""Reports of bags: right numbers, and nothing guessed; charts bounded in size and in color."""

import re

import numpy as np
import pytest

from tdfusion_ros.core.errors import BagError
from tdfusion_ros.formats.messages import stamp_ns
from tdfusion_ros.tools.view.analysis import Samples
from tdfusion_ros.tools.view.charts import COLORS
from tdfusion_ros.tools.view.charts import draw_samples

MS = 1_000_000
RGB, IR, FUSED, DETECTIONS = '/rgb/image_raw', '/ir/image_raw', '/fused/image_raw', '/detections'
LOST = (0, 7, 8, 19)  # of twenty rgb images; 7 has no ir image near, 0 and 19 lie outside


@pytest.fixture
def drive(make):
    """Return twenty rgb images at 10 Hz, 19 of ir, sixteen results, and the truth about them."""
    rng = np.random.default_rng(5)
    skews = rng.uniform(-9, 15, 20).round(3)
    delays = rng.uniform(20, 120, 20).round(3)
    records, scores, ids = [], {'person': [], 'car': []}, {'person': set(), 'car': set()}
    for n in range(20):
        at = make.begin_ns + n * 100 * MS
        records.append((RGB, at + 2 * MS, make.image(at)))
        if n != 7:
            ir = at + round(skews[n] * MS)
            gray = np.full((6, 8), 60, np.uint16)
            records.append((IR, max(ir, at) + 3 * MS, make.image(ir, gray)))
        if n in LOST:
            continue
        found = [('person', s) for s in rng.uniform(0.3, 1, n % 3).astype(np.float32)]
        found += [('car', s) for s in rng.uniform(0.3, 1, n % 2).astype(np.float32)]
        for number, (name, score) in enumerate(found):
            scores[name].append(float(score))
            ids[name].add(number)
        done = at + 2 * MS + round(delays[n] * MS)
        records.append((FUSED, done, make.image(at)))
        records.append((DETECTIONS, done + 1, make.detections(at, found)))
    kept = [n for n in range(20) if n not in LOST]
    truth = {'skews': skews[kept], 'delays': delays[kept], 'scores': scores, 'kept': kept}
    return records, {**truth, 'ids': ids}


def test_report_has_the_figures_of_the_bag(view, drive):
    records, truth = drive
    page = view(records)
    assert '16 of 19 possible pairs fused' in page.text
    assert (
        "16 of 20 have a result, 1 has no ir partner (each other's nearest, at most 20 ms "
        'apart, the default limit), 3 were lost (1 before the first result, 1 after the last).'
    ) in page.text
    skews, delays = truth['skews'], truth['delays']
    assert f'{np.median(np.abs(skews)):.1f} ms median skew; worst {abs(skews).max():.1f} ms' in (
        page.text
    )
    p95 = np.percentile(delays, 95)
    assert f'{np.median(delays):.0f} ms median latency; p95 {p95:.0f} ms' in page.text
    assert f'worst {delays.max():.1f} ms' in page.text
    rows = page.table('class')
    for name, scores in truth['scores'].items():
        step = {'person': 3, 'car': 2}[name]
        images = sum(1 for n in truth['kept'] if n % step)
        assert rows[name] == {
            'class': name,
            'detections': str(len(scores)),
            'images with it': str(images),
            'different ids': str(len(truth['ids'][name])),
            'lowest score': f'{min(scores):.2f}',
            'median score': f'{np.median(scores):.2f}',
            'highest score': f'{max(scores):.2f}',
        }
    rows = page.table('topic')
    counts = {RGB: '20', IR: '19', FUSED: '16', DETECTIONS: '16'}
    assert {name: row['messages'] for name, row in rows.items()} == counts
    assert (rows[RGB]['rate [Hz]'], rows[RGB]['type']) == ('10.00', 'sensor_msgs/msg/Image')
    total = sum(map(len, truth['scores'].values()))
    images = sum(1 for n in truth['kept'] if n % 2 or n % 3)
    assert f'{total} detections, in {images} of 16 images' in page.text
    assert 'Each object has a color of its own.' in page.text  # the colors of classes are not used


def test_images_without_ir_partner_are_not_counted_as_lost(view, make):
    records = []
    for n in range(30):  # rgb at 30 Hz, ir at 10 Hz and 12 ms late
        at = make.begin_ns + n * 33 * MS
        records.append((RGB, at, make.image(at)))
        if n % 3 == 0:
            records += [(IR, at + 12 * MS, make.image(at + 12 * MS)), (FUSED, at, make.image(at))]
    page = view(records)
    assert '10 of 10 possible pairs fused' in page.text
    assert '10 of 30 have a result, 20 have no ir partner' in page.text
    assert '0 were lost' in page.text
    assert '30 rgb images fused' not in page.text
    without = view([record for record in records if record[0] != IR])
    assert '10 of 30 rgb images fused' in without.text
    assert 'ir partner' not in without.text


def test_images_of_another_bag_are_joined_by_their_stamps(view, drive):
    records, truth = drive
    results = [r for r in records if r[0] in (FUSED, DETECTIONS)]
    cameras = [(t, at - 10**17, m) for t, at, m in records if t in (RGB, IR)]
    page = view(results, cameras)
    assert '16 of 19 possible pairs fused' in page.text
    assert f'{np.median(np.abs(truth["skews"])):.1f} ms median skew' in page.text
    assert 'median latency' not in page.text  # the clocks of two recordings have no difference
    assert 'Latency: the images and their results were not recorded together' in page.text


def test_offline_results_have_no_latency_and_results_alone_no_skew(view, drive):
    page = view([(t, stamp_ns(m.header), m) for t, _, m in drive[0]])
    assert 'median latency' not in page.text
    assert 'the results were recorded at their own stamps, as tdfusion fuse does' in page.text
    page = view([record for record in drive[0] if record[0] in (FUSED, DETECTIONS)])
    assert '16 results' in page.text
    for word in ('skew', 'possible pairs', 'Skew of the pairs', 'without a result'):
        assert word not in page.text


@pytest.mark.parametrize(
    ('topic', 'missing'),
    [(RGB, 'rgb'), (IR, 'ir'), (FUSED, 'fused'), (DETECTIONS, 'detections'), (None, None)],
)
def test_missing_topic_is_reported(view, drive, topic, missing):
    page = view([record for record in drive[0] if record[0] != topic])
    named = re.findall(r'No (\w+)[\w ]* recorded', page.text)
    assert named == [name for name in (missing, 'diagnostics') if name]


def test_bag_with_one_message_gives_a_report_and_one_without_any_an_error(view, make):
    at = make.begin_ns
    with pytest.raises(BagError, match='no images and no results that can be shown'):
        view([])
    assert 'It dropped nothing.' in view([('/diagnostics', at, make.status(at, {}))]).text
    page = view([(RGB, at, make.image(at))])
    assert len(page.images) == 1
    assert 'No fused images recorded' in page.text


def test_drop_counters_are_reported_as_rise_and_total_across_a_restart(view, make):
    records = []
    for n, (busy, p50) in enumerate([(5, 40.0), (9, 50.0), (2, 60.0), (3, 70.5)]):  # restarted
        values = {'dropped.busy': busy, 'latency_ms_p50': p50, 'latency_ms_p95': 2 * p50}
        if n > 1:
            values['dropped.rgb.truncated'] = n
        at = make.begin_ns + n * 10**9
        records.append(('/diagnostics', at, make.status(at, values, 1, f'no ir for {n}.5 s')))
    page = view(records)
    rows = page.table('dropped, by cause')
    assert list(rows['busy'].values()) == ['busy', '7', '3']  # 4 + 2 from zero + 1
    assert list(rows['rgb.truncated'].values()) == ['rgb.truncated', '3', '3']
    assert '70 ms latency reported by the node, p50; p95 141 ms' in page.text
    assert page.table('warnings, numbers left out') == {
        'no ir for … s': {'warnings, numbers left out': 'no ir for … s', 'messages': '4'}
    }


def test_a_pair_that_nothing_else_explains_is_lost_by_the_cause_that_the_node_counts(view, make):
    records = []
    for n in range(6):
        at = make.begin_ns + n * 100 * MS
        records += [(topic, at, make.image(at)) for topic in (RGB, IR, *(FUSED,) * (n % 3 != 1))]
        lost = {'lost.busy': max(0, n - 4), 'dropped.busy': max(0, n - 4), 'lost.rate': 0}
        records.append(('/diagnostics', at, make.status(at, lost)))
    page = view(records)
    assert '6 = 4 fused + 2 lost (1 busy, 1 no result)' in page.text
    assert list(page.table('dropped, by cause')) == ['busy']


def test_all_statuses_of_the_node_in_a_message_are_merged(view, make):
    at = make.begin_ns
    whole = make.status(at, {'rgb': 7, 'backend': 'cpu'})
    for values, level, message, subject in (
        ({'dropped.ir.truncated': 4}, 2, 'no usable ir image for 3.1 s', 'ir stream'),
        ({'dropped.no_partner': 2}, 3, 'waiting for images of both cameras', 'sync'),
        ({'cpu': 99}, 2, 'too hot', 'fan'),
    ):
        whole.status += make.status(at, values, level, message, f'/tdfusion: {subject}').status
    page = view([('/diagnostics', at, whole)])
    assert 'From 1 diagnostics message, 1 of them with warnings; engine: cpu' in page.text
    assert set(page.table('dropped, by cause')) == {'ir.truncated', 'no_partner'}
    assert set(page.table('warnings, numbers left out')) == {'no usable ir image for … s'}


def test_each_rig_of_a_bag_has_its_own_report(view, make, drive):
    records = []
    for rig, some in (('/front', drive[0]), ('/rear/low', drive[0][:30])):
        records += [(rig + topic, at, message) for topic, at, message in some]
        values = {'dropped.busy': len(rig)}
        said_by = make.status(make.begin_ns, values, name=f'{rig}/tdfusion: inference')
        records += [('/diagnostics', make.begin_ns, said_by)] * 2
    front, rear = view(records), view(records, namespace='rear/low')
    assert '16 of 20 have a result' in front.text
    assert 'The results of the rig /rear/low: choose it with --namespace' in front.text
    number = sum(topic == RGB for topic, _, _ in drive[0][:30])
    assert f'of {number} have a result' in rear.text
    for page, count in ((front, 6), (rear, 9)):
        assert page.table('dropped, by cause')['busy']['since the node started'] == str(count)
    with pytest.raises(BagError, match=r"namespace 'left'; .*: /front, /rear/low"):
        view(records, namespace='left')


def test_looped_bag_counts_every_image_once_and_its_page_loads_nothing(view, drive):
    loop = [(t, at + 5 * 10**9, m) for t, at, m in drive[0]]
    page = view([*drive[0], *loop])
    assert '32 of 38 possible pairs fused' in page.text
    assert not {'script', 'link', 'iframe', 'object', 'embed', 'a'} & set(page.tags)
    for reference in ('http:', 'https:', 'url(', '@import'):
        assert reference not in page.html
    assert [value for _, name, value in page.attributes if name in ('src', 'href')] == (
        page.images
    )


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
