"""Reports of the folders that ``tdfusion fuse`` writes."""

import base64
import json

import cv2
import numpy as np
import pytest

from tdfusion_ros.cli import main
from tdfusion_ros.core.errors import BagError
from tdfusion_ros.tools.view.report import render_report
from tdfusion_ros.tools.view.result_folder import ResultFolder


def fuse(*arguments):
    assert main(['fuse', *map(str, arguments), '-p', 'backend=cpu']) == 0


def shown(page):
    files = [base64.b64decode(uri.partition('base64,')[2]) for uri in page.images]
    return [cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) for data in files]


def test_a_folder_made_of_a_bag_has_the_report_of_the_bag(
    write_bag, demo_records, tmp_path, make, capsys
):
    bag = write_bag(tmp_path / 'bag', demo_records)
    pages = []
    for to in ('bag', 'folder'):
        out = tmp_path / to / 'out'
        fuse(bag, '-o', out, '--to', to, '--overlay')
        assert f'look at it: tdfusion view {out} --inputs {bag}' in capsys.readouterr().out
        html = tmp_path / f'{to}.html'
        assert main(['view', str(out), '--inputs', str(bag), '-o', str(html)]) == 0
        pages.append(make.page(html.read_text(encoding='utf-8')))
    of_bag, of_folder = pages
    assert '6 of 6 possible pairs fused' in of_folder.text
    assert of_folder.table('class') == of_bag.table('class')
    assert len(of_folder.images) == len(of_bag.images) == 18
    for one, other in zip(shown(of_folder), shown(of_bag), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_folder_made_of_folders_claims_no_times(folders, tmp_path, make, capsys):
    for folder in folders:
        for number, path in enumerate(sorted(folder.iterdir())):
            path.rename(folder / f'{number:03d}.png')
    fuse(*folders, '-o', tmp_path / 'out')
    assert f'look at it: tdfusion view {tmp_path / "out"}' in capsys.readouterr().out
    page = make.page(render_report(ResultFolder(tmp_path / 'out')))
    assert '3 results' in page.text
    assert all(f'image {number}' in page.text for number in (1, 2, 3))
    assert 'Hz' not in page.text.replace('rate [Hz]', '')
    assert 'the first stamp' not in page.html
    assert len(page.images) == 3
    found = json.loads((tmp_path / 'out' / 'detections.json').read_text())
    assert f'{sum(map(len, found.values()))} detections, in ' in page.text


@pytest.mark.parametrize(
    'text', ['{', '[]', '{"a": 3}', '{"a": [{"class": "person"}]}', '{"../a": []}', '[' * 10000]
)
def test_detections_that_cannot_be_read_are_named(tmp_path, text):
    (tmp_path / 'detections.json').write_text(text)
    with pytest.raises(BagError, match=r'detections\.json'):
        render_report(ResultFolder(tmp_path))
