"""Pairs out of bags and folders, results into bags and folders."""

import copy
import json

import cv2
import numpy as np
import pytest

from tdfusion_ros.cli import main
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.data import FusionResult
from tdfusion_ros.core.data import RegisteredPair
from tdfusion_ros.core.errors import BagError
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.bags import BagWriter
from tdfusion_ros.formats.messages import stamp_ns
from tdfusion_ros.formats.offline import BagSink
from tdfusion_ros.formats.offline import BagSource
from tdfusion_ros.formats.offline import FolderSink
from tdfusion_ros.formats.offline import FolderSource
from tdfusion_ros.formats.offline import NamedPair

CLASSES = ('person', 'bicycle', 'car')
PICTURE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def pairs_of(bag):
    with BagReader(bag) as reader:
        source = BagSource(reader, reader.find(), FusionConfig())
        return [one.match for one in source], source.dropped


def folders(tmp_path, rgb=('a.png', 'b.png'), ir=('a.png', 'b.png')):
    for name, files in (('rgb', rgb), ('ir', ir)):
        (tmp_path / name).mkdir()
        for file in files:
            pixels = PICTURE if name == 'rgb' else PICTURE[..., 0]
            cv2.imwrite(str(tmp_path / name / file), pixels)
    return tmp_path / 'rgb', tmp_path / 'ir'


def result_of(pixels, *boxes):
    grid = pixels.shape[:2]
    pair = RegisteredPair(pixels, np.zeros(grid, np.float32), np.ones(grid, bool))
    found = Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(len(boxes), 0.5, np.float32),
        np.zeros(len(boxes), np.int64),
    )
    return FusionResult(pixels, found, pair)


def test_every_ir_frame_of_the_demo_finds_its_rgb_frame(demo):
    pairs, dropped = pairs_of(demo)
    assert len(pairs) == 37
    assert dropped == {'no_partner': 3}
    assert max(abs(pair.rgb.stamp_ns - pair.ir.stamp_ns) for pair in pairs) < 20e6
    assert [pair.rgb.stamp_ns for pair in pairs] == sorted(pair.rgb.stamp_ns for pair in pairs)
    assert {pair.rgb.frame_id for pair in pairs} == {'rgb_optical_frame'}


def test_the_last_pair_of_a_bag_is_not_forgotten(write_bag, demo_records, tmp_path):
    pairs, dropped = pairs_of(write_bag(tmp_path / 'bag', demo_records[:8]))
    assert len(pairs) == 2
    assert not dropped


def broken_jpeg(message):
    message.data = message.data[:1000]


def odd_size(message):
    message.data = cv2.imencode('.jpg', PICTURE)[1].reshape(-1)


@pytest.mark.parametrize(
    ('harm', 'cause'), [(broken_jpeg, 'rgb.truncated'), (odd_size, 'rgb.size_changed')]
)
def test_a_bad_frame_is_counted_by_stream_and_cause_and_the_others_are_paired(
    write_bag, demo_records, tmp_path, harm, cause
):
    records = [list(record) for record in demo_records]
    rgb = [record for record in records if record[0].startswith('/rgb/image')]
    rgb[2][2] = copy.copy(rgb[2][2])
    harm(rgb[2][2])
    pairs, dropped = pairs_of(write_bag(tmp_path / 'bag', records))
    assert dropped[cause] == 1
    assert len(pairs) == len(rgb) - 1


