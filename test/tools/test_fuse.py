"""``tdfusion fuse``: bags and folders in and out; what it writes, skips, lists and replaces."""

import copy
from itertools import islice
import json
from pathlib import Path
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
from tdfusion_ros.formats.messages import stamp_ns
from tdfusion_ros.formats.messages import to_frame
from tdfusion_ros.tools.view.recording import read_both

CPU = ('-p', 'backend=cpu')


def fuse(*arguments):
    return main(['fuse', *map(str, arguments), *CPU])


def same_files(first, second):
    names = [path.name for path in sorted(first.iterdir())]
    assert names == [path.name for path in sorted(second.iterdir())]
    return all((first / n).read_bytes() == (second / n).read_bytes() for n in names)


def test_fused_bag_is_the_same_each_time_and_has_the_results_of_the_pipeline(
    demo, demo_pairs, pipeline, tmp_path
):
    fused = [tmp_path / folder / 'out' for folder in ('one', 'two')]
    for output in fused:
        assert fuse(demo, '-o', output) == 0
    assert same_files(*fused)
    types, wire = bag_types(), typestore().serialize_cdr
    with BagReader(fused[0]) as reader:
        images = [m for _, _, m in reader.messages('/fused/image_raw')]
        arrays = [m for _, _, m in reader.messages('/detections')]
        for topic in ('/fused/image_raw', '/fused/camera_info', '/detections'):
            given = [(at, stamp_ns(m.header), m.header) for _, at, m in reader.messages(topic)]
            assert [time_ns for time_ns, _, _ in given] == [p.rgb.stamp_ns for p in demo_pairs]
            assert all(time_ns == own_ns for time_ns, own_ns, _ in given)
            assert {head.frame_id for _, _, head in given} == {'rgb_optical_frame'}
        assert reader.count('/label_info') == 1
    assert len(demo_pairs) == 82  # all of the bag
    pipeline = pipeline.fresh()
    for pair, image, array in zip(demo_pairs, images, arrays, strict=True):
        result = pipeline.process_pair(pair)
        np.testing.assert_array_equal(to_frame(image).pixels, result.fused)
        found, classes = result.detections, pipeline.contract.classes
        wanted = detection_array(types, header(types, pair.rgb), found, classes)
        assert wire(array, wanted.__msgtype__) == wire(wanted, wanted.__msgtype__)
    assert max(int(one.id) for array in arrays for one in array.detections) > 3


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


def test_images_that_cannot_be_used_are_skipped_on_request_and_listed(folders, tmp_path, capsys):
    (rgb, ir), out = folders, tmp_path / 'out'
    first, cut, _ = sorted(path.stem for path in rgb.iterdir())
    (rgb / f'{first}.png').unlink()
    (ir / f'{cut}.png').write_bytes((rgb / f'{cut}.png').read_bytes()[:900])
    assert fuse(rgb, ir, '-o', out, '--skip-bad') == 0
    skipped = json.loads((out / 'skipped.json').read_text())
    assert skipped.keys() == {first, cut}
    assert len(json.loads((out / 'detections.json').read_text())) == 1
    text = capsys.readouterr().out
    assert f"first no_partner: '{first}' has no image of the same stem in {rgb}" in text
    assert f'first ir.unreadable: {ir / cut}.png is not an image' in text
    assert f'skipped {first}, {cut}: the reasons are in {out / "skipped.json"}' in text
    assert 'possible: 2 pairs, 1 fused, 1 lost (1 ir.unreadable)' in text
    page = tmp_path / 'page.html'
    assert main(['view', str(out), '--inputs', str(rgb), str(ir), '-o', str(page)]) == 0
    assert '2 = 1 fused + 1 lost (1 ir.unreadable)' in page.read_text()
    (ir / f'{first}.png').unlink()  # without the option a result that is not complete says so
    assert fuse(rgb, ir, '-o', out, '--overwrite') == 1
    assert list(json.loads((out / 'skipped.json').read_text())) == [cut]
    assert 'not complete: 1 pair skipped' in capsys.readouterr().err


def test_only_a_result_is_replaced_and_only_on_request(folders, tmp_path, capsys):
    out, keep = tmp_path / 'out', tmp_path / 'photos'
    assert fuse(*folders, '-o', out) == 0
    (out / 'old.txt').write_text('old')
    assert fuse(*folders, '-o', out) == 1
    assert 'or add --overwrite' in capsys.readouterr().err
    assert fuse(*folders, '-o', out, '--overwrite') == 0
    assert not (out / 'old.txt').exists()
    keep.mkdir()
    (keep / 'mine.jpg').write_text('mine')
    no_result = 'is no result of tdfusion fuse'
    for target, why in ((keep, no_result), (folders[0], 'is the input'), (tmp_path, no_result)):
        assert fuse(*folders, '-o', target, '--overwrite') == 1
        assert why in capsys.readouterr().err
    assert (keep / 'mine.jpg').exists()
    for path in folders[0].iterdir():
        path.write_bytes(b'no image')
    assert fuse(*folders, '-o', out, '--overwrite') == 1
    assert (out / 'detections.json').exists()  # a run without a result replaces nothing
    said, error = capsys.readouterr()
    assert 'dropped: 3 rgb.unreadable' in said
    assert (said + error).count('is not an image') == 1
    assert str(min(folders[0].iterdir())) in error


