"""Thermal counts to [0, 1]."""

import cv2
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.thermal import ThermalScaler

BYTES = np.random.default_rng(0).integers(0, 256, (120, 160), np.uint8)


def scene(low=21000, high=23000):
    """Return a 16-bit thermal image whose counts cover part of the range evenly."""
    counts = np.linspace(low, high, 120 * 160).astype(np.uint16)
    return np.random.default_rng(0).permutation(counts).reshape(120, 160)


def scale(counts, **settings):
    return ThermalScaler(IrConfig(**settings)).scale(counts)


@pytest.mark.parametrize('counts', [BYTES, (BYTES / 255).astype(np.float32)])
def test_eight_bits_and_floats_keep_their_scale(counts):
    scaled = scale(counts)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, BYTES / 255, atol=1e-6)
    np.testing.assert_allclose(scale(counts, invert=True), 1 - BYTES / 255, atol=1e-6)


def test_sixteen_bits_are_stretched_between_their_percentiles():
    counts = scene()
    scaled = scale(counts, percentile_low=10.0, percentile_high=90.0)
    low, high = np.percentile(counts, (10, 90))
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, np.clip((counts - low) / (high - low), 0, 1), atol=0.03)


def test_temperatures_are_scaled_as_counts_whatever_their_unit():
    counts = scene()
    expected = scale(counts)
    for celsius in (counts / 100 - 273.15, counts / 1e4 + 5):
        scaled = scale(celsius.astype(np.float32))
        np.testing.assert_allclose(scaled, expected, atol=1e-3)
    holes = np.float32(counts / 100 - 273.15)
    holes[30:60, ::2] = np.nan
    scaled = scale(holes)
    np.testing.assert_allclose(scaled[60:], expected[60:], atol=0.03)
    fixed = scale(holes, normalization='fixed', range_min=-60.0, range_max=-40.0)
    np.testing.assert_allclose(fixed[60:], np.clip((holes[60:] + 60) / 20, 0, 1), atol=1e-4)


def test_a_hot_spot_darkens_the_image_far_less_than_without_smoothing():
    scaler = ThermalScaler(IrConfig())
    before = scaler.scale(scene())
    hot = scene()
    hot[:20] = 30000  # a sixth of the image, so the percentile jumps
    assert np.abs(scale(hot) - before)[20:].max() > 0.7
    assert np.abs(scaler.scale(hot) - before)[20:].max() < 0.3


def test_smoothed_range_follows_a_slow_drift_and_a_lasting_change_and_can_be_reset():
    scaler = ThermalScaler(IrConfig(smoothing=0.5))
    scaler.scale(scene())
    drifted = scene(21400, 23400)  # by a fifth of the range
    assert np.abs(scaler.scale(drifted) - scale(drifted)).max() > 0.05
    for _ in range(20):
        scaled = scaler.scale(drifted)
    np.testing.assert_allclose(scaled, scale(drifted), atol=0.01)
    scaler.reset()
    np.testing.assert_array_equal(scaler.scale(scene()), scale(scene()))


def test_without_smoothing_or_with_a_fixed_range_every_frame_is_scaled_alone():
    scaler = ThermalScaler(IrConfig(smoothing=0.0))
    scaler.scale(scene(0, 1000))
    np.testing.assert_array_equal(scaler.scale(scene()), scale(scene()))
    counts = np.array([[0, 1000, 1500, 2000, 65535]], np.uint16)
    scaled = scale(counts, normalization='fixed', range_min=1000.0, range_max=2000.0)
    np.testing.assert_allclose(scaled, [[0, 0, 0.5, 1, 1]], atol=1e-6)


