"""Reports of bags: right numbers, nothing guessed, nothing that a bag could smuggle in."""

import base64
import tracemalloc

import cv2
import numpy as np
import pytest

from tdfusion_ros.bags import BagReader
from tdfusion_ros.cli import main
from tdfusion_ros.core.errors import BagError
from tdfusion_ros.view import pictures
from tdfusion_ros.view.report import report

MS = 1_000_000
RGB, IR, FUSED, FOUND = '/rgb/image_raw', '/ir/image_raw', '/fused/image_raw', '/detections'
LOST = (0, 7, 8, 19)  # of twenty rgb images; 7 has no ir image near, 0 and 19 lie outside


@pytest.fixture
def night(make):
    """Return twenty rgb images at 10 Hz, 19 of ir, sixteen results, and the truth about them."""
    rng = np.random.default_rng(5)
    skews = rng.uniform(-9, 15, 20).round(3)
    delays = rng.uniform(20, 120, 20).round(3)
    records, scores = [], {'person': [], 'car': []}
    for n in range(20):
        at = make.begin_ns + n * 100 * MS
        records.append((RGB, at + 2 * MS, make.image(at)))
        if n != 7:
            ir = at + round(skews[n] * MS)
            grey = np.full((6, 8), 60, np.uint16)
            records.append((IR, max(ir, at) + 3 * MS, make.image(ir, grey)))
        if n in LOST:
            continue
        found = [('person', s) for s in rng.uniform(0.3, 1, n % 3).astype(np.float32)]
        found += [('car', s) for s in rng.uniform(0.3, 1, n % 2).astype(np.float32)]
        for name, score in found:
            scores[name].append(float(score))
        done = at + 2 * MS + round(delays[n] * MS)
        records += [(FUSED, done, make.image(at)), (FOUND, done + 1, make.detections(at, found))]
    kept = [n for n in range(20) if n not in LOST]
    return records, {'skews': skews[kept], 'delays': delays[kept], 'scores': scores, 'kept': kept}


def test_numbers_are_those_of_the_bag(said, night):
    records, truth = night
    told = said(records)
    assert '16 of 20 rgb images became a result' in told.text
    assert (
        '4 of 20 have no result, of them 1 older than the first result, 1 newer than the last '
        'result, 1 without an ir image within 20 ms.'
    ) in told.text
    skews, delays = truth['skews'], truth['delays']
    assert f'{np.median(np.abs(skews)):.1f} ms skew, median; worst {abs(skews).max():.1f} ms' in (
        told.text
    )
    p95 = np.percentile(delays, 95)
    assert f'{np.median(delays):.0f} ms latency, median; p95 {p95:.0f} ms' in told.text
    assert f'worst {delays.max():.1f} ms' in told.text
    rows = told.table('class')
    for name, scores in truth['scores'].items():
        step = {'person': 3, 'car': 2}[name]
        images = sum(1 for n in truth['kept'] if n % step)
        assert rows[name] == {
            'class': name,
            'detections': str(len(scores)),
            'images with it': str(images),
            'lowest score': f'{min(scores):.2f}',
            'median score': f'{np.median(scores):.2f}',
            'highest score': f'{max(scores):.2f}',
        }
    total = sum(map(len, truth['scores'].values()))
    images = sum(1 for n in truth['kept'] if n % 2 or n % 3)
    assert f'{total} detections, in {images} of 16 images' in told.text


def test_topics_are_listed_with_counts_and_rates(said, night):
    rows = said(night[0]).table('topic')
    assert {name: row['messages'] for name, row in rows.items()} == {
        RGB: '20',
        IR: '19',
        FUSED: '16',
        FOUND: '16',
    }
    assert rows[RGB]['rate [Hz]'] == '10.00'
    assert rows[RGB]['type'] == 'sensor_msgs/msg/Image'


