"""Temperatures inside boxes, measured in the raw ir image."""

from functools import partial

import cv2
import numpy as np
import pytest

from tdfusion_ros.core.calibration import Camera
from tdfusion_ros.core.calibration import Extrinsics
from tdfusion_ros.core.calibration import Homography
from tdfusion_ros.core.calibration import Identity
from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.registration import rgb_to_ir
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.core.temperature import measure

RNG = np.random.default_rng(0)
COUNTS = RNG.integers(7000, 8000, (120, 160)).astype(np.uint16)
RGB = np.zeros((240, 320, 3), np.uint8)
CAMERA = Camera((240, 320), np.array([[280.0, 0, 160], [0, 280, 120], [0, 0, 1]]), np.zeros(0))
WIDE = Camera((120, 160), CAMERA.k / 2, np.array([-0.3, 0.08, 0, 0, 0]))
ROTATION = cv2.Rodrigues(np.array([0.01, -0.02, 0.05]))[0]
HOMOGRAPHY = np.array([[0.5, 0.04, -8.0], [-0.03, 0.55, 4.0], [1e-5, 2e-5, 1.0]])
CALIBRATIONS = {
    'same view': Identity(),
    'homography': Homography(HOMOGRAPHY),
    'extrinsics': Extrinsics(CAMERA, WIDE, ROTATION, np.array([0.06, 0.0, 0.0]), 8.0),
}


def counts_of(box, counts=COUNTS, missing=None, calibration=None, size_hw=(240, 320)):
    sizes = {'rgb_size_hw': size_hw, 'ir_size_hw': counts.shape}
    to_ir = partial(rgb_to_ir, calibration or Identity(), **sizes)
    boxes = np.array([box], np.float32)
    return measure(boxes, counts, missing, to_ir, IrConfig()).counts[0]


def summary(values):
    return [values.min(), np.median(values), values.max()]


@pytest.mark.parametrize('size_hw', [(240, 320), (120, 160), (60, 80), (97, 333)])
def test_pixels_whose_centers_are_in_the_box_count_whatever_the_sizes(size_hw):
    scale = np.array([160 / size_hw[1], 120 / size_hw[0]] * 2)
    for corners in RNG.uniform(0, 1, (50, 2, 2)):
        box = np.sort(corners, axis=0).reshape(4) * np.tile(size_hw[::-1], 2)
        left, top, right, bottom = (box * scale).tolist()
        x, y = np.arange(160) + 0.5, np.arange(120) + 0.5
        inside = COUNTS[(y > top) & (y < bottom)][:, (x > left) & (x < right)]
        if inside.size:
            np.testing.assert_array_equal(counts_of(box, size_hw=size_hw), summary(inside))


@pytest.mark.parametrize('calibration', CALIBRATIONS.values(), ids=CALIBRATIONS)
def test_hot_object_is_found_where_the_calibration_maps_its_box(calibration):
    y, x = np.indices(RGB.shape[:2])
    for left, top in ((60, 50), (140, 110), (220, 150)):
        box = left, top, left + 40, top + 30
        pixels = np.stack([x, y], axis=-1)[top : top + 30, left : left + 40].reshape(-1, 2)
        at = rgb_to_ir(calibration, pixels.astype(float), RGB.shape[:2], COUNTS.shape)
        column, row = at.round().astype(int).T
        counts = COUNTS.copy()
        hot = np.zeros(COUNTS.shape, bool)
        hot[row, column] = True
        counts[hot] += 5000
        lowest, _, highest = counts_of(box, counts, calibration=calibration)
        assert highest == counts.max()
        # Nothing of the scene around it but what shares a pixel with its border.
        inner = (left + 3, top + 3, left + 37, top + 27)
        lowest = counts_of(inner, counts, calibration=calibration)[0]
        assert lowest >= 12000
        beside = (left + 46, top, left + 60, top + 30)
        assert counts_of(beside, counts, calibration=calibration)[2] < 8000


def test_box_outside_of_the_thermal_view_has_no_temperature_and_a_partial_one_that_part():
    shifted = Homography(np.array([[1.0, 0, -160], [0, 1, 0], [0, 0, 1]]))
    outside = counts_of((10, 10, 150, 100), calibration=shifted)
    assert np.isnan(outside).all()
    partly = counts_of((120, 20, 200, 60), calibration=shifted)
    np.testing.assert_array_equal(partly, summary(COUNTS[20:60, :40]))


