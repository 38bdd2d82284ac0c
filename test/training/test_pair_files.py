import re
import struct
import zlib

import cv2
import numpy as np
from PIL import Image
import pytest

from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.thermal import ThermalScaler
from tdfusion_ros.formats.decode import decode_image
from training.data.datasets import open_dataset
from training.data.pair_files import read_mask
from training.data.pair_files import read_rgb
from training.data.pair_files import read_thermal

HW = (6, 10)
MASK = np.random.default_rng(0).integers(0, 4, HW, dtype=np.uint8)


def png(samples, depth, kind):
    """Return an index PNG, made by hand: kind 3 with a palette of random colors, 0 without."""

    def chunk(name, data):
        check = zlib.crc32(name + data)
        return struct.pack('>I', len(data)) + name + data + struct.pack('>I', check)

    bits = np.unpackbits(samples[..., None], axis=2)[..., 8 - depth :]
    rows = b''.join(b'\0' + np.packbits(row.ravel()).tobytes() for row in bits)
    colors = np.random.default_rng(1).integers(0, 256, 3 * 2**depth, dtype=np.uint8)
    header = struct.pack('>IIBBBBB', samples.shape[1], samples.shape[0], depth, kind, 0, 0, 0)
    palette = chunk(b'PLTE', colors.tobytes()) + chunk(b'tRNS', bytes([0, 9])) if kind else b''
    data = chunk(b'IDAT', zlib.compress(rows))
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + palette + data + chunk(b'IEND', b'')


@pytest.mark.parametrize('kind', [0, 3], ids=['gray', 'palette'])
@pytest.mark.parametrize('depth', [1, 2, 4, 8])
def test_a_mask_keeps_its_indices_whatever_its_bits_and_colors(tmp_path, depth, kind):
    mask = np.random.default_rng(0).integers(0, 2**depth, HW, dtype=np.uint8)
    (tmp_path / 'a.png').write_bytes(png(mask, depth, kind))
    np.testing.assert_array_equal(read_mask(tmp_path / 'a.png', HW, 2**depth, 255), mask)


def test_another_ignore_index_becomes_255(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), MASK)
    read = read_mask(tmp_path / 'a.png', HW, 3, ignore_index=3)
    np.testing.assert_array_equal(read == 255, MASK == 3)


@pytest.mark.parametrize(
    ('name', 'mask', 'message'),
    [
        ('a.png', MASK, r'a\.png contains the value 3.*0 to 2.*correct'),
        ('a.png', MASK.T, r'a\.png is 6x10, its pair is 10x6'),
        ('a.png', np.dstack([MASK] * 3), 'one class index'),
        ('a.png', MASK.astype(np.uint16), 'one class index'),
        ('a.jpg', MASK, 'as a PNG'),
    ],
    ids=['value', 'size', 'color', '16 bits', 'jpeg'],
)
def test_a_wrong_mask_is_named_with_what_is_wrong(tmp_path, name, mask, message):
    cv2.imwrite(str(tmp_path / name), mask)
    with pytest.raises(FusionError, match=message):
        read_mask(tmp_path / name, HW, 3, 255)


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.webp'])
@pytest.mark.parametrize('read', [read_rgb, read_thermal])
def test_a_truncated_image_is_an_error_not_a_half_gray_image(tmp_path, small_pairs, suffix, read):
    path = tmp_path / f'a{suffix}'
    cv2.imwrite(str(path), small_pairs[0][0])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FusionError, match=rf'a\{suffix} '):
        read(path)


def test_images_that_cannot_be_read_or_used_are_named(tmp_path, small_pairs):
    (tmp_path / 'empty.png').touch()
    colors = cv2.applyColorMap(small_pairs[0][1], cv2.COLORMAP_JET)
    cv2.imwrite(str(tmp_path / 'jet.png'), colors)
    messages = {'empty': '', 'gone': 'cannot be read', 'jet': 'is in false colors.*gray'}
    for name, message in messages.items():
        with pytest.raises(FusionError, match=rf'{name}\.png {message}'):
            read_thermal(tmp_path / f'{name}.png')


