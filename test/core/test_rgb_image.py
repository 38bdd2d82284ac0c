"""Color frames as networks take them."""

import numpy as np
import pytest

from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.rgb_image import rgb_image

RGB = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


@pytest.mark.parametrize(
    ('pixels', 'expected'),
    [
        (RGB, RGB),
        (RGB[..., ::-1], RGB[..., ::-1]),
        (RGB[..., 0], np.dstack([RGB[..., 0]] * 3)),
        (RGB.astype(np.uint16) * 257, RGB),
        (RGB.astype(np.uint16)[..., ::-1] * 256, RGB[..., ::-1]),
    ],
    ids=['rgb', 'bgr', 'gray', 'rgb16', 'bgr16'],
)
def test_color_and_gray_become_contiguous_rgb_of_eight_bits(pixels, expected):
    image = rgb_image(pixels)
    assert image.flags.c_contiguous
    assert image.dtype == np.uint8
    np.testing.assert_allclose(image.astype(int), expected, atol=1 if pixels.itemsize > 1 else 0)


@pytest.mark.parametrize('dtype', [np.uint16, np.float32])
def test_counts_of_a_thermal_camera_are_no_color_image(dtype):
    with pytest.raises(FrameError, match='are rgb and ir swapped'):
        rgb_image(RGB[..., 0].astype(dtype))
