import cv2
import numpy as np
import pytest

from tdfusion_ros.core.coverage import BORDER
from tdfusion_ros.core.coverage import soft


@pytest.fixture
def seen():
    """Return a view that is narrower than the image and turned."""
    mask = np.zeros((480, 640), np.uint8)
    cv2.fillConvexPoly(mask, np.array([[90, 70], [520, 40], [560, 400], [70, 430]]), 1)
    return mask > 0


def test_coverage_is_positive_where_the_camera_sees_soft_and_full_beyond_the_border(seen):
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