@pytest.mark.parametrize('limit', [0, 4095, 16383, 65535])
def test_saturated_pixels_and_zeros_are_no_measurement(limit):
    counts = COUNTS.copy()
    counts[20:30, 20:30] = limit
    inside = counts[15:45, 15:45]
    wanted = summary(inside[inside != limit])
    np.testing.assert_array_equal(counts_of((30, 30, 90, 90), counts), wanted)
    assert np.isnan(counts_of((42, 42, 58, 58), counts)).all()


def test_box_smaller_than_an_ir_pixel_gets_this_pixel():
    assert (counts_of((100, 60, 101, 61)) == COUNTS[30, 50]).all()


KELVIN = 290 + COUNTS / 100  # 360 to 370 K
CELSIUS = KELVIN - 273.15
AS_SENT = {
    'TLinear': (np.uint16((KELVIN / 0.04).round()), 0.04, 0.0),
    'TLinear of 10 mK': (np.uint16((KELVIN / 0.01).round()), 0.01, 0.0),
    'tenths of °C from -100': (np.uint16((CELSIUS * 10 + 1000).round()), 0.1, 173.15),
    'signed tenths of °C': (np.float32((CELSIUS * 10).round()), 0.1, 273.15),
    'floating °C': (np.float32(CELSIUS), 1.0, 273.15),
    'floating K': (np.float32(KELVIN), 1.0, 0.0),
}


@pytest.mark.parametrize(('pixels', 'per_count', 'offset'), AS_SENT.values(), ids=AS_SENT)
def test_every_linear_scale_of_cameras_gives_kelvin(make, pixels, per_count, offset):
    pipeline = make(ir={'kelvin_per_count': per_count, 'kelvin_offset': offset})
    measured = pipeline.process(Frame(RGB, 0), Frame(pixels, 0)).detections.temperatures
    np.testing.assert_allclose(measured.kelvin, [summary(KELVIN)], atol=per_count / 2 + 1e-4)
    assert 'ir.kelvin_per_count' not in pipeline.remarks


def test_counts_are_measured_where_their_scale_is_not_known(make):
    measured = make().process(Frame(RGB, 0), Frame(COUNTS, 0)).detections.temperatures
    np.testing.assert_array_equal(measured.counts, [summary(COUNTS)])
    assert np.isnan(measured.kelvin).all()


@pytest.mark.parametrize(
    'pixels', [np.uint8(COUNTS >> 5), np.float32(COUNTS / 65535)], ids=['8 bits', 'in [0, 1]']
)
def test_gray_levels_have_no_temperature_and_one_remark_says_why(make, pixels):
    pipeline = make(ir={'kelvin_per_count': 0.04})
    found = pipeline.process(Frame(RGB, 0), Frame(pixels, 0)).detections
    assert found.temperatures is None
    assert 'AGC' in pipeline.remarks['ir.kelvin_per_count']
    assert not make().process(Frame(RGB, 0), Frame(pixels, 0)).detections.temperatures


@pytest.mark.parametrize(
    ('per_count', 'degrees'), [(0.4, '2727 C'), (0.004, '-243 C')], ids=['high', 'low']
)
def test_scale_that_makes_a_scene_impossibly_hot_or_cold_is_doubted(make, per_count, degrees):
    pipeline = make(ir={'kelvin_per_count': per_count})
    pipeline.process(Frame(RGB, 0), Frame(np.full((120, 160), 7500, np.uint16), 0))
    assert degrees in pipeline.remarks['ir.kelvin_per_count']


def test_telemetry_and_pixels_without_data_are_left_out(make):
    counts = np.vstack((COUNTS, np.full((2, 160), 50_000, np.uint16)))  # rows of a Lepton 3
    counts[:, :3] = 9999
    pipeline = make(ir={'no_data': '9999'})
    found = pipeline.process(Frame(RGB, 0), Frame(counts, 0)).detections
    np.testing.assert_array_equal(found.temperatures.counts, [summary(COUNTS[:, 3:])])


def test_nothing_is_measured_if_nobody_asks_and_without_an_ir_image(make):
    rgb, ir = Frame(RGB, 1), Frame(COUNTS, 1)
    pipeline = make()
    unasked = pipeline.process_pair(FramePair(rgb, ir, 'fused', rgb), measured=False)
    assert unasked.detections.temperatures is None
    alone = pipeline.process_pair(FramePair(rgb, None, 'rgb_only', rgb))
    assert alone.detections.temperatures is None


def test_without_an_rgb_image_boxes_are_on_the_grid_of_ir(make):
    shifted = Homography(np.array([[1.0, 0, -160], [0, 1, 0], [0, 0, 1]]))
    ir = Frame(COUNTS, 1)
    found = make(shifted).process_pair(FramePair(None, ir, 'ir_only', ir)).detections
    np.testing.assert_array_equal(found.temperatures.counts, [summary(COUNTS)])
