"""Reports of the folders that ``tdfusion fuse`` writes."""

import base64
import json

import cv2
import numpy as np
import pytest

from tdfusion_ros.cli import main
from tdfusion_ros.core.errors import BagError
from tdfusion_ros.formats import messages
from tdfusion_ros.formats.bags import bag_types
from tdfusion_ros.formats.image_files import read_image
from tdfusion_ros.formats.messages import to_frame
from tdfusion_ros.tools.view.report import render_report
from tdfusion_ros.tools.view.result_folder import ResultFolder


def fuse(*arguments):
    assert main(['fuse', *map(str, arguments), '-p', 'backend=cpu']) == 0


def shown(page):
    files = [base64.b64decode(uri.partition('base64,')[2]) for uri in page.images]
    return [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) for data in files]


def test_a_folder_made_of_folders_claims_no_times_and_8_bits_no_temperature(
    folders, tmp_path, make, capsys
):
    for folder in folders:
        for number, path in enumerate(sorted(folder.iterdir())):
            path.rename(folder / f'{number:03d}.png')
    fuse(*folders, '-o', tmp_path / 'out', '-p', 'ir.kelvin_per_count=0.04')
    said = capsys.readouterr().out
    assert f'look at it: tdfusion view {tmp_path / "out"}' in said
    (line,) = [one for one in said.splitlines() if 'AGC' in one]  # 8 bits have no temperature
    assert line.startswith('ir.kelvin_per_count: detections have no temperature')
    assert 'count_min' not in (tmp_path / 'out' / 'detections.json').read_text()
    page = make.page(render_report(ResultFolder(tmp_path / 'out')))
    assert '3 results' in page.text
    assert all(f'image {number}' in page.text for number in (1, 2, 3))
    assert 'Hz' not in page.text.replace('rate [Hz]', '')
    assert 'the first stamp' not in page.html
    assert len(page.images) == 3
    found = json.loads((tmp_path / 'out' / 'detections.json').read_text())
    assert f'{sum(map(len, found.values()))} detections, in ' in page.text


def test_the_inputs_of_a_folder_are_shown_with_its_results(folders, tmp_path, make, capsys):
    (folders[0] / 'alone.png').write_bytes(next(folders[0].iterdir()).read_bytes())
    fuse(*folders, '-o', tmp_path / 'out', '--skip-bad')
    inputs, html = ['--inputs', *map(str, folders)], tmp_path / 'report.html'
    assert f'view {tmp_path / "out"} {" ".join(inputs)}\n' in capsys.readouterr().out
    orders = [str(tmp_path / 'out'), *inputs], [*inputs, str(tmp_path / 'out')]
    for order in orders:
        assert main(['view', *order, '-o', str(html), '--overwrite']) == 0
    page = make.page(html.read_text(encoding='utf-8'))
    assert '3 of 3 possible pairs fused' in page.text
    assert ' ms' not in page.text.split('Moments')[1]  # names are no times
    given = [read_image(path) for path in sorted(folders[0].iterdir())[:3]]
    for image, wanted in zip(shown(page)[::3], given, strict=True):
        wanted = cv2.resize(wanted, image.shape[1::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(image[..., ::-1].astype(int) - wanted).mean() < 4  # a JPEG of it


def test_the_inputs_of_a_folder_may_be_videos(demo_records, tmp_path, make):
    videos = []
    for stream, topic in (('rgb', '/rgb/image_raw'), ('ir', '/ir/image_raw')):
        videos.append(tmp_path / f'{stream}.avi')
        images = [to_frame(m).pixels for t, _, m in demo_records if t.startswith(topic)]
        size = images[0].shape[1::-1]
        writer = cv2.VideoWriter(str(videos[-1]), cv2.VideoWriter.fourcc(*'MJPG'), 10.0, size)
        for image in images:
            three = image if image.ndim == 3 else cv2.merge([image] * 3)
            writer.write(np.ascontiguousarray(three[..., ::-1]))
        writer.release()
    offset = ('-p', 'sync.rgb_time_offset_ms=250.0')
    fuse(*videos, '-o', tmp_path / 'out', *offset, '-p', 'sync.ir_time_offset_ms=150.0')
    html = tmp_path / 'report.html'
    shift = [*offset, '-p', 'sync.ir_time_offset_ms=150.0', '-o', str(html)]
    assert main(['view', str(tmp_path / 'out'), '--inputs', *map(str, videos), *shift]) == 0
    page = make.page(html.read_text(encoding='utf-8'))
    assert '5 of 5 possible pairs fused' in page.text
    assert len(page.images) == 15


def test_inputs_that_are_not_those_of_the_result_are_refused(folders, tmp_path, capsys):
    fuse(*folders, '-o', tmp_path / 'out')
    for path in folders[0].iterdir():
        path.rename(path.with_name(f'other_{path.name}'))
    assert main(['view', str(tmp_path / 'out'), '--inputs', *map(str, folders)]) == 1
    assert 'name the two folders or videos that were fused' in capsys.readouterr().err


def test_a_folder_made_of_a_bag_has_the_report_of_the_bag_with_temperatures(
    write_bag, demo_records, tmp_path, make, capsys
):
    records, pages = [], []
    for topic, time_ns, message in demo_records:
        if topic.startswith('/ir/image'):
            counts = to_frame(message).pixels.astype(np.uint16) * 12 + 6900
            message = messages.image(bag_types(), message.header, counts)
        records.append((topic, time_ns, message))
    bag = write_bag(tmp_path / 'in', records)
    for to in ('bag', 'folder'):
        out, html = tmp_path / to / 'out', tmp_path / f'{to}.html'
        fuse(bag, '-o', out, '--to', to, '--overlay', '-p', 'ir.kelvin_per_count=0.04')
        said = capsys.readouterr().out
        assert f'look at it: tdfusion view {out} --inputs {bag}' in said
        assert 'ir.kelvin_per_count' not in said  # nothing to doubt
        assert main(['view', str(out), '--inputs', str(bag), '-o', str(html)]) == 0
        pages.append(make.page(html.read_text(encoding='utf-8')))
    of_bag, of_folder = pages
    assert '6 of 6 possible pairs fused' in of_folder.text
    assert of_folder.table('class') == of_bag.table('class')
    assert len(of_folder.images) == len(of_bag.images) == 18
    for one, other in zip(shown(of_folder), shown(of_bag), strict=True):
        np.testing.assert_array_equal(one, other)
    person = of_folder.table('measured')['person']
    assert person == of_bag.table('measured')['person']
    rows = json.loads((tmp_path / 'folder' / 'out' / 'detections.json').read_text()).values()
    people = [row for found in rows for row in found if row['class'] == 'person']
    assert people
    for row in people:
        assert row['kelvin_max'] == pytest.approx(0.04 * row['count_max'], abs=1e-3)
    lowest = min(row['kelvin_min'] for row in people) - 273.15
    highest = max(row['kelvin_max'] for row in people) - 273.15
    assert (person['lowest'], person['highest']) == (f'{lowest:.1f} °C', f'{highest:.1f} °C')


@pytest.mark.parametrize(
    'text', ['{', '[]', '{"a": 3}', '{"a": [{"class": "person"}]}', '{"../a": []}', '[' * 10000]
)
def test_detections_that_cannot_be_read_are_named(tmp_path, text):
    (tmp_path / 'detections.json').write_text(text)
    with pytest.raises(BagError, match=r'detections\.json'):
        render_report(ResultFolder(tmp_path))