def test_results_in_a_bag_carry_the_header_of_the_rgb_image(demo, demo_pairs, tmp_path):
    with BagReader(demo) as reader, BagWriter(tmp_path / 'bag') as writer:
        source = BagSource(reader, reader.find(), FusionConfig())
        sink = BagSink(writer, CLASSES, 0.3, source)
        for named, _ in zip(source, range(3), strict=False):
            sink.write(named, result_of(named.match.rgb.pixels))
    with BagReader(tmp_path / 'bag') as reader:
        written = list(reader.messages(*reader.topics()))
    stamps = [pair.rgb.stamp_ns for pair in demo_pairs[:3]]
    drawn = [m.timestamp for name, _, m in written if name == '/fused/annotations']
    assert [at.sec * 10**9 + at.nanosec for at in drawn] == stamps
    for topic in ('/fused/image_raw', '/fused/camera_info', '/detections'):
        heads = [(at, message.header) for name, at, message in written if name == topic]
        assert [stamp_ns(head) for _, head in heads] == stamps, topic
        assert [at for at, _ in heads] == stamps
        assert {head.frame_id for _, head in heads} == {'rgb_optical_frame'}
    assert [name for name, _, _ in written].count('/label_info') == 1


def test_an_empty_scene_is_written_as_an_empty_array(demo_pairs, tmp_path):
    with BagWriter(tmp_path / 'bag') as writer:
        source = type('Source', (), {'info': None})
        pair = demo_pairs[0]
        sink = BagSink(writer, CLASSES, 0.3, source)
        sink.write(NamedPair('a', pair), result_of(pair.rgb.pixels))
    with BagReader(tmp_path / 'bag') as reader:
        (array,) = [message for _, _, message in reader.messages('/detections')]
        assert '/fused/camera_info' not in reader.topics()
    assert len(array.detections) == 0


def test_images_of_folders_pair_by_stem_whatever_their_suffix(tmp_path):
    source = FolderSource(*folders(tmp_path, ('b.png', 'a.PNG'), ('a.bmp', 'b.tiff')))
    (first, second) = source
    assert (first.name, second.name) == ('a', 'b')
    np.testing.assert_array_equal(first.match.rgb.pixels, PICTURE[..., ::-1])
    np.testing.assert_array_equal(first.match.ir.pixels, PICTURE[..., 0])
    assert source.total == 2


def test_files_that_are_no_images_are_left_alone(tmp_path):
    rgb, ir = folders(tmp_path)
    (rgb / 'notes.txt').write_text('no picture')
    assert FolderSource(rgb, ir).total == 2


def test_sixteen_bit_image_keeps_its_counts(tmp_path):
    rgb, ir = folders(tmp_path)
    counts = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 20
    cv2.imwrite(str(ir / 'a.png'), counts)
    np.testing.assert_array_equal(next(iter(FolderSource(rgb, ir))).match.ir.pixels, counts)


@pytest.mark.parametrize(
    ('rgb', 'ir', 'named'),
    [
        ((), ('a.png',), 'rgb has no images'),
        (('a.png',), ('b.png',), "2 images have no partner .*'a' in .*rgb"),
        (('a.png',), ('a.png', 'b.png'), "'b' in .*ir"),
        (('a.png', 'a.bmp'), ('a.png',), "rgb has two images of the stem 'a'"),
    ],
)
def test_folders_that_do_not_fit_are_refused_naming_the_file(tmp_path, rgb, ir, named):
    with pytest.raises(BagError, match=named):
        FolderSource(*folders(tmp_path, rgb, ir))


def cut_short(path):
    path.write_bytes(path.read_bytes()[:60])


def floats(path):
    cv2.imwrite(str(path.with_suffix('.tiff')), np.zeros((48, 64), np.float32))
    path.unlink()


def absurd_size(path):
    data = bytearray(path.read_bytes())
    data[16:24] = b'\x7f\xff\xff\xff' * 2
    path.write_bytes(data)


@pytest.mark.parametrize('harm', [cut_short, floats, absurd_size])
def test_image_that_cannot_be_read_is_refused_naming_the_file(tmp_path, harm):
    rgb, ir = folders(tmp_path)
    harm(ir / 'b.png')
    with pytest.raises(BagError, match=r'ir/b\.(png|tiff) is not an image'):
        list(FolderSource(rgb, ir))