def test_images_of_another_bag_are_joined_by_their_stamps(said, night):
    records, truth = night
    results = [r for r in records if r[0] in (FUSED, FOUND)]
    cameras = [(t, at - 10**17, m) for t, at, m in records if t in (RGB, IR)]
    told = said(results, cameras)
    assert '16 of 20 rgb images became a result' in told.text
    assert f'{np.median(np.abs(truth["skews"])):.1f} ms skew' in told.text
    assert 'latency, median' not in told.text  # the clocks of two recordings have no difference
    assert 'Latency: the images and their results were not recorded together' in told.text


def test_results_of_the_offline_run_have_no_latency(said, night):
    records = [(t, m.header.stamp.sec * 10**9 + m.header.stamp.nanosec, m) for t, _, m in night[0]]
    told = said(records)
    assert 'latency, median' not in told.text
    assert 'the results were written at their own stamps, as tdfusion fuse does' in told.text


@pytest.mark.parametrize(
    ('topic', 'sentence'),
    [
        (RGB, 'No rgb images recorded'),
        (IR, 'No ir images recorded'),
        (FUSED, 'No fused images recorded'),
        (FOUND, 'No detections recorded'),
        (None, 'No diagnostics of the node recorded'),
    ],
)
def test_what_is_not_in_the_bag_is_said(said, night, topic, sentence):
    told = said([record for record in night[0] if record[0] != topic])
    assert sentence in told.text
    if topic:
        assert sentence not in said(night[0]).text


def test_skew_and_drops_are_left_out_where_the_images_are_not_there(said, night):
    told = said([record for record in night[0] if record[0] in (FUSED, FOUND)])
    assert '16 results' in told.text
    for word in ('skew', 'became a result', 'Skew of the pairs', 'without a result'):
        assert word not in told.text


def test_empty_bag_and_bag_without_images_give_a_report(said, make):
    assert 'No fused images recorded' in said([]).text
    one = [('/diagnostics', make.begin_ns, make.status(make.begin_ns, {}))]
    assert 'It dropped nothing.' in said(one).text


def test_single_image_gives_a_report(said, make):
    told = said([(RGB, make.begin_ns, make.image(make.begin_ns))])
    assert len(told.pictures) == 1
    assert 'No fused images recorded' in told.text


def test_counters_of_the_node_are_told_as_rise_and_level(said, make):
    records = []
    for n, (busy, p50) in enumerate([(5, 40.0), (9, 50.0), (2, 60.0), (3, 70.5)]):  # restarted
        values = {'dropped.busy': busy, 'latency_ms_p50': p50, 'latency_ms_p95': 2 * p50}
        if n > 1:
            values['dropped.rgb.truncated'] = n
        at = make.begin_ns + n * 10**9
        records.append(('/diagnostics', at, make.status(at, values, 1, f'no ir for {n}.5 s')))
    told = said(records)
    rows = told.table('dropped, by cause')
    assert list(rows['busy'].values()) == ['busy', '7', '3']  # 4 + 2 from zero + 1
    assert list(rows['rgb.truncated'].values()) == ['rgb.truncated', '3', '3']
    assert '70 ms latency told by the node, p50; p95 141 ms' in told.text
    assert told.table('warnings, numbers left out') == {
        'no ir for … s': {'warnings, numbers left out': 'no ir for … s', 'messages': '4'}
    }


def test_each_rig_of_a_bag_has_its_own_report(said, make, night):
    records = []
    for rig, some in (('/front', night[0]), ('/rear/low', night[0][:30])):
        records += [(rig + topic, at, message) for topic, at, message in some]
        values = {'dropped.busy': len(rig)}
        said_by = make.status(make.begin_ns, values, name=f'{rig}/tdfusion: fusion')
        records += [('/diagnostics', make.begin_ns, said_by)] * 2
    front, rear = said(records), said(records, namespace='rear/low')
    assert '16 of 20' in front.text
    assert 'The results of the rig /rear/low: choose it with --namespace' in front.text
    number = sum(topic == RGB for topic, _, _ in night[0][:30])
    assert f'of {number} rgb images became a result' in rear.text
    for told, count in ((front, 6), (rear, 9)):
        assert told.table('dropped, by cause')['busy']['since the node began'] == str(count)
    with pytest.raises(BagError, match=r"namespace 'left'; .* /front, /rear/low"):
        said(records, namespace='left')


