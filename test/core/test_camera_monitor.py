"""When an image is new or flat, and when a camera has stalled. Times in ms."""

import cv2
import numpy as np
import pytest

from tdfusion_ros.core.camera_monitor import CameraMonitor
from tdfusion_ros.core.camera_monitor import exposure
from tdfusion_ros.core.camera_monitor import is_repeated
from tdfusion_ros.core.camera_monitor import probe
from tdfusion_ros.core.data import Frame

NS = 1_000_000  # in a millisecond
STALL_MS = 200
RNG = np.random.default_rng(0)
SCENE = cv2.resize(RNG.integers(0, 256, (6, 8)).astype(np.uint8), (320, 256))
BLACK = np.zeros((256, 320), np.uint8)


def noisy(seed):
    """Return the scene as a sensor measures it, with a noise of less than a level."""
    noise = np.random.default_rng(seed).normal(0, 0.3, SCENE.shape)
    return np.clip(np.rint(SCENE + noise), 0, 255).astype(np.uint8)


NEW = [noisy(seed) for seed in range(8)]


def new_images(count):
    return [NEW[i % len(NEW)] for i in range(count)]


def monitor_of(*, is_ir=True, stall_ms=STALL_MS):
    return CameraMonitor(stall_ms * NS, 2000 * NS, is_ir=is_ir)


def faults_of(images, period_ms=33.3, *, other_changes=True, **settings):
    """Send images with another camera; return the fault after each."""
    monitor, faults = monitor_of(**settings), []
    for i, image in enumerate(images):
        stamp_ns = round(i * period_ms * NS)
        monitor.update_other(stamp_ns, new=other_changes)
        monitor.update(Frame(image, stamp_ns))
        faults.append(monitor.fault)
    return faults


def missing_from(monitor, until_ms, period_ms=33.3, start_ms=0.0):
    """Let only the other camera send; return when this one counts as missing [ms]."""
    for ms in np.arange(start_ms, until_ms, period_ms):
        monitor.update_other(round(ms * NS), new=True)
        if monitor.fault == 'missing':
            return ms
    return None


@pytest.mark.parametrize('size_hw', [(120, 160), (256, 320), (480, 640), (1024, 1280), (1, 1)])
@pytest.mark.parametrize('channels', [(), (3,)])
def test_size_of_a_probe_does_not_grow_with_the_image(size_hw, channels):
    grid = probe(np.zeros((*size_hw, *channels), np.uint16))
    assert grid.ndim == 2
    assert min(10_000, size_hw[0] * size_hw[1]) <= grid.size <= 40_000


def test_noise_size_and_type_make_an_image_new_but_a_clock_or_telemetry_does_not():
    for before in (NEW[1], NEW[0][:100], NEW[0].astype(np.uint16)):
        assert not is_repeated(probe(NEW[0]), probe(before))
    assert not is_repeated(probe(NEW[0]), None)
    large = cv2.resize(NEW[0], (640, 512))
    clock, telemetry = large.copy(), large.copy()
    clock[8:16, 8:40] = 255
    telemetry[:2] = RNG.integers(0, 256, (2, 640))
    for changed in (clock, telemetry):
        assert is_repeated(probe(changed), probe(large))


@pytest.mark.parametrize(
    ('pixels', 'state'),
    [
        (np.full((64, 64, 3), 3, np.uint8), 'dark'),
        (np.full((64, 64, 3), 255, np.uint8), 'saturated'),
        (np.dstack([SCENE] * 3), 'ok'),
    ],
)
def test_rgb_at_night_or_against_the_sun_has_a_state_and_no_fault(pixels, state):
    assert exposure(probe(pixels)) == state
    monitor = monitor_of(is_ir=False)
    monitor.update(Frame(pixels, 0))
    assert (monitor.image_state, monitor.fault) == (state, '')


ONE_REPEATED = new_images(10)
ONE_REPEATED[7] = ONE_REPEATED[6]