def test_folder_gets_fused_images_in_true_colors_and_the_detections(demo_pairs, tmp_path):
    sink = FolderSink(tmp_path / 'a' / 'out', CLASSES)
    pair = NamedPair('first', demo_pairs[0])
    sink.write(pair, result_of(PICTURE, [1, 2, 3.25, 4]))
    sink.close()
    assert not (tmp_path / 'a' / 'out' / 'stalled.json').exists()
    written = cv2.imread(str(tmp_path / 'a' / 'out' / f'{pair.name}.png'))
    np.testing.assert_array_equal(written[..., ::-1], PICTURE)
    found = json.loads((tmp_path / 'a' / 'out' / 'detections.json').read_text())
    assert found == {
        pair.name: [{'class': 'person', 'score': 0.5, 'box_xyxy': [1.0, 2.0, 3.25, 4.0]}]
    }


def test_existing_folder_is_never_written_to(tmp_path):
    with pytest.raises(BagError, match='name a new one'):
        FolderSink(tmp_path, CLASSES)


def repeat_ir(records, from_index):
    """Let the ir camera send its picture of one frame again and again from there on."""
    ir = [record for record in records if record[0].startswith('/ir/image')]
    for record in ir[from_index + 1 :]:
        record[2] = copy.copy(record[2])
        record[2].data = ir[from_index][2].data


@pytest.fixture
def stalled_bag(demo, write_bag, tmp_path):
    """Return the demo bag in which ir stands still from the eleventh frame on."""
    with BagReader(demo) as reader:
        records = [list(record) for record in reader.messages(*reader.topics())]
    repeat_ir(records, 10)
    return write_bag(tmp_path / 'stalled', records)


def fuse(*arguments):
    assert main(['fuse', *map(str, arguments)]) == 0


def test_a_stall_in_a_bag_is_held_then_left_out_and_marked_in_the_result(
    stalled_bag, tmp_path, capsys
):
    fuse(stalled_bag, '-o', tmp_path / 'out')
    assert 'held' in (said := capsys.readouterr().out)
    assert 'rgb_only' in said
    with BagReader(tmp_path / 'out') as reader:
        warnings = list(reader.messages('/diagnostics'))
        detections = list(reader.messages('/detections'))
    heads = [stamp_ns(m.header) for _, _, m in warnings]
    said = [m.status[0].message for _, _, m in warnings]
    assert len(detections) >= 36
    assert 20 <= len(warnings) < len(detections)
    assert heads == sorted(heads)
    assert said[0].startswith('IR STALLED')
    assert said[0].endswith('held')
    assert said[-1].endswith('rgb_only')


def test_a_stall_in_a_bag_is_named_beside_the_images_of_a_folder(stalled_bag, tmp_path):
    fuse(stalled_bag, '-o', tmp_path / 'out', '--to', 'folder', '-p', 'ir.on_stall=rgb_only')
    marks = json.loads((tmp_path / 'out' / 'stalled.json').read_text())
    assert {mark['mode'] for mark in marks.values()} == {'rgb_only'}
    assert all(mark['mark'].startswith('IR STALLED') for mark in marks.values())
    for name in marks:
        assert (tmp_path / 'out' / f'{name}.png').is_file()


def test_a_slow_ir_camera_is_held_for_every_rgb_frame_of_a_bag_if_asked_for(
    demo, write_bag, tmp_path, capsys
):
    with BagReader(demo) as reader:
        records = list(reader.messages(*reader.topics()))
    ir = [record for record in records if record[0].startswith('/ir/image')]
    slow = write_bag(tmp_path / 'slow', [r for r in records if r not in ir or r in ir[::3]])
    for mode, least, most in (('paired', 12, 13), ('rgb_hold', 38, 40)):
        settings = ('-p', f'sync.mode={mode}', '-p', 'sync.hold_max_age_ms=400')
        fuse(slow, '-o', tmp_path / mode, *settings)
        assert least <= int(capsys.readouterr().out.split()[0]) <= most
