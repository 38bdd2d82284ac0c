"""Pixels of a thermal image that hold no measurement."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.flatness import is_flat
from tdfusion_ros.core.no_data import picture_rows
from tdfusion_ros.core.no_data import recognize
from tdfusion_ros.core.no_data import TELEMETRY_ROWS
from tdfusion_ros.core.thermal import ThermalScaler

RADIOMETRIC = Path(__file__).parents[3] / 'shared' / 'data' / 'radiometric' / 'raw16'
RNG = np.random.default_rng(0)
SCENE = cv2.resize(RNG.integers(0, 256, (6, 8)).astype(np.uint8), (320, 240))
COUNTS = np.uint16(7800 + SCENE * 2.0 + RNG.normal(0, 3, SCENE.shape))


def scattered(value, share=0.02, counts=COUNTS):
    return np.where(np.random.default_rng(value).random(COUNTS.shape) < share, value, counts)


def border(value, columns=7):
    counts = COUNTS.copy()
    counts[:, :columns] = value
    return counts


def fish_eye(value):
    y, x = np.indices(COUNTS.shape)
    return np.where(np.hypot(x - 160, y - 120) > 150, np.uint16(value), COUNTS)


def metadata(rows, words):
    below = np.zeros((rows, 320), np.uint16)
    below[:, :80] = words
    return np.vstack((COUNTS, below))


MISSING = {
    'a pixel stuck at 65535': (scattered(65535, 2e-5), 0),
    'a pixel stuck at 0': (scattered(0, 2e-5), 0),
    '2 % of the pixels are 0': (scattered(0), 0),
    '2 % of the pixels are 16383': (scattered(16383), 0),
    '1 % each are 0 and 65535': (scattered(65535, 0.01, scattered(0, 0.01)), 0),
    'a border of zeros': (border(0), 0.02),
    'a border of 65535': (border(65535), 0.02),
    'a round view': (fish_eye(0), 0.175),
    'four rows of metadata': (metadata(4, 12345), 0.01),
    'eight rows of random metadata': (metadata(8, RNG.integers(0, 65536, (8, 80))), 0.03),
}


@pytest.mark.parametrize(('counts', 'unseen'), MISSING.values(), ids=MISSING)
def test_pixels_without_data_do_not_move_the_range_and_holes_are_not_seen(counts, unseen):
    clean, scaler = ThermalScaler(IrConfig()).scale(COUNTS), ThermalScaler(IrConfig())
    scaled = scaler.scale(counts)
    seen = np.ones(counts.shape, bool) if scaler.seen is None else scaler.seen
    assert abs((~seen).mean() - unseen) < 0.02
    assert (~seen).any() == bool(unseen)
    assert (scaled[~seen] == 0).all()
    inside = seen[:240]
    # The pixels that are filled are close to what they would have been.
    np.testing.assert_allclose(scaled[:240][inside], clean[inside], atol=0.12)
    assert np.abs(scaled[:240][inside] - clean[inside]).mean() < 0.02
    assert '% of the pixels' in scaler.remarks['ir.no_data']


def test_rectified_image_loses_its_border_and_the_pixels_mixed_with_it():
    turn = cv2.getRotationMatrix2D((160, 120), 6, 0.95)
    counts = cv2.warpAffine(COUNTS, turn, (320, 240))
    scaler = ThermalScaler(IrConfig())
    scaled = scaler.scale(counts)
    inside = cv2.warpAffine(np.ones((240, 320), np.uint8), turn, (320, 240), flags=0) > 0
    assert (scaler.seen & ~inside).mean() < 0.005  # thin wedges are filled
    assert scaler.seen.sum() > 0.95 * inside.sum()
    low, high = np.percentile(scaled[scaler.seen], (5, 95))
    assert low < 0.25
    assert high > 0.75


@pytest.mark.parametrize('dtype', [np.uint16, np.float32])
def test_scene_with_hot_objects_has_data_everywhere(dtype):
    counts = np.float32(COUNTS)
    cv2.circle(counts, (200, 120), 30, 16383, -1)  # a hot object that saturates
    counts[50:52, 60:62] += 3000  # a fire far away
    counts = cv2.GaussianBlur(counts, (0, 0), 1.0).clip(0, 16383).astype(dtype)
    assert recognize(counts) == {}
    assert picture_rows(counts) == slice(0, 240)
    single = COUNTS.copy()
    single[100, 100] += 10_000
    assert recognize(single) == {}


@pytest.mark.parametrize('value', [-273.15, 0.0, -32768.0, 1e6])
def test_sentinels_among_temperatures_are_recognized(value):
    celsius = np.float32(COUNTS / 100 - 60)
    celsius[:, -12:] = value
    scaler = ThermalScaler(IrConfig())
    scaler.scale(celsius)
    assert not scaler.seen[:, -12:].any()
    assert scaler.seen[:, :-13].all()


def test_recognized_value_stays_so_while_the_scene_comes_closer():
    scaler = ThermalScaler(IrConfig())
    scaler.scale(border(16_383))
    assert not scaler.seen[:, :7].any()
    hot = border(16_383)
    hot[:, 7:] = 7800 + (COUNTS[:, 7:] - 7800) * 16
    assert 15_000 < hot[:, 7:].max() < 16_383
    scaler.scale(hot)
    assert not scaler.seen[:, :7].any()
    scaler.reset()
    scaler.scale(hot)
    assert scaler.seen is None


def test_fire_that_saturates_has_data_also_after_a_pixel_that_is_stuck_there():
    scaler = ThermalScaler(IrConfig())
    stuck = COUNTS.copy()
    stuck[10, 10] = 16_383
    scaler.scale(stuck)
    assert 'value 16383' in scaler.remarks['ir.no_data']
    hot = np.float32(stuck)
    cv2.circle(hot, (200, 120), 20, 24_000, -1)
    scaled = scaler.scale(cv2.GaussianBlur(hot, (0, 0), 1.5).clip(0, 16_383).astype(np.uint16))
    assert scaled[120, 200] == 1
    assert scaler.seen is None


def test_objects_of_a_simulated_camera_have_data():
    """They have one temperature and sharp borders."""
    counts = np.full((240, 320), 29_315, np.uint16)
    counts[:60], counts[100:180, 150:190] = 26_000, 31_000
    counts = counts + np.random.default_rng(6).integers(0, 9, counts.shape).astype(np.uint16)
    counts[100:180, 150:190] = 31_000
    assert recognize(counts) == {}


def test_eight_bits_have_no_pixels_without_data_unless_named_and_none_leaves_all_in():
    picture = SCENE.copy()
    picture[:, :9] = 0
    scaler = ThermalScaler(IrConfig())
    scaler.scale(picture)
    assert scaler.seen is None
    named = ThermalScaler(IrConfig(no_data='0'))
    named.scale(picture)
    assert not named.seen[:, :9].any()
    assert named.seen[:, 9:].mean() > 0.99
    scaler = ThermalScaler(IrConfig(no_data='none'))
    scaler.scale(border(0))
    assert scaler.seen is None
    assert scaler.remarks == {}


def test_image_without_any_data_or_with_everything_cropped_is_refused():
    for empty in (np.zeros((20, 30), np.uint16), np.full((20, 30), np.nan, np.float32)):
        with pytest.raises(FrameError, match='no pixel') as caught:
            ThermalScaler(IrConfig(no_data='0')).scale(empty)
        assert caught.value.cause == 'no_data'
    with pytest.raises(FrameError, match='leaves nothing of 320x240'):
        ThermalScaler(IrConfig(crop='200, 40, 0, 0')).scale(COUNTS)


@pytest.mark.parametrize(
    ('size_hw', 'crop', 'left'),
    [
        ((122, 160), 'auto', (120, 160)),
        ((196, 256), 'auto', (192, 256)),
        ((122, 160), 'none', (122, 160)),
        ((120, 160), 'auto', (120, 160)),
        ((120, 160), '2, 0, 4, 10', (118, 146)),
    ],
)
def test_telemetry_of_known_cores_and_what_is_set_is_cut_off(size_hw, crop, left):
    scaler = ThermalScaler(IrConfig(crop=crop))
    counts = cv2.resize(COUNTS, size_hw[::-1])
    assert scaler.scale(counts).shape == left
    assert ('ir.crop' in scaler.remarks) == (left != size_hw)


@pytest.mark.parametrize('above', [False, True])
@pytest.mark.parametrize('picture', [COUNTS, SCENE], ids=['16 bits', '8 bits'])
@pytest.mark.parametrize('size_hw', TELEMETRY_ROWS)
def test_telemetry_of_a_known_core_is_cut_off_above_or_below_and_not_the_picture(
    size_hw, picture, above
):
    rows = TELEMETRY_ROWS[size_hw]
    picture = cv2.resize(picture, (size_hw[1], size_hw[0] - rows))
    words = RNG.integers(0, 1 + np.iinfo(picture.dtype).max, (rows, size_hw[1]))
    words[:, 80:] = 0
    parts = (words, picture) if above else (picture, words)
    scaler = ThermalScaler(IrConfig())
    wanted = ThermalScaler(IrConfig()).scale(picture)
    sent = np.vstack(parts).astype(picture.dtype)
    np.testing.assert_array_equal(scaler.scale(sent), wanted)
    closed = np.full_like(sent, 1000 if sent.itemsize == 2 else 90)  # the place stays the same
    closed[10:-10] += RNG.integers(0, 9, closed[10:-10].shape).astype(sent.dtype)
    scaler.scale(closed)
    assert scaler.remarks['ir.crop'].startswith(f'left out {rows if above else 0} rows above')


@pytest.mark.skipif(not RADIOMETRIC.is_dir(), reason='no real 16-bit images in ../shared')
@pytest.mark.parametrize('number', range(1, 27))
def test_real_16_bit_image_is_whole_a_scene_and_as_good_with_bad_pixels(number):
    counts = cv2.imread(str(RADIOMETRIC / f'{number:02}.png'), cv2.IMREAD_UNCHANGED)
    assert counts.dtype == np.uint16
    counts = counts.byteswap() if number == 7 else counts  # stored in the other order
    scaler = ThermalScaler(IrConfig(crop='none'))
    clean = scaler.scale(counts)
    assert scaler.seen is None
    assert scaler.remarks == {}
    assert not is_flat(counts)
    other = ThermalScaler(IrConfig(crop='none'))
    np.testing.assert_array_equal(other.scale(counts.byteswap()), clean)
    assert [*other.remarks] == ['is_bigendian']
    assert not is_flat(counts.byteswap())
    bad = counts.copy()
    bad[np.random.default_rng(number).random(counts.shape) < 0.02] = 0
    scaled = scaler.scale(bad)
    assert scaler.seen is None
    assert not is_flat(bad)
    whole = bad == counts
    assert np.abs(scaled - clean)[whole].max() < 0.05
    assert np.abs(scaled - clean).mean() < 0.02