def test_looped_bag_counts_every_image_once(said, night):
    loop = [(t, at + 5 * 10**9, m) for t, at, m in night[0]]
    told = said([*night[0], *loop])
    assert '32 of 40 rgb images became a result' in told.text


HOSTILE = '<script>alert(1)</script><img src=x onerror=alert(2)>"\'&\x00\u202e'


def test_text_of_a_bag_never_becomes_markup(said, make):
    at = make.begin_ns

    def told(text):
        return said(
            [
                (FUSED, at, make.image(at)),
                (FOUND, at, make.detections(at, [(text, 0.5), (text * 200, 0.7)])),
                (f'/{text}/image_raw', at, make.image(at)),
                ('/diagnostics', at, make.status(at, {f'dropped.{text}': 3, 'backend': text})),
                ('/diagnostics', at + 1, make.status(at, {}, 1, text)),
            ]
        )

    hostile, harmless = told(HOSTILE), told('harmless')
    assert hostile.text.count('<script>alert(1)</script>') >= 5  # shown as text
    assert hostile.tags == harmless.tags
    assert {name for _, name, _ in hostile.attributes} == {
        name for _, name, _ in harmless.attributes
    }
    assert hostile.pictures == harmless.pictures
    assert not {'\x00', '\u202e'} & set(hostile.page)
    assert max(map(len, hostile.words)) < 700


def test_page_needs_nothing_from_outside(said, night):
    told = said(night[0])
    assert not {'script', 'link', 'iframe', 'object', 'embed', 'a'} & set(told.tags)
    for reference in ('http:', 'https:', 'url(', '@import'):
        assert reference not in told.page
    assert [value for _, name, value in told.attributes if name in ('src', 'href')] == (
        told.pictures
    )


def test_pictures_are_those_of_the_bag_with_boxes(
    write_bag, demo_records, tmp_path, demo_pairs, pipeline
):
    demo, out = write_bag(tmp_path / 'bag', demo_records), tmp_path / 'fused'
    assert main(['fuse', str(demo), '-o', str(out), '-p', 'backend=cpu']) == 0
    arguments = ['view', str(out), '--inputs', str(demo), '-o', str(tmp_path / 'r.html')]
    assert main([*arguments, '--moments', '3']) == 0
    page = (tmp_path / 'r.html').read_text(encoding='utf-8')
    uris = [part.split('"')[0] for part in page.split('src="')[1:]]
    assert len(uris) == 9
    shown = [
        cv2.imdecode(np.frombuffer(base64.b64decode(uri.split(',')[1]), np.uint8), 1)[..., ::-1]
        for uri in uris
    ]
    for row, pair in zip(range(3), (demo_pairs[0], demo_pairs[2], demo_pairs[5]), strict=True):
        result = pipeline.process(pair.rgb, pair.ir)
        for cell, pixels in enumerate((pair.rgb.pixels, pair.ir.pixels, result.fused)):
            wanted = pixels if pixels.ndim == 3 else np.dstack([pixels] * 3)
            wanted = cv2.resize(wanted, (480, 360), interpolation=cv2.INTER_AREA)
            error = np.abs(shown[3 * row + cell].astype(int) - wanted)
            # Boxes change a small part of the fused image only, but that part much.
            assert np.median(error) <= 3
            assert (np.percentile(error, 99.9) > 60) == (cell == 2 and len(result.detections) > 0)


def test_boxes_that_are_no_numbers_or_far_away_do_not_stop_the_report(said, make):
    at = make.begin_ns
    wild = make.detections(at, [('person', 0.5)] * 3 + [('car', float('nan'))])
    for detection, size in zip(wild.detections, (float('nan'), 1e300, 0.0, 3.0), strict=True):
        detection.bbox.size_x = size
    told = said([(FUSED, at, make.image(at)), (FOUND, at, wild)])
    assert told.table('class')['car']['median score'] == '-'
    assert len(told.pictures) == 1


