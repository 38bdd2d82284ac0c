"""When an image is new or flat, and when a camera has stalled. Times in ms."""

import cv2
import numpy as np
import pytest

from tdfusion_ros.core.camera_monitor import CameraMonitor
from tdfusion_ros.core.camera_monitor import exposure
from tdfusion_ros.core.camera_monitor import is_flat
from tdfusion_ros.core.camera_monitor import is_repeated
from tdfusion_ros.core.camera_monitor import probe
from tdfusion_ros.core.data import Frame

NS = 1_000_000  # in a millisecond
STALL_MS = 200
RNG = np.random.default_rng(0)
SCENE = cv2.resize(RNG.integers(0, 256, (6, 8)).astype(np.uint8), (320, 256))


def noisy(seed):
    """Return the scene as a sensor sees it, with a noise of less than a level."""
    noise = np.random.default_rng(seed).normal(0, 0.3, SCENE.shape)
    return np.clip(np.rint(SCENE + noise), 0, 255).astype(np.uint8)


NEW = [noisy(seed) for seed in range(8)]


def watch(**settings):
    return CameraMonitor(STALL_MS * NS, 2000 * NS, **{'is_ir': True, **settings})


def run(pictures, period_ms=33.3, other='new', **settings):
    """Show a camera pictures beside another one; return its faults, one per frame."""
    made, faults = watch(**settings), []
    for i, picture in enumerate(pictures):
        at_ns = round(i * period_ms * NS)
        made.update_other(at_ns, new=other == 'new')
        made.update(Frame(picture, at_ns))
        faults.append(made.fault)
    return faults


def moving(count):
    return [NEW[i % len(NEW)] for i in range(count)]


@pytest.mark.parametrize('size_hw', [(120, 160), (256, 320), (480, 640), (1024, 1280), (1, 1)])
@pytest.mark.parametrize('channels', [(), (3,)])
def test_cost_of_a_probe_does_not_grow_with_the_image(size_hw, channels):
    grid = probe(np.zeros((*size_hw, *channels), np.uint16))
    assert grid.ndim == 2
    assert grid.size <= 40_000
    assert grid.size >= min(10_000, size_hw[0] * size_hw[1])


def test_noise_of_a_third_of_a_level_makes_a_picture_new():
    assert not is_repeated(probe(NEW[0]), probe(NEW[1]))


def test_a_frozen_picture_with_a_running_clock_in_its_corner_is_a_repeated_one():
    clock = NEW[0].copy()
    clock[4:8, 4:20] = 255
    assert is_repeated(probe(clock), probe(NEW[0]))


def test_a_telemetry_row_at_the_top_does_not_hide_a_frozen_picture():
    large = cv2.resize(NEW[0], (640, 512))
    with_row = large.copy()
    with_row[:2] = RNG.integers(0, 256, (2, 640))
    assert is_repeated(probe(with_row), probe(large))


def test_a_picture_of_another_size_or_type_is_new():
    assert not is_repeated(probe(NEW[0]), None)
    assert not is_repeated(probe(NEW[0]), probe(NEW[0][:100]))
    assert not is_repeated(probe(NEW[0]), probe(NEW[0].astype(np.uint16)))


def shutter(dtype, sigma, columns=0.0):
    """Return what a sensor makes of a closed shutter: noise, perhaps with a column pattern."""
    rng = np.random.default_rng(1)
    level = 128 if dtype == np.uint8 else 8000
    counts = rng.normal(level, sigma, (256, 320)) + rng.normal(0, columns, 320)
    return counts.astype(dtype)


@pytest.mark.parametrize(
    'picture',
    [
        np.zeros((256, 320), np.uint8),
        np.full((256, 320), 8000, np.uint16),
        shutter(np.uint8, 0.5),
        shutter(np.uint8, 20),  # an automatic gain control has stretched it
        shutter(np.uint16, 8),
        shutter(np.uint16, 8, columns=20),
    ],
)
def test_a_closed_shutter_is_flat_whatever_its_level_and_noise(picture):
    assert is_flat(probe(picture))


def test_no_real_ir_picture_is_flat(demo_pairs):
    for pair in demo_pairs:
        assert not is_flat(probe(pair.ir.pixels))
        assert not is_flat(probe(pair.ir.pixels.astype(np.uint16) + 21000))


def test_a_scene_without_contrast_is_not_flat_while_it_stands_out_of_the_noise():
    faint = SCENE / 255 * 60 + RNG.normal(8000, 5, SCENE.shape)
    assert not is_flat(probe(faint.astype(np.uint16)))


