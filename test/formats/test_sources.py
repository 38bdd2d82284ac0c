"""Frame pairs from bags and folders."""

import copy
import re

import cv2
import numpy as np
import pytest

from tdfusion_ros.core.config import from_mapping
from tdfusion_ros.core.errors import BagError
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.sources import BagSource
from tdfusion_ros.formats.sources import FolderSource

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def pairs_of(bag, **settings):
    with BagReader(bag) as reader:
        source = BagSource(reader, reader.find(), from_mapping(settings))
        return list(source), source.dropped


def folders(tmp_path, rgb=('a.png', 'b.png'), ir=('a.png', 'b.png')):
    for name, files in (('rgb', rgb), ('ir', ir)):
        (tmp_path / name).mkdir()
        for file in files:
            cv2.imwrite(str(tmp_path / name / file), IMAGE if name == 'rgb' else IMAGE[..., 0])
    return tmp_path / 'rgb', tmp_path / 'ir'


def test_pairs_lost_to_a_camera_that_is_late_in_the_bag_come_back_with_what_is_advised(
    write_bag, demo_records, tmp_path
):
    late = [
        (topic, time_ns + 700_000_000 * topic.startswith('/ir/image'), message)
        for topic, time_ns, message in demo_records
    ]
    bag = write_bag(tmp_path / 'bag', sorted(late, key=lambda record: record[1]))
    with BagReader(bag) as reader:
        source = BagSource(reader, reader.find(), from_mapping({}))
        found = len([pair for pair in source if pair.mode == 'fused'])
        remarks = '; '.join(source.remarks())
    lost = re.search('lost as one image comes late in the bag: ([1-9]+)', remarks)
    advised = {n: int(v) for n, v in re.findall(r'(sync\.\S+) to (\d+)', remarks)}
    pairs, _ = pairs_of(bag, **advised)
    assert len(pairs) == found + int(lost[1])


@pytest.mark.parametrize(
    ('data', 'cause'),
    [
        (lambda good: good[:1000], 'rgb.truncated'),
        (lambda _: cv2.imencode('.jpg', IMAGE)[1].reshape(-1), 'rgb.size_changed'),
    ],
)
def test_bad_frame_is_counted_and_others_paired(write_bag, demo_records, tmp_path, data, cause):
    records = [list(record) for record in demo_records]
    rgb = [record for record in records if record[0].startswith('/rgb/image')]
    rgb[2][2] = copy.copy(rgb[2][2])
    rgb[2][2].data = data(rgb[2][2].data)
    pairs, dropped = pairs_of(write_bag(tmp_path / 'bag', records))
    assert dropped[cause] == 1
    assert len(pairs) == len(rgb) - 1


def test_images_of_folders_pair_by_stem_with_any_suffix_and_keep_their_counts(tmp_path):
    rgb, ir = folders(tmp_path, ('b.png', 'a.PNG'), ('a.bmp', 'b.tiff'))
    for name in ('notes.txt', '._a.png'):
        (rgb / name).write_text('not an image')
    counts = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 20
    cv2.imwrite(str(ir / 'b.tiff'), counts)
    source = FolderSource(rgb, ir)
    first, second = source
    assert (first.name, second.name, source.total) == ('a', 'b', 2)
    np.testing.assert_array_equal(first.rgb.pixels, IMAGE[..., ::-1])
    np.testing.assert_array_equal(first.ir.pixels, IMAGE[..., 0])
    np.testing.assert_array_equal(second.ir.pixels, counts)


@pytest.mark.parametrize(
    ('names', 'pairs'),
    [
        (('1_rgb', '1_ir', '2_rgb', '2_ir'), ['1', '2']),
        (('Thermal_1', 'visible_1'), ['1']),
        (('1', '1_ir'), ['1']),
        (('DJI_1_W', 'DJI_1_T'), ['DJI_1']),
    ],
)
def test_one_folder_of_both_cameras_is_paired_by_the_names_of_the_cameras(tmp_path, names, pairs):
    for name in names:
        pixels = IMAGE[..., 0] if name.lower().startswith('t') or name[-1] in 'rT' else IMAGE
        cv2.imwrite(str(tmp_path / f'{name}.png'), pixels)
    found = list(FolderSource(tmp_path, tmp_path / '.'))
    assert [pair.name for pair in found] == pairs
    assert {(p.rgb.pixels.ndim, p.ir.pixels.ndim) for p in found} == {(3, 2)}


@pytest.mark.parametrize(
    ('names', 'reason'),
    [
        (('a', 'b'), 'must be named for them, such as 0001_rgb.png'),
        (('1_rgb', '1_ir', '2_ir'), "1 image has no partner of the same stem, the first is '2'"),
        (('1_W', '1_Z', '1_T'), '1_W.png and .*1_Z.png are of one pair'),
    ],
)
def test_one_folder_that_does_not_hold_pairs_is_refused(tmp_path, names, reason):
    for name in names:
        cv2.imwrite(str(tmp_path / f'{name}.png'), IMAGE)
    with pytest.raises(BagError, match=reason):
        FolderSource(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ('rgb', 'ir', 'named'),
    [
        ((), ('a.png',), 'rgb has no images'),
        (('a.png',), ('b.png',), "2 images have no partner .*'a' in .*rgb; give both"),
        (('a.png',), ('a.png', 'b.png'), "'b' in .*ir"),
        (('a.png', 'a.bmp'), ('a.png',), r'rgb/a.bmp and .*rgb/a.png have the same stem'),
    ],
)
def test_folders_that_do_not_fit_are_refused_naming_the_file(tmp_path, rgb, ir, named):
    with pytest.raises(BagError, match=named):
        FolderSource(*folders(tmp_path, rgb, ir))
