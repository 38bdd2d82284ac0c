"""Where the thermal camera sees, and what the pipeline does where it does not."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from tdfusion_ros.core.calibration import Homography
from tdfusion_ros.core.coverage import BORDER
from tdfusion_ros.core.coverage import soft
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.synchronizer import FramePair

SHIFTED = Homography(np.array([[1.0, 0, -160], [0, 1, 0], [0, 0, 1]]))


def test_coverage_is_positive_where_the_camera_sees_soft_and_full_beyond_the_border():
    mask = np.zeros((480, 640), np.uint8)
    cv2.fillConvexPoly(mask, np.array([[90, 70], [520, 40], [560, 400], [70, 430]]), 1)
    seen = mask > 0  # narrower than the image, and turned
    coverage, width_px = soft(seen), BORDER * 640
    assert coverage.dtype == np.float32
    np.testing.assert_array_equal(coverage > 0, seen)
    assert coverage.max() == 1
    for axis in (0, 1):
        assert np.abs(np.diff(coverage, axis=axis)).max() < 2 / width_px
    depth_px = cv2.distanceTransform(seen.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    assert (coverage[depth_px > width_px + 1] == 1).all()
    assert 0.4 < coverage[np.abs(depth_px - width_px / 2) < 1].mean() < 0.6


def test_border_of_the_image_is_not_soft():
    half = np.broadcast_to(np.arange(96) < 48, (64, 96))
    coverage = soft(half)
    assert (coverage == coverage[:1]).all()
    assert (coverage[:, 0] == 1).all()


def test_outside_of_the_thermal_view_the_fused_image_is_the_rgb_image(make, pipeline, demo_pairs):
    pair = demo_pairs[16]
    result = make(SHIFTED, backend=pipeline.backend).process(pair.rgb, pair.ir)
    outside = result.pair.coverage == 0
    assert outside[:, :160].all()
    np.testing.assert_array_equal(result.image[outside], pair.rgb.pixels[outside])
    inside = result.pair.coverage == 1
    warm = inside & (result.pair.ir > np.percentile(result.pair.ir[inside], 98))
    assert np.abs(result.image[warm].astype(int) - pair.rgb.pixels[warm]).mean() > 20


@pytest.mark.parametrize('size_hw', [(480, 640), (470, 631)])
def test_coverage_is_made_once_for_each_geometry(make, demo_pairs, size_hw):
    pipeline, given = make(SHIFTED), []
    height, width = size_hw
    for pair in demo_pairs[:2]:
        rgb, ir = (Frame(f.pixels[:height, :width], 0) for f in (pair.rgb, pair.ir))
        pipeline.process(rgb, ir)
        given.append(pipeline.backend.coverage)
    assert given[0] is given[1]
    assert given[0].shape == (480, 640)
    assert not given[0].flags.writeable


def test_model_that_does_not_read_coverage_gets_the_rgb_image_outside(make, demo_pairs):
    class Gray(type(make().backend)):
        def run(self, rgb, ir, coverage, *, fused=True, segmentation=True):
            return super().run(np.full_like(rgb, 128), ir, coverage, fused=fused)

    pair = demo_pairs[0]
    contract = replace(make().contract, inputs=('rgb', 'ir'))
    pipeline = make(SHIFTED, contract=contract, backend=Gray())
    result = pipeline.process(pair.rgb, pair.ir)
    assert (pipeline.backend.coverage == 1).all()
    weight = result.pair.coverage[..., None]
    wanted = weight * 128 + (1 - weight) * pair.rgb.pixels
    np.testing.assert_allclose(result.image, wanted, atol=0.51)


def test_coverage_is_full_without_a_calibration_and_none_without_ir(make, demo_pairs):
    pair, recorded = demo_pairs[0], make()
    assert (recorded.process(pair.rgb, pair.ir).pair.coverage == 1).all()
    alone = recorded.process_pair(FramePair(pair.rgb, None, 'rgb_only', pair.rgb))
    assert not alone.pair.coverage.any()
    assert not recorded.backend.coverage.any()


def test_two_percent_of_dead_pixels_change_no_detections(make, pipeline, demo_pairs):
    clean, damaged = (make(backend=pipeline.backend) for _ in range(2))
    rng, numbers = np.random.default_rng(0), []
    for pair in demo_pairs[::8]:
        counts = pair.ir.pixels.astype(np.uint16) * 8 + 7800
        bad = np.where(rng.random(counts.shape) < 0.02, np.uint16(0), counts)
        results = [p.process(pair.rgb, Frame(c, 0)) for p, c in ((clean, counts), (damaged, bad))]
        numbers.append([len(result.detections) for result in results])
        assert results[1].pair.coverage.all()  # what is filled counts as seen
    one, other = np.sum(numbers, 0)
    assert one > 20
    assert abs(one - other) <= 0.04 * one


def test_pixels_without_data_are_shown_as_rgb_and_reported(make, pipeline, demo_pairs):
    pair = demo_pairs[16]
    counts = pair.ir.pixels.astype(np.uint16) * 8 + 7800
    counts[100:200, 300:400] = 65535
    with_hole = make(backend=pipeline.backend)
    result = with_hole.process(pair.rgb, Frame(counts, 0))
    hole = np.s_[100:200, 300:400]
    np.testing.assert_array_equal(result.image[hole], pair.rgb.pixels[hole])
    assert with_hole.remarks == {'ir.no_data': 'left out 3.3 % of the pixels (value 65535)'}