@pytest.mark.parametrize(
    ('pixels', 'said'),
    [
        (np.full((64, 64, 3), 3, np.uint8), 'dark'),
        (np.full((64, 64, 3), 255, np.uint8), 'saturated'),
        (np.dstack([SCENE] * 3), 'ok'),
    ],
)
def test_rgb_by_night_and_against_the_sun_is_noted(pixels, said):
    assert exposure(probe(pixels)) == said
    made = watch(is_ir=False)
    made.update(Frame(pixels, 0))
    assert (made.image_state, made.fault) == (said, '')


def test_a_camera_that_shows_new_pictures_has_no_fault():
    assert set(run(moving(40))) == {''}


def test_a_picture_that_stands_still_is_a_fault_after_the_time_and_until_the_next_new_one():
    faults = run([*moving(10), *[NEW[1]] * 20, *moving(5)], period_ms=50)
    # The tenth picture is NEW[1]; the others repeat it, 50 ms apart.
    assert faults[:14] == [''] * 14
    assert faults[14:30] == ['frozen'] * 16
    assert faults[30:] == [''] * 5


def test_a_slow_core_whose_driver_sends_each_picture_three_times_is_not_frozen():
    pictures = [NEW[(i // 3) % len(NEW)] for i in range(90)]
    assert set(run(pictures, period_ms=1000 / 27)) == {''}


@pytest.mark.parametrize('period_ms', [117, 1000])
def test_a_slow_camera_may_repeat_one_picture(period_ms):
    pictures = moving(10)
    pictures[7] = pictures[6]
    assert set(run(pictures, period_ms=period_ms)) == {''}


def test_stills_in_both_cameras_are_no_stall():
    assert set(run([NEW[0]] * 40, other='still')) == {''}


def test_a_flat_ir_picture_is_a_fault_at_once():
    faults = run([*moving(3), *[np.zeros_like(SCENE)] * 2, *moving(3)])
    assert faults == ['', '', '', 'flat', 'flat', '', '', '']


def test_a_black_night_in_rgb_is_no_stall_however_long_it_is():
    assert set(run([np.zeros((256, 320, 3), np.uint8)] * 60, is_ir=False)) == {''}


def silence(made, until_ms, period_ms=33.3, start_ms=0.0):
    """Let only the other camera send; return when the fault began [ms]."""
    at_ms = start_ms
    while at_ms < until_ms:
        made.update_other(round(at_ms * NS), new=True)
        if made.fault == 'missing':
            return at_ms
        at_ms += period_ms
    return None


def test_a_camera_that_sends_nothing_is_missing_after_the_time():
    made = watch()
    for i in range(10):
        made.update_other(i * 33 * NS, new=True)
        made.update(Frame(NEW[i % 8], i * 33 * NS))
    begun = silence(made, 2000, start_ms=330.0)
    assert STALL_MS < begun - 9 * 33 <= STALL_MS + 34
    made.update(Frame(NEW[0], 3000 * NS))
    assert made.fault == ''


def test_a_slow_camera_is_missing_only_after_two_and_a_half_of_its_periods():
    made = watch()
    for ms in range(0, 5000, 1000):
        silence(made, ms + 900, start_ms=float(ms))
        made.update(Frame(NEW[ms // 1000], ms * NS))
    made.update(Frame(NEW[7], 5000 * NS))
    begun = silence(made, 9000, start_ms=5000.0)
    assert 2400 < begun - 5000 < 2600


def test_a_camera_that_never_sent_is_given_the_time_of_the_start():
    assert 2000 < silence(watch(), 5000) < 2100


def test_a_pause_of_both_cameras_is_no_stall_of_either():
    made = watch()
    made.update(Frame(NEW[0], 0))
    made.update_other(10 * NS, new=True)
    made.update_other(60_000 * NS, new=True)
    assert made.fault == ''


def test_a_bag_that_begins_anew_is_no_stall():
    made = watch()
    for _ in range(3):
        for i in range(20):
            made.update_other(i * 50 * NS, new=True)
            assert made.fault == ''
            made.update(Frame(NEW[i % 8], i * 50 * NS))
            assert made.fault == ''


@pytest.mark.parametrize('pictures', [[NEW[0]] * 60, [np.zeros_like(SCENE)] * 60])
def test_with_a_stall_time_of_zero_nothing_is_a_fault(pictures):
    made = CameraMonitor(0, 2000 * NS, is_ir=True)
    for i, picture in enumerate(pictures):
        made.update_other(i * 50 * NS, new=True)
        made.update(Frame(picture, i * 50 * NS))
        assert made.fault == ''
    assert silence(made, 60_000) is None
