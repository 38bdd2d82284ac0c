"""When a thermal image shows nothing, however bad some of its pixels are."""

import cv2
import numpy as np
import pytest

from tdfusion_ros.core.camera_monitor import probe
from tdfusion_ros.core.flatness import is_flat

RNG = np.random.default_rng(0)
SCENE = cv2.resize(RNG.integers(0, 256, (6, 8)).astype(np.uint8), (320, 256))
BLACK = np.zeros((256, 320), np.uint8)


def shutter(dtype, sigma, columns=0.0):
    """Return the image of a closed shutter: noise, perhaps with a column pattern."""
    rng = np.random.default_rng(1)
    level = 128 if dtype == np.uint8 else 8000
    counts = rng.normal(level, sigma, (256, 320)) + rng.normal(0, columns, 320)
    return counts.astype(dtype)


@pytest.mark.parametrize(
    'image',
    [
        BLACK,
        np.full((256, 320), 8000, np.uint16),
        shutter(np.uint8, 0.5),
        shutter(np.uint8, 20),  # stretched by an automatic gain control
        shutter(np.uint16, 8),
        shutter(np.uint16, 8, columns=20),
    ],
)
def test_closed_shutter_is_flat_at_any_level_and_noise(image):
    assert is_flat(probe(image))


def test_no_real_ir_image_is_flat(demo_pairs):
    for pair in demo_pairs:
        assert not is_flat(probe(pair.ir.pixels))
        assert not is_flat(probe(pair.ir.pixels.astype(np.uint16) + 21000))


def test_faint_scene_and_small_hot_object_on_an_even_ground_are_not_flat():
    faint = SCENE / 255 * 60 + RNG.normal(8000, 5, SCENE.shape)
    assert not is_flat(probe(faint.astype(np.uint16)))
    counts = np.uint16(RNG.normal(7800, 3, (240, 320)))
    counts[100:116, 150:158] += 150  # a person of 16 pixels' height
    blurred = cv2.GaussianBlur(counts, (0, 0), 1.0)
    assert not is_flat(probe(blurred))


COUNTS = np.uint16(7800 + SCENE * 1.5 + RNG.normal(0, 3, SCENE.shape))


def with_pixel(value):
    counts = COUNTS.copy()
    counts[128, 160] = counts[129, 161] = value
    return counts


def with_telemetry(rows, *, above):
    words = np.zeros((rows, 320), np.uint16)
    words[:, :80] = np.random.default_rng(2).integers(0, 65536, (rows, 80))
    return np.vstack((words, COUNTS) if above else (COUNTS, words))


BAD = {
    'a pixel stuck at the highest count': with_pixel(65535),
    'a pixel stuck at 0': with_pixel(0),
    'a spot that is 100 K hotter': with_pixel(17800),
    'two rows of telemetry below': with_telemetry(2, above=False),
    'four rows of telemetry above': with_telemetry(4, above=True),
    '3 % of the pixels without data': np.where(RNG.random(COUNTS.shape) < 0.03, 0, COUNTS),
    'columns that are not corrected': np.uint16(COUNTS + RNG.normal(0, 150, 320)),
    'a black border': cv2.copyMakeBorder(COUNTS, 9, 9, 20, 20, cv2.BORDER_CONSTANT),
    'the bytes of each count are interchanged': COUNTS.byteswap(),
    'no value in half of the image': np.where(np.arange(320) < 160, np.nan, COUNTS / 100),
}


@pytest.mark.parametrize('image', BAD.values(), ids=BAD)
@pytest.mark.parametrize('size', [80, 160, 320])
def test_bad_pixels_do_not_make_a_scene_flat(image, size):
    start = (image.shape[1] - size) // 2
    image = image[:, start : start + size]
    assert not is_flat(probe(np.float32(image) if image.dtype == float else image))


@pytest.mark.parametrize(
    'change', [lambda c: c[::-1], lambda c: cv2.copyMakeBorder(c, 9, 9, 9, 9, cv2.BORDER_CONSTANT)]
)
@pytest.mark.parametrize('value', [0, 65535, 12345])
def test_bad_pixels_do_not_make_a_closed_shutter_a_scene(change, value):
    counts = shutter(np.uint16, 8, columns=20)
    counts[40, 50] = counts[:, 70] = value
    assert is_flat(probe(change(counts)))
