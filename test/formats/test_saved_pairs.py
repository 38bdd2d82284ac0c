"""Pairs as files: complete or not at all, never overwritten, never outside of their folder."""

import json

import cv2
import numpy as np
import pytest

from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.errors import RequestError
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.formats.image_files import read_image
from tdfusion_ros.formats.saved_pairs import save_pair

RNG = np.random.default_rng(0)


def pair(stamp_ns=5, ir_dtype=np.uint16):
    rgb = Frame(RNG.integers(0, 256, (6, 8, 3), np.uint8), stamp_ns, 'rgb', 'bgr8')
    ir = Frame((RNG.random((6, 8)) * 255).astype(ir_dtype), stamp_ns + 3_000_000, 'ir')
    return FramePair(rgb, ir, 'fused', rgb, 3_000_000)


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob('*') if p.is_file())


@pytest.mark.parametrize(
    ('dtype', 'suffix'), [(np.uint8, '.png'), (np.uint16, '.png'), (np.float32, '.tiff')]
)
def test_images_and_temperatures_are_stored_without_loss(tmp_path, dtype, suffix):
    given = pair(ir_dtype=dtype)
    if dtype == np.float32:
        given.ir.pixels[0, 0] = np.nan
    path = save_pair(str(tmp_path / 'new' / 'folder'), given, {'model': 'm'})
    root = path.parents[1]
    rgb = cv2.imread(str(root / 'rgb' / f'{path.stem}.png'), cv2.IMREAD_UNCHANGED)
    ir = read_image(root / 'ir' / f'{path.stem}{suffix}')
    np.testing.assert_array_equal(rgb[..., ::-1], given.rgb.pixels)
    np.testing.assert_array_equal(ir, given.ir.pixels)
    assert ir.dtype == dtype
    meta = json.loads(path.read_text())
    assert (meta['skew_ms'], meta['model'], meta['rgb']['encoding']) == (3.0, 'm', 'bgr8')


def test_pairs_of_one_stamp_are_both_kept_and_stems_sort_as_stamps_do(tmp_path):
    first = save_pair(str(tmp_path), pair(0), {})
    content = first.read_bytes(), (tmp_path / 'ir' / f'{first.stem}.png').read_bytes()
    second = save_pair(str(tmp_path), pair(0), {})
    assert second != first
    assert content == (first.read_bytes(), (tmp_path / 'ir' / f'{first.stem}.png').read_bytes())
    assert len(files(tmp_path)) == 6
    stamps = (9, 10, 1_700_000_000_000_000_000)
    stems = [save_pair(str(tmp_path), pair(stamp), {}).stem for stamp in stamps]
    assert stems == sorted(stems)


@pytest.mark.parametrize('folder', ['', 'pairs', './pairs', '../pairs'])
def test_a_relative_folder_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match='absolute'):
        save_pair(folder, pair(), {})
    assert not files(tmp_path)


@pytest.mark.parametrize('kind', ['rgb', 'ir', 'meta'])
def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path, kind):
    root, outside = tmp_path / 'root', tmp_path / 'outside'
    root.mkdir()
    outside.mkdir()
    (root / kind).symlink_to(outside)
    with pytest.raises(RequestError, match='leads out'):
        save_pair(str(root), pair(), {})
    assert not files(tmp_path)


def test_a_folder_that_is_a_link_itself_is_accepted(tmp_path):
    (tmp_path / 'disk').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path / 'disk')
    assert save_pair(str(tmp_path / 'link'), pair(), {}).is_file()


def test_a_file_in_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / 'rgb').write_text('')
    with pytest.raises(RequestError, match='save_folder'):
        save_pair(str(tmp_path), pair(), {})
