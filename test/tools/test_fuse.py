"""``tdfusion fuse``: bags and folders in, bags and folders out, one error line."""

import copy
from dataclasses import replace
import re
import shlex

import cv2
import numpy as np
import pytest

from tdfusion_ros.cli import main
from tdfusion_ros.formats.bags import bag_types
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.bags import typestore
from tdfusion_ros.formats.messages import detection_array
from tdfusion_ros.formats.messages import header
from tdfusion_ros.formats.messages import to_frame

CPU = ('-p', 'backend=cpu')


def fuse(*arguments):
    return main(['fuse', *map(str, arguments), *CPU])


@pytest.fixture(scope='module')
def fused(demo, tmp_path_factory):
    """Return the demo bag, fused twice."""
    outputs = [tmp_path_factory.mktemp('fused') / 'out' for _ in range(2)]
    for output in outputs:
        assert fuse(demo, '-o', output) == 0
    return outputs


def same_files(first, second):
    names = [path.name for path in sorted(first.iterdir())]
    assert names == [path.name for path in sorted(second.iterdir())]
    return all((first / n).read_bytes() == (second / n).read_bytes() for n in names)


def test_fused_bag_is_the_same_each_time_and_has_the_results_of_the_pipeline(
    fused, demo_pairs, pipeline
):
    assert same_files(*fused)
    types, wire = bag_types(), typestore().serialize_cdr
    with BagReader(fused[0]) as reader:
        images = [m for _, _, m in reader.messages('/fused/image_raw')]
        arrays = [m for _, _, m in reader.messages('/detections')]
        assert reader.count('/fused/camera_info') == len(demo_pairs)
    assert len(images) == len(arrays) == len(demo_pairs)
    for index in (0, 20, 36):
        pair = demo_pairs[index]
        result = pipeline.process(pair.rgb, pair.ir)
        np.testing.assert_array_equal(to_frame(images[index]).pixels, result.fused)
        found = replace(result.detections, ids=None)
        wanted = detection_array(types, header(types, pair.rgb), found, pipeline.contract.classes)
        kind = wanted.__msgtype__
        for detection in arrays[index].detections:
            assert int(detection.id) > 0
            detection.id = ''
        assert wire(arrays[index], kind) == wire(wanted, kind)


def test_folders_give_the_same_folder_each_time_and_auto_reports_its_choice(
    folders, tmp_path, capsys
):
    assert fuse(*folders, '-o', tmp_path / 'one') == 0
    assert main(['fuse', *map(str, folders), '-o', str(tmp_path / 'two')]) == 0
    assert 'backend auto: took cpu' in capsys.readouterr().err
    assert same_files(tmp_path / 'one', tmp_path / 'two')
    names = {path.name for path in folders[0].iterdir()} | {'detections.json'}
    assert {path.name for path in (tmp_path / 'one').iterdir()} == names


def test_fuse_prints_a_view_command_that_works_with_the_topics_of_the_bag(
    write_bag, demo_records, tmp_path, capsys, monkeypatch
):
    names = {'/ir/image_raw': '/boson/image'}
    bag = write_bag(tmp_path / 'my bag', [(names.get(t, t), at, m) for t, at, m in demo_records])
    assert fuse(bag, '-o', tmp_path / 'out') == 1
    assert (
        'image topics are /rgb/image_raw/compressed, /boson/image; name one with --ir-topic'
        in (capsys.readouterr().err)
    )
    assert fuse(bag, '-o', tmp_path / 'out', '--ir-topic', '/boson/image') == 0
    _, command = capsys.readouterr().out.splitlines()[-1].split('look at it: tdfusion ')
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)) == 0
    assert 'no ir images recorded' not in (tmp_path / 'report.html').read_text()


def test_parameter_file_and_command_line_reach_the_pipeline(folders, tmp_path):
    (tmp_path / 'p.yaml').write_text(
        '/**:\n  ros__parameters:\n    score_threshold: 0.99\n    sync: {max_skew_ms: 5}\n'
    )
    given = ('--config', tmp_path / 'p.yaml')
    assert fuse(*folders, '-o', tmp_path / 'none', *given) == 0
    assert 'score' not in (tmp_path / 'none' / 'detections.json').read_text()
    over = (*given, '-p', 'score_threshold=0.3', '-p', 'class_filter=[person]')
    assert fuse(*folders, '-o', tmp_path / 'some', *over) == 0
    text = (tmp_path / 'some' / 'detections.json').read_text()
    assert '"person"' in text
    assert '"car"' not in text


@pytest.mark.parametrize('is_bag', [False, True])
def test_the_reason_of_each_cause_is_printed_and_output_without_a_result_removed(
    is_bag, folders, write_bag, demo_records, tmp_path, capsys
):
    source = folders
    if is_bag:
        records = [list(record) for record in demo_records]
        for record in records:
            if record[0].startswith('/ir/image'):
                record[2] = copy.copy(record[2])
                record[2].data = record[2].data[:1000]
        source = (write_bag(tmp_path / 'bag', records),)
    else:
        for path in folders[1].iterdir():
            color = cv2.applyColorMap(cv2.imread(str(path)), cv2.COLORMAP_JET)
            cv2.imwrite(str(path), color)
    assert fuse(*source, '-o', tmp_path / 'out') == 1
    out, err = capsys.readouterr()
    assert re.search(r'dropped: \d ir.truncated' if is_bag else r'dropped: \d bad_encoding', out)
    reason = 'bytes cannot hold' if is_bag else 'set ir.color to luma'
    assert reason in err
    assert (out + err).count(reason) == 1
    assert 'stamps' not in err
    assert not (tmp_path / 'out').exists()