def test_overlays_are_written_on_request(folders, write_bag, demo_records, tmp_path):
    assert fuse(*folders, '-o', tmp_path / 'folder', '--overlay') == 0
    names = {path.name for path in folders[0].iterdir()}
    assert {path.name for path in (tmp_path / 'folder' / 'overlay').iterdir()} == names
    bag = write_bag(tmp_path / 'in', demo_records)
    assert fuse(bag, '-o', tmp_path / 'bag', '--overlay') == 0
    with BagReader(tmp_path / 'bag') as reader:
        count = reader.count('/overlay/image_raw')
        assert count == reader.count('/fused/image_raw') > 0
        fused, overlay = (
            to_frame(next(reader.messages(f'/{name}/image_raw'))[2]).pixels
            for name in ('fused', 'overlay')
        )
        (_, _, array), *_ = reader.messages('/detections')
    assert (fused != overlay).any() == bool(array.detections)


def test_people_in_smoke_keep_their_ids_while_the_thermal_camera_stalls(
    demo, write_bag, tmp_path, capsys
):
    with BagReader(demo) as reader:
        records = [list(record) for record in islice(reader.messages(*reader.topics()), 4 * 18)]
    ir = [record for record in records if record[0] == '/ir/image_raw']
    for record in ir[5:14]:  # a shutter repeats the last image
        record[2] = copy.copy(record[2])
        record[2].data = ir[4][2].data
    out = tmp_path / 'out'
    assert fuse(write_bag(tmp_path / 'in', records), '-o', out, '--to', 'folder') == 0
    assert re.search(r'results held \(the first with IR STALLED 0\.\d s', capsys.readouterr().out)
    found = json.loads((out / 'detections.json').read_text())
    stalls = json.loads((out / 'stalled.json').read_text())
    assert [stalls[name]['mode'] for name in (min(stalls), max(stalls))] == ['held', 'rgb_only']
    assert all(stall['mark'].startswith('IR STALLED') for stall in stalls.values())
    stalled = sorted(stalls)
    assert len(stalled) > 5

    def people(names):
        rows = [row for name in names for row in found[name] if row['class'] == 'person']
        return {row['id'] for row in rows if row['box_xyxy'][3] - row['box_xyxy'][1] > 100}

    before, after = [n for n in found if n < stalled[0]], [n for n in found if n > stalled[-1]]
    assert len(people(before)) == 2
    assert not people(stalled[-3:])  # rgb alone shows nobody
    assert people(before) < people(after)  # and somebody comes in


def test_fuse_view_and_the_demo_count_the_same_possible_and_lost_pairs(
    write_bag, demo_records, tmp_path, capsys, monkeypatch
):
    records = [list(record) for record in demo_records]
    for topic in ('/rgb/image', '/ir/image'):
        record = [record for record in records if record[0].startswith(topic)][
            topic == '/ir/image'
        ]
        record[2] = copy.copy(record[2])
        record[2].data = record[2].data[:1000]
    bag, out, page = (tmp_path / name for name in ('bag', 'out', 'page.html'))
    assert fuse(write_bag(bag, records), '-o', out) == 0
    said = capsys.readouterr().out
    assert 'possible: 6 pairs, 4 fused, 2 lost (1 ir.truncated, 1 rgb.truncated)' in said
    assert main(['view', str(out), '--inputs', str(bag), '-o', str(page)]) == 0
    text = ' '.join(re.sub('<[^>]*>', ' ', page.read_text()).split())
    assert '6 = 4 fused + 2 lost (1 ir.truncated, 1 rgb.truncated)' in text
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    from demo.run import make_report
    from demo.run import write_contact_sheet

    with BagReader(out) as results, BagReader(bag) as inputs:
        both = read_both(results, inputs)
        report = make_report(*both, {})
        write_contact_sheet(*both, tmp_path / 'sheet.png')
    assert cv2.imread(str(tmp_path / 'sheet.png')).shape == (36 + 4 * 360, 3 * 480, 3)
    counts = {name: report[f'pairs_{name}'] for name in ('possible', 'published', 'lost')}
    lost = {'ir.truncated': 1, 'rgb.truncated': 1}
    assert counts == {'possible': 6, 'published': 4, 'lost': lost}


def test_results_that_replace_one_of_the_same_stamp_in_a_folder_are_counted(
    write_bag, demo_records, tmp_path, capsys
):
    begin, end = demo_records[0][1], demo_records[-1][1]
    again = [(topic, at + end - begin + 10**8, m) for topic, at, m in demo_records]
    bag = write_bag(tmp_path / 'looping', [*demo_records, *again])
    assert fuse(bag, '-o', tmp_path / 'out', '--to', 'folder') == 0
    said = capsys.readouterr().out
    topics = (
        'rgb from /rgb/image_raw/compressed (12 messages), ir from /ir/image_raw (12 messages)'
    )
    assert said.startswith(f'read {topics}\n12 pairs -> {tmp_path / "out"}; dropped: ')
    assert '6 results replaced one of the same stamp; a bag keeps all' in said
    assert len(list((tmp_path / 'out').glob('*.png'))) == 6