def test_picture_that_cannot_be_read_is_said_in_its_place(said, make):
    at = make.begin_ns
    odd = make.image(at)
    odd.encoding = 'yuv<422>'
    told = said([(RGB, at, odd), (FUSED, at, make.image(at))])
    assert "cannot be read: encoding 'yuv<422>'" in told.text
    assert len(told.pictures) == 1


def test_report_reads_a_long_bag_in_little_memory(tmp_path, write_bag, make, monkeypatch):
    count, pixels = 150, np.zeros((480, 640, 3), np.uint8)
    records = (
        (topic, make.begin_ns + n * 33 * MS, make.image(make.begin_ns + n * 33 * MS, pixels))
        for n in range(count)
        for topic in (RGB, FUSED)
    )
    bag = write_bag(tmp_path / 'bag', records)
    decoded, to_frame = [], pictures.to_frame

    def counting(message):
        decoded.append(message.header.stamp)
        return to_frame(message)

    monkeypatch.setattr(pictures, 'to_frame', counting)
    with BagReader(bag) as reader:
        tracemalloc.start()
        report(reader, most=5)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert len(decoded) == 10
    assert peak < 0.1 * 2 * count * pixels.nbytes


def test_size_is_bounded_even_for_noise(said, make):
    rng, records = np.random.default_rng(0), []
    for n in range(30):
        at = make.begin_ns + n * 100 * MS
        noise = rng.integers(0, 256, (480, 640, 3), np.uint8)
        records += [(topic, at, make.image(at, noise)) for topic in (RGB, IR, FUSED)]
    told = said(records, most=1000)
    assert len(told.pictures) == 3 * 24
    assert len(told.page) < 10e6


def test_bag_that_breaks_off_is_shown_up_to_there(demo, tmp_path, make):
    data = bytearray((demo / 'msrs_drive.mcap').read_bytes())
    data[4_000_000:5_000_000] = bytes(1_000_000)
    bag = tmp_path / 'broken.mcap'
    bag.write_bytes(data)
    with BagReader(bag) as reader:
        told = make.said(report(reader))
    assert 'Everything behind a fault: bag' in told.text
    number = int(told.table('topic')['/rgb/image_raw/compressed']['messages'])
    assert 5 < number < 40
    assert len(told.pictures) == 2 * 8


def test_damaged_messages_are_counted_and_left_out(said, make, monkeypatch, tmp_path):
    from tdfusion_ros.bags import BagWriter

    at = make.begin_ns
    with BagWriter(tmp_path / 'bag') as writer:
        writer.write(FOUND, 'vision_msgs/msg/Detection2DArray', at, b'\0\1\0\0')
        writer.write(FOUND, 'vision_msgs/msg/Detection2DArray', at, b'\0\1\0\0' + b'\xff' * 60)
        good = make.detections(at, [('car', 0.5)])
        writer.write(FOUND, 'vision_msgs/msg/Detection2DArray', at, good)
    with BagReader(tmp_path / 'bag') as reader:
        told = make.said(report(reader))
    assert f'2 messages of {FOUND} that cannot be read' in told.text
    assert told.table('class')['car']['detections'] == '1'


def test_command_writes_the_report_and_says_where(demo, tmp_path, capsys):
    path = tmp_path / 'new' / 'report.html'
    assert main(['view', str(demo), '-o', str(path)]) == 0
    assert f'{demo} -> {path}, ' in capsys.readouterr().out
    assert path.read_text(encoding='utf-8').startswith('<!doctype html>')


@pytest.mark.parametrize(
    ('words', 'given'),
    [
        ('does not exist', ['nowhere']),
        ('no image topic /left', ['DEMO', '--rgb-topic', '/left']),
        ('no results in the namespace', ['DEMO', '--namespace', 'front']),
        ('cannot be written', ['DEMO', '-o', 'DEMO']),
        ('0 to 24', ['DEMO', '--moments', '-1']),
        ('0 to 24', ['DEMO', '--moments', '25']),
    ],
)
def test_what_is_wrong_is_one_sentence(words, given, demo, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(['view', *(str(demo) if word == 'DEMO' else word for word in given)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