@pytest.mark.parametrize(
    'changed',
    [
        pytest.param(lambda counts: counts + 6000, id='offset, as after a shutter'),
        pytest.param(lambda counts: counts // 4, id='low gain'),
        pytest.param(lambda counts: counts * 2, id='high gain'),
        pytest.param(lambda counts: 22000 + (counts - 22000.0) / 8, id='gain around the median'),
    ],
)
def test_image_is_right_in_the_first_frame_after_a_change_of_gain_or_offset(changed):
    scaler = ThermalScaler(IrConfig())
    for _ in range(5):
        before = scaler.scale(scene())
    after = scaler.scale(changed(scene()).astype(np.uint16))
    np.testing.assert_allclose(after, before, atol=0.01)


@pytest.mark.parametrize('mode', ['passthrough', 'percentile', 'fixed'])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_inverted_image_is_one_minus_the_other_in_every_mode(mode, dtype):
    settings = {'normalization': mode, 'range_min': 20.0, 'range_max': 200.0}
    counts = BYTES.astype(dtype)
    np.testing.assert_allclose(
        scale(counts, invert=True, **settings), 1 - scale(counts, **settings), atol=1e-6
    )


@pytest.mark.parametrize('color', ['refuse', 'luma'])
def test_three_equal_channels_are_one_and_a_tint_of_jpeg_is_still_gray(color):
    gray = BYTES.clip(4, 251)
    np.testing.assert_array_equal(scale(np.dstack([gray] * 3), color=color), scale(gray))
    tinted = np.dstack([gray + 4, gray, gray - 4]).astype(np.uint8)
    assert np.abs(scale(tinted, color=color) - scale(gray)).max() < 0.02


def test_what_is_cut_off_may_have_colors(demo_pairs):
    picture = demo_pairs[0].ir.pixels
    colors = cv2.applyColorMap(picture, cv2.COLORMAP_INFERNO)
    both = np.vstack([np.dstack([picture] * 3), colors])  # a camera that sends two pictures in one
    np.testing.assert_array_equal(scale(both, crop=f'0, {len(picture)}, 0, 0'), scale(picture))


def test_false_colors_are_refused_or_used_by_their_luma(demo_pairs):
    colored = cv2.applyColorMap(demo_pairs[0].ir.pixels, cv2.COLORMAP_INFERNO)[..., ::-1]
    with pytest.raises(FrameError, match='white-hot') as caught:
        scale(colored)
    assert caught.value.cause == 'bad_encoding'
    luma = cv2.cvtColor(np.ascontiguousarray(colored), cv2.COLOR_RGB2GRAY)
    np.testing.assert_array_equal(scale(colored, color='luma'), scale(luma))


@pytest.mark.parametrize(
    ('settings', 'is_doubtful'),
    [
        ({'normalization': 'fixed', 'range_min': -20.0, 'range_max': 120.0}, True),
        ({'normalization': 'fixed'}, True),
        ({'normalization': 'passthrough'}, True),
        ({'normalization': 'fixed', 'range_min': 20_000.0, 'range_max': 25_000.0}, False),
        ({}, False),
    ],
)
def test_scale_that_leaves_a_few_gray_levels_is_doubted(settings, is_doubtful):
    scaler = ThermalScaler(IrConfig(**settings))
    scaler.scale(scene(22_000, 22_800))
    doubt = scaler.remarks.get('ir.normalization', '')
    assert ('the scene is 220' in doubt) == is_doubtful
    assert ('ir.range_min' in doubt) == is_doubtful


def test_counts_with_interchanged_bytes_are_read_rightly_and_said(demo_pairs):
    counts = demo_pairs[0].ir.pixels.astype(np.uint16) * 8 + 21_000
    scaler = ThermalScaler(IrConfig())
    np.testing.assert_array_equal(scaler.scale(counts.byteswap()), scale(counts))
    np.testing.assert_array_equal(scaler.counts, counts)  # for temperatures
    assert 'is_bigendian in the driver' in scaler.remarks['is_bigendian']


@given(
    st.lists(st.integers(0, 65535), min_size=16, max_size=16),
    st.sampled_from(('passthrough', 'percentile', 'fixed')),
)
def test_hotter_is_never_darker_and_all_is_between_0_and_1(values, mode):
    counts = np.array(values, np.uint16).reshape(4, 4)
    scaled = scale(counts, normalization=mode).ravel()
    assert scaled.min() >= 0
    assert scaled.max() <= 1
    assert (np.diff(scaled[np.argsort(counts.ravel(), kind='stable')]) >= 0).all()
