"""Results as a bag or a folder."""

import copy
from dataclasses import replace
import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from tdfusion_ros.cli import main
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.data import FusionResult
from tdfusion_ros.core.data import RegisteredPair
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.messages import stamp_ns
from tdfusion_ros.formats.sinks import BagSink
from tdfusion_ros.formats.sinks import FolderSink
from tdfusion_ros.formats.sources import BagSource

NOTHING = SimpleNamespace(info=None, skipped={})  # a source
IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def result_of(pixels, *boxes):
    grid = pixels.shape[:2]
    pair = RegisteredPair(pixels, np.zeros(grid, np.float32), np.ones(grid, np.float32))
    found = Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(len(boxes), 0.5, np.float32),
        np.zeros(len(boxes), np.int64),
    )
    return FusionResult(pixels, found, pair)


def test_results_in_a_bag_have_the_header_of_the_rgb_image(demo, pipeline, tmp_path):
    with BagReader(demo) as reader:
        source = BagSource(reader, reader.find(), FusionConfig())
        pairs = [pair for pair, _ in zip(source, range(3), strict=False)]
        with BagSink(tmp_path / 'bag', pipeline.contract, source, threshold=0.3) as sink:
            for pair in pairs:
                sink.write(pair, result_of(pair.rgb.pixels))
    with BagReader(tmp_path / 'bag') as reader:
        written = list(reader.messages(*reader.topics()))
    stamps = [pair.rgb.stamp_ns for pair in pairs]
    drawn = [m.timestamp for name, _, m in written if name == '/fused/annotations']
    assert [at.sec * 10**9 + at.nanosec for at in drawn] == stamps
    for topic in ('/fused/image_raw', '/fused/camera_info', '/detections'):
        headers = [(at, message.header) for name, at, message in written if name == topic]
        assert [stamp_ns(header) for _, header in headers] == stamps, topic
        assert [at for at, _ in headers] == stamps
        assert {header.frame_id for _, header in headers} == {'rgb_optical_frame'}
    assert [name for name, _, _ in written].count('/label_info') == 1
    assert not any(m.detections for name, _, m in written if name == '/detections')  # empty


def test_folder_gets_fused_images_in_true_colors_and_detections(demo_pairs, pipeline, tmp_path):
    out = tmp_path / 'a' / 'out'
    with FolderSink(out, pipeline.contract, NOTHING) as sink:
        sink.write(demo_pairs[0], result_of(IMAGE, [1, 2, 3.25, 4]))
    assert not (out / 'stalled.json').exists()
    name = str(demo_pairs[0].rgb.stamp_ns)
    np.testing.assert_array_equal(cv2.imread(str(out / f'{name}.png'))[..., ::-1], IMAGE)
    box = {'class': 'person', 'score': 0.5, 'box_xyxy': [1.0, 2.0, 3.25, 4.0]}
    assert json.loads((out / 'detections.json').read_text()) == {name: [box]}
    tracked = result_of(IMAGE, [1, 2, 3.25, 4])
    tracked = replace(tracked, detections=replace(tracked.detections, ids=np.array([7])))
    with FolderSink(out, pipeline.contract, NOTHING, replace=True) as sink:
        sink.write(demo_pairs[0], tracked)
    assert json.loads((out / 'detections.json').read_text()) == {name: [{'id': 7, **box}]}


@pytest.fixture(scope='module')
def stalled_bag(demo, write_bag, tmp_path_factory):
    """Return 17 frames of each camera; the ir camera repeats its sixth from there on."""
    with BagReader(demo) as reader:
        records = [list(record) for record in reader.messages(*reader.topics())][:68]
    ir = [record for record in records if record[0].startswith('/ir/image')]
    for record in ir[6:]:
        record[2] = copy.copy(record[2])
        record[2].data = ir[5][2].data
    return write_bag(tmp_path_factory.mktemp('stalled') / 'bag', records)


def test_stall_in_a_bag_is_in_the_diagnostics_of_the_result(stalled_bag, tmp_path, capsys):
    assert main(['fuse', str(stalled_bag), '-o', str(tmp_path / 'out')]) == 0
    printed = capsys.readouterr().out
    assert 'held' in printed
    assert 'rgb_only' in printed
    with BagReader(tmp_path / 'out') as reader:
        warnings = list(reader.messages('/diagnostics'))
        detections = list(reader.messages('/detections'))
    stamps = [stamp_ns(m.header) for _, _, m in warnings]
    texts = [m.status[0].message for _, _, m in warnings]
    assert 5 <= len(warnings) < len(detections)
    assert stamps == sorted(stamps)
    assert texts[0].startswith('IR STALLED')
    assert texts[0].endswith('held')
    assert texts[-1].endswith('rgb_only')


def test_stall_in_a_bag_is_named_beside_the_images_of_a_folder(stalled_bag, tmp_path):
    out = tmp_path / 'out'
    arguments = ('--to', 'folder', '-p', 'ir.on_stall=rgb_only')
    assert main(['fuse', str(stalled_bag), '-o', str(out), *arguments]) == 0
    stalls = json.loads((out / 'stalled.json').read_text())
    assert {stall['mode'] for stall in stalls.values()} == {'rgb_only'}
    assert all(stall['mark'].startswith('IR STALLED') for stall in stalls.values())
    assert all((out / f'{name}.png').is_file() for name in stalls)
