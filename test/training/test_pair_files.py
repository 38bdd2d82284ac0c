import struct
import zlib

import numpy as np
import pytest

cv2 = pytest.importorskip('cv2')

from tdfusion_ros.core.config import IrConfig  # noqa: E402
from tdfusion_ros.core.errors import FusionError  # noqa: E402
from tdfusion_ros.core.thermal import ThermalScaler  # noqa: E402
from training.data.pair_files import read_ir  # noqa: E402
from training.data.pair_files import read_mask  # noqa: E402
from training.data.pair_files import read_rgb  # noqa: E402

HW = (6, 10)


@pytest.fixture
def numbers():
    """Return class numbers 0 to 3 and some unlabeled pixels."""
    mask = np.random.default_rng(0).integers(0, 4, HW, dtype=np.uint8)
    mask[0, :3] = 255
    return mask


def png(samples, depth=8, kind=3, extra=b''):
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
    end = chunk(b'IEND', b'')
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + palette + data + end


def test_a_gray_mask_comes_back_as_written(tmp_path, numbers):
    cv2.imwrite(str(tmp_path / 'a.png'), numbers)
    np.testing.assert_array_equal(read_mask(tmp_path / 'a.png', HW, 4, 255), numbers)


def test_a_palette_mask_keeps_its_indices_whatever_its_colors(tmp_path, numbers):
    path = tmp_path / 'a.png'
    path.write_bytes(png(numbers))
    assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).ndim == 3  # why OpenCV alone will not do
    np.testing.assert_array_equal(read_mask(path, HW, 4, 255), numbers)


@pytest.mark.parametrize('kind', [0, 3])
@pytest.mark.parametrize('depth', [1, 2, 4])
def test_a_mask_of_few_bits_keeps_its_numbers(tmp_path, depth, kind):
    mask = np.random.default_rng(0).integers(0, 2**depth, HW, dtype=np.uint8)
    path = tmp_path / 'a.png'
    path.write_bytes(png(mask, depth, kind))
    np.testing.assert_array_equal(read_mask(path, HW, 2**depth, 255), mask)


def test_another_ignore_index_becomes_255(tmp_path, numbers):
    numbers[numbers == 255] = 3
    cv2.imwrite(str(tmp_path / 'a.png'), numbers)
    mask = read_mask(tmp_path / 'a.png', HW, 3, ignore_index=3)
    np.testing.assert_array_equal(mask == 255, numbers == 3)


def test_an_unknown_mask_value_is_named_with_its_file(tmp_path, numbers):
    cv2.imwrite(str(tmp_path / 'a.png'), numbers)
    with pytest.raises(FusionError, match=r'a\.png contains the value 3.*0 to 2.*correct'):
        read_mask(tmp_path / 'a.png', HW, 3, 255)


def test_a_mask_of_another_size_than_its_pair_says_both_sizes(tmp_path, numbers):
    cv2.imwrite(str(tmp_path / 'a.png'), numbers)
    with pytest.raises(FusionError, match=r'a\.png is 10x6, its pair is 6x10'):
        read_mask(tmp_path / 'a.png', (10, 6), 4, 255)


@pytest.mark.parametrize(
    'image', [np.zeros((*HW, 3), np.uint8), np.zeros(HW, np.uint16)], ids=['color', '16 bits']
)
def test_a_mask_that_is_not_an_index_image_is_refused(tmp_path, image):
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    with pytest.raises(FusionError, match='one class index'):
        read_mask(tmp_path / 'a.png', HW, 4, 255)


def test_a_mask_in_a_lossy_format_is_refused(tmp_path, numbers):
    cv2.imwrite(str(tmp_path / 'a.jpg'), numbers)
    with pytest.raises(FusionError, match='as a PNG'):
        read_mask(tmp_path / 'a.jpg', HW, 4, 255)


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.webp'])
@pytest.mark.parametrize('read', [read_rgb, read_ir])
def test_a_truncated_image_is_an_error_not_a_half_gray_image(tmp_path, small_pairs, suffix, read):
    path = tmp_path / f'a{suffix}'
    cv2.imwrite(str(path), small_pairs[0][0])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(FusionError, match=rf'a\{suffix} '):
        read(path)


def test_an_empty_file_and_a_missing_one_are_named(tmp_path):
    (tmp_path / 'a.png').touch()
    with pytest.raises(FusionError, match=r'a\.png '):
        read_ir(tmp_path / 'a.png')
    with pytest.raises(FusionError, match=r'b\.png cannot be read'):
        read_ir(tmp_path / 'b.png')


def test_infrared_of_sixteen_bits_is_scaled_as_the_node_scales_it_not_cut_to_eight(tmp_path):
    counts = np.linspace(21_000, 24_000, HW[0] * HW[1]).astype(np.uint16).reshape(HW)
    cv2.imwrite(str(tmp_path / 'a.png'), counts)
    ir = read_ir(tmp_path / 'a.png')
    assert ir.dtype == np.uint8
    scaled = ThermalScaler(IrConfig()).scale(counts)
    np.testing.assert_allclose(ir / 255, scaled, atol=0.5 / 255 + 1e-6)
    assert ir.max() - ir.min() == 255


def test_infrared_in_false_colors_is_refused_naming_the_file(tmp_path, small_pairs):
    path = tmp_path / 'a.png'
    cv2.imwrite(str(path), cv2.applyColorMap(small_pairs[0][1], cv2.COLORMAP_JET))
    with pytest.raises(FusionError, match=r'a\.png is in false colors.*gray'):
        read_ir(path)