@pytest.mark.parametrize(
    ('images', 'settings'),
    [
        pytest.param(new_images(40), {}, id='new images'),
        pytest.param(
            [image for image in new_images(30) for _ in range(3)],
            {'period_ms': 1000 / 27},
            id='slow core whose driver sends each image three times',
        ),
        pytest.param(ONE_REPEATED, {'period_ms': 117}, id='slow camera repeats one image'),
        pytest.param(ONE_REPEATED, {'period_ms': 1000}, id='1 Hz camera repeats one image'),
        pytest.param([NEW[0]] * 40, {'other_changes': False}, id='stills in both cameras'),
        pytest.param([np.dstack([BLACK] * 3)] * 60, {'is_ir': False}, id='rgb at night'),
        pytest.param([NEW[0]] * 60, {'stall_ms': 0, 'period_ms': 50}, id='frozen, check off'),
        pytest.param([BLACK] * 60, {'stall_ms': 0, 'period_ms': 50}, id='flat, check off'),
    ],
)
def test_working_camera_has_no_fault(images, settings):
    assert set(faults_of(images, **settings)) == {''}


def test_frozen_image_is_a_fault_after_the_stall_time_and_a_flat_one_at_once():
    faults = faults_of([*new_images(10), *[NEW[1]] * 20, *new_images(5)], period_ms=50)
    # The tenth image is NEW[1]; the others repeat it, 50 ms apart.
    assert faults == [''] * 14 + ['frozen'] * 16 + [''] * 5
    faults = faults_of([*new_images(3), BLACK, BLACK, *new_images(3)])
    assert faults == ['', '', '', 'flat', 'flat', '', '', '']


def test_silent_camera_is_missing_after_the_stall_time_or_the_start_time():
    monitor = monitor_of()
    for i in range(10):
        monitor.update_other(i * 33 * NS, new=True)
        monitor.update(Frame(NEW[i % 8], i * 33 * NS))
    assert STALL_MS < missing_from(monitor, 2000, start_ms=330.0) - 9 * 33 <= STALL_MS + 34
    monitor.update(Frame(NEW[0], 3000 * NS))
    assert monitor.fault == ''
    assert 2000 < missing_from(monitor_of(), 5000) < 2100
    assert missing_from(monitor_of(stall_ms=0), 60_000) is None


def test_slow_camera_is_missing_only_after_two_and_a_half_of_its_periods():
    monitor = monitor_of()
    for ms in range(0, 5000, 1000):
        monitor.update(Frame(NEW[ms // 1000], ms * NS))
        missing_from(monitor, ms + 900, start_ms=float(ms))
    monitor.update(Frame(NEW[7], 5000 * NS))
    assert 2400 < missing_from(monitor, 9000, start_ms=5000.0) - 5000 < 2600


def test_pause_of_both_cameras_is_no_stall_of_either():
    monitor = monitor_of()
    monitor.update(Frame(NEW[0], 0))
    monitor.update_other(10 * NS, new=True)
    monitor.update_other(60_000 * NS, new=True)
    assert monitor.fault == ''


def test_temperatures_are_compared_as_counts_are():
    celsius = [np.float32(image) / 400 + 20 for image in NEW[:2]]  # half a kelvin of contrast
    for image in celsius:
        image[:40, :50] = np.nan
    one, other = map(probe, celsius)
    assert is_repeated(one, one.copy())
    assert not is_repeated(one, other)


def test_driver_that_sends_the_upper_8_of_16_bits_is_named_as_such():
    upper = [np.uint8((7600 + np.uint16(image) * 2) >> 8) for image in NEW]
    assert len(np.unique(upper[0])) == 3
    assert set(faults_of(upper)) == {'coarse'}
    assert set(faults_of([BLACK] * 3)) == {'flat'}
    wide = monitor_of()
    wide.update(Frame(np.uint8((7600 + np.uint16(NEW[0]) * 8) >> 8), 0))
    assert (wide.fault, wide.image_state) == ('', 'coarse')
