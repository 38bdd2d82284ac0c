"""Results as a bag or a folder."""

import copy
from dataclasses import replace
import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from tdfusion_ros.cli import main
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.data import FusionResult
from tdfusion_ros.core.data import RegisteredPair
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.messages import stamp_ns
from tdfusion_ros.formats.sinks import FolderSink

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
