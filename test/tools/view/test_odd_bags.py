"""Reports of bags that are long, damaged or hostile, and the command that makes them."""

import base64
import tracemalloc

import cv2
import numpy as np

from tdfusion_ros.cli import main
from tdfusion_ros.formats.bag_writer import BagWriter
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.tools.view import moments
from tdfusion_ros.tools.view.report import render_report

MS = 1_000_000
RGB, IR, FUSED, DETECTIONS = '/rgb/image_raw', '/ir/image_raw', '/fused/image_raw', '/detections'
HOSTILE = '<script>alert(1)</script><img src=x onerror=alert(2)>"\'&\x00\u202e'


def test_text_of_a_bag_is_escaped_printable_and_bounded(view, make):
    at = make.begin_ns

    def view_with(text):
        return view(
            [
                (FUSED, at, make.image(at)),
                (DETECTIONS, at, make.detections(at, [(text, 0.5), (text * 200, 0.7)])),
                (f'/{text}/image_raw', at, make.image(at)),
                ('/diagnostics', at, make.status(at, {f'dropped.{text}': 3, 'backend': text})),
                ('/diagnostics', at + 1, make.status(at, {}, 1, text)),
            ]
        )

    # Labels are drawn into the picture, 8 pixels wide, which has room for the first letters.
    hostile, harmless = view_with(HOSTILE), view_with(f'{HOSTILE[:3]}harmless')
    assert hostile.text.count('<script>alert(1)</script>') >= 5  # shown as text
    assert hostile.tags == harmless.tags
    names = [{name for _, name, _ in page.attributes} for page in (hostile, harmless)]
    assert names[0] == names[1]
    assert hostile.images == harmless.images
    assert not {'\x00', '\u202e'} & set(hostile.html)
    assert max(map(len, hostile.words)) < 700


def test_images_show_frames_with_boxes(
    write_bag, demo_records, tmp_path, demo_pairs, pipeline, capsys
):
    demo, out = write_bag(tmp_path / 'bag', demo_records), tmp_path / 'fused'
    assert main(['fuse', str(demo), '-o', str(out), '-p', 'backend=cpu']) == 0
    path = tmp_path / 'new' / 'report.html'
    arguments = ['view', str(out), '--inputs', str(demo), '-o', str(path)]
    assert main([*arguments, '--moments', '3']) == 0
    assert f'{out} -> {path}, ' in capsys.readouterr().out
    page = path.read_text(encoding='utf-8')
    assert page.startswith('<!doctype html>')
    files = [base64.b64decode(part.split('"')[0]) for part in page.split('jpeg;base64,')[1:]]
    assert len(files) == 9
    shown = [cv2.imdecode(np.frombuffer(f, np.uint8), cv2.IMREAD_COLOR_RGB) for f in files]
    for row, pair in zip(range(3), (demo_pairs[0], demo_pairs[2], demo_pairs[5]), strict=True):
        result = pipeline.process(pair.rgb, pair.ir)
        for cell, pixels in enumerate((pair.rgb.pixels, pair.ir.pixels, result.fused)):
            wanted = pixels if pixels.ndim == 3 else np.dstack([pixels] * 3)
            wanted = cv2.resize(wanted, (480, 360), interpolation=cv2.INTER_AREA)
            error = np.abs(shown[3 * row + cell].astype(int) - wanted)
            # Boxes change a small part of the fused image only, but that part much.
            assert np.median(error) <= 3
            assert (np.percentile(error, 99.9) > 60) == (cell == 2 and len(result.detections) > 0)


def test_unreadable_image_is_replaced_by_the_reason_and_a_wild_box_is_skipped(view, make):
    at = make.begin_ns
    odd = make.image(at)
    odd.encoding = 'yuv<422>'
    wild = make.detections(at, [('person', 0.5)] * 3 + [('car', float('nan'))])
    for detection, size in zip(wild.detections, (float('nan'), 1e300, 0.0, 3.0), strict=True):
        detection.bbox.size_x = size
    page = view([(RGB, at, odd), (FUSED, at, make.image(at)), (DETECTIONS, at, wild)])
    assert "cannot be read: encoding 'yuv<422>'" in page.text
    assert page.table('class')['car']['median score'] == '-'
    assert len(page.images) == 1


def test_long_bag_is_read_in_little_memory(tmp_path, write_bag, make, monkeypatch):
    count, pixels = 150, np.zeros((480, 640, 3), np.uint8)
    records = (
        (topic, make.begin_ns + n * 33 * MS, make.image(make.begin_ns + n * 33 * MS, pixels))
        for n in range(count)
        for topic in (RGB, FUSED)
    )
    bag = write_bag(tmp_path / 'bag', records)
    decoded, to_frame = [], moments.to_frame

    def counting(message):
        decoded.append(message.header.stamp)
        return to_frame(message)

    monkeypatch.setattr(moments, 'to_frame', counting)
    with BagReader(bag) as reader:
        tracemalloc.start()
        render_report(reader, moments=5)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert len(decoded) == 10
    assert peak < 0.1 * 2 * count * pixels.nbytes


def test_size_of_a_report_is_bounded_even_for_noise(view, make):
    rng, records = np.random.default_rng(0), []
    for n in range(30):
        at = make.begin_ns + n * 100 * MS
        noise = rng.integers(0, 256, (480, 640, 3), np.uint8)
        records += [(topic, at, make.image(at, noise)) for topic in (RGB, IR, FUSED)]
    page = view(records, moments=1000)
    assert len(page.images) == 3 * 24
    assert len(page.html) < 10e6


def test_damaged_messages_are_counted_and_skipped(make, tmp_path):
    at = make.begin_ns
    head, good = b'\0\1\0\0', make.detections(at, [('car', 0.5)])
    with BagWriter(tmp_path / 'bag') as writer:
        for message in (head, head + b'\xff' * 60, good):
            writer.write(DETECTIONS, good.__msgtype__, at, message)
    with BagReader(tmp_path / 'bag') as reader:
        page = make.page(render_report(reader))
    assert f'2 messages of {DETECTIONS} that cannot be read' in page.text
    assert page.table('class')['car']['detections'] == '1'
