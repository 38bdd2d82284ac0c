"""What the pipeline does where the thermal camera does not see."""

from dataclasses import replace

import numpy as np
import pytest

from tdfusion_ros.core.calibration import Homography
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.synchronizer import FramePair

SHIFTED = Homography(np.array([[1.0, 0, -160], [0, 1, 0], [0, 0, 1]]))


def test_outside_of_the_thermal_view_the_fused_image_is_the_rgb_image(make, pipeline, demo_pairs):
    pair = demo_pairs[16]
    result = make(SHIFTED, backend=pipeline.backend).process(pair.rgb, pair.ir)
    outside = result.pair.coverage == 0
    assert outside[:, :160].all()
    np.testing.assert_array_equal(result.image[outside], pair.rgb.pixels[outside])
    inside = result.pair.coverage == 1
    assert np.abs(result.image[inside].astype(int) - pair.rgb.pixels[inside]).mean() > 10


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
        def run(self, rgb, ir, coverage, *, fused=True):
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
    assert not recorded.process_pair(
        FramePair(pair.rgb, None, 'rgb_only', pair.rgb)
    ).pair.coverage.any()
    assert not recorded.backend.coverage.any()