def robot_ir(path):
    return ThermalScaler(IrConfig()).scale(decode_image(np.fromfile(path, np.uint8)))


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
@pytest.mark.parametrize('tint', [None, 0, 4])
def test_training_reads_infrared_as_the_robot_does(tmp_path, small_pairs, suffix, tint):
    ir = small_pairs[0][1].clip(8, 247)
    path = tmp_path / f'a{suffix}'
    cv2.imwrite(str(path), ir if tint is None else np.dstack([ir + tint, ir, ir - tint]))
    np.testing.assert_allclose(read_thermal(path)[0] / 255, robot_ir(path), rtol=0, atol=1e-7)


def test_infrared_of_sixteen_bits_is_scaled_as_on_the_robot_not_cut_to_eight(tmp_path):
    counts = np.linspace(21_000, 24_000, HW[0] * HW[1]).astype(np.uint16).reshape(HW)
    cv2.imwrite(str(tmp_path / 'a.png'), counts)
    ir, _ = read_thermal(tmp_path / 'a.png')
    assert (ir.dtype, ir.min(), ir.max()) == (np.uint8, 0, 255)
    np.testing.assert_allclose(ir / 255, robot_ir(tmp_path / 'a.png'), atol=0.5 / 255 + 1e-6)


def test_infrared_is_registered_by_the_calibration_in_the_folder_of_its_data_set(write_files):
    ramp = np.tile(np.arange(32, dtype=np.uint8) * 4, (24, 1))
    root = write_files({'rgb/a.png': np.zeros((48, 64, 3), np.uint8), 'ir/a.png': ramp})
    with pytest.raises(FusionError, match=r'a\.png is 32x24, .*calibration\.yaml'):
        open_dataset(root, 'all').check()
    text = 'mode: homography\nhomography: [[0.5, 0, 8], [0, 0.5, 0], [0, 0, 1]]'
    (root / 'calibration.yaml').write_text(text, encoding='utf-8')
    data = open_dataset(root, 'all')
    assert f'ir is registered by {root}/calibration.yaml' in data.check()
    x = np.arange(64)  # the ramp has 4 levels for each of its pixels, x / 2 + 8
    expected = np.tile(np.where(x < 48, 2 * x + 32, 0), (48, 1))
    np.testing.assert_allclose(data[0].ir[:, :46], expected[:, :46], atol=1)
    assert not data[0].ir[:, 48:].any()
    np.testing.assert_array_equal(data[0].coverage[24] > 0, x < 48)


def test_names_of_a_pair_may_end_in_its_cameras(write_files):
    coco = (
        '{"images": [{"id": 1, "file_name": "a_rgb.png"}, {"id": 2, "file_name": "b_rgb.png"}],'
        '"categories": [{"id": 5, "name": "goat"}],'
        '"annotations": [{"image_id": 2, "category_id": 5, "bbox": [6, 0, 4, 3]}]}'
    )
    pairs = {f'rgb/{name}_rgb.png': np.dstack([MASK] * 3) for name in 'ab'}
    pairs |= {f'ir/{name}_IR.png': MASK for name in 'ab'}
    root = write_files(pairs | {'splits/val.txt': 'b_rgb.png\n', 'annotations.json': coco})
    (sample,) = open_dataset(root, 'val')
    assert (sample.name, sample.boxes_xyxy.tolist()) == ('b', [[6, 0, 10, 3]])


@pytest.mark.parametrize(
    ('cameras', 'remark'),
    [
        (['rgb'], r'^2 of 2 pairs: .*rgb/a\.png has the EXIF orientation 3, '),
        (
            ['rgb', 'ir'],
            r'^2 of 2 pairs: .*rgb/a\.png and .* orientation 3, .*: labels must be of',
        ),
    ],
)
def test_orientations_are_remarked_and_not_applied(write_files, cameras, remark):
    rgb = np.random.default_rng(1).integers(0, 256, (*HW, 3), dtype=np.uint8)
    root = write_files({f'rgb/{name}.png': rgb for name in 'ab'})
    write_files({f'ir/{name}.png': MASK for name in 'ab'})
    exif = Image.Exif()
    exif[274] = 3
    for path in (path for camera in cameras for path in (root / camera).iterdir()):
        with Image.open(path) as picture:
            picture.save(path, exif=exif)
    dataset = open_dataset(root, 'all')
    assert re.search(remark, dataset.check()[-1])
    np.testing.assert_array_equal(dataset[0].rgb[..., ::-1], rgb)
