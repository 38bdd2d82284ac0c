import math

import cv2
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from training.measure import quality

RAMP = np.array([[0, 3], [4, 7], [8, 11]], np.uint8)  # 3 across, 4 down


def scene(seed, size_hw=(96, 128)):
    """Return a picture of soft blobs, uint8, that has edges at all scales."""
    rng = np.random.default_rng(seed)
    fine, coarse = (cv2.GaussianBlur(rng.normal(size=size_hw), (0, 0), s) for s in (1, 6))
    picture = fine / fine.std() + 2 * coarse / coarse.std()
    return np.clip(128 + 30 * picture, 0, 255).astype(np.uint8)


def slow_qabf(fused, sources):
    """Follow the formulas of Xydeas and Petrovic pixel by pixel, with plain numbers."""
    kept = total = 0.0
    height, width = fused.shape
    for source in sources:
        for y in range(height):
            for x in range(width):
                g, angle = slow_edge(source, y, x)
                g_fused, angle_fused = slow_edge(fused, y, x)
                ratio = min(g, g_fused) / max(g, g_fused) if max(g, g_fused) else 1.0
                alignment = 1 - abs(angle - angle_fused) / (math.pi / 2)
                strength = 0.9994 / (1 + math.exp(-15 * (ratio - 0.5)))
                orientation = 0.9879 / (1 + math.exp(-22 * (alignment - 0.8)))
                kept += strength * orientation * g
                total += g
    return kept / total


def slow_edge(image, y, x):
    def at(row, column):
        inside = 0 <= row < image.shape[0] and 0 <= column < image.shape[1]
        return float(image[row, column]) if inside else 0.0

    steps = ((-1, 1), (0, 2), (1, 1))
    gx = sum(w * (at(y + d, x + 1) - at(y + d, x - 1)) for d, w in steps)
    gy = sum(w * (at(y + 1, x + d) - at(y - 1, x + d)) for d, w in steps)
    return math.hypot(gx, gy), math.atan(gy / gx) if gx else math.pi / 2


LUMA, IR = scene(0), scene(1)


def test_figures_of_one_image_are_those_computed_by_hand():
    levels = np.arange(256).reshape(16, 16)
    assert quality.entropy(levels) == pytest.approx(8)
    assert quality.entropy(np.clip(levels + 0.4, 0, 255)) == pytest.approx(8)
    assert quality.entropy(np.full((8, 8), 7, np.uint8)) == 0
    assert quality.spatial_frequency(RAMP) == pytest.approx(5)
    assert quality.average_gradient(RAMP) == pytest.approx(math.sqrt(12.5))
    assert quality.standard_deviation(np.array([[1, 3], [1, 3]], np.uint8)) == pytest.approx(1)


def test_scd_is_the_sum_of_two_pearson_correlations_and_a_constant_difference_counts_as_0():
    def correlation(source, difference):
        return np.corrcoef(source.ravel().astype(float), difference.ravel())[0, 1]

    fused = scene(2).astype(float)
    expected = correlation(LUMA, fused - IR) + correlation(IR, fused - LUMA)
    assert quality.scd(fused, (LUMA, IR)) == pytest.approx(expected)
    alone = correlation(LUMA, LUMA.astype(float) - IR)
    assert quality.scd(LUMA, (LUMA, IR)) == pytest.approx(alone)


def test_vif_needs_four_scales_and_equals_that_of_an_independent_library():
    assert quality.vif(scene(0, (41, 41)), scene(1, (41, 41))) > 0
    with pytest.raises(ValueError, match='41 px'):
        quality.vif(scene(0, (40, 64)), scene(1, (40, 64)))
    sewar = pytest.importorskip('sewar.full_ref')
    for fused in (IR, cv2.blur(LUMA, (5, 5)), 255 - LUMA, np.maximum(LUMA, IR)):
        expected = sewar.vifp(LUMA, fused)
        assert quality.vif(LUMA, fused) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_qabf_follows_the_formulas_pixel_by_pixel():
    luma, ir = scene(4, (16, 20)), scene(5, (16, 20))
    luma[4:9, 4:9] = 100  # without any edge inside
    for fused in (np.maximum(luma, ir), (luma // 2 + ir // 2), luma):
        assert quality.qabf(fused, (luma, ir)) == pytest.approx(slow_qabf(fused, (luma, ir)))


def test_the_order_of_the_sources_does_not_matter_and_sums_are_twice_the_means():
    fused = np.maximum(LUMA, IR)
    figures = quality.fusion_quality(fused, (LUMA, IR))
    assert figures == pytest.approx(quality.fusion_quality(fused, (IR, LUMA)))
    assert figures['VIF sum'] == pytest.approx(quality.vif(LUMA, fused) + quality.vif(IR, fused))
    assert figures['VIF'] == pytest.approx(figures['VIF sum'] / 2)
    assert figures['SSIM'] == pytest.approx(figures['SSIM sum'] / 2)


def test_ssim_cuts_to_whole_levels():
    fused = IR + 0.9 * (IR < 255)
    assert quality.ssim(LUMA, fused) == structural_similarity(LUMA, IR)


@pytest.mark.parametrize(
    ('shape', 'value', 'message'), [((96, 127), 0, 'one size'), ((96, 128), 300, '0 to 255')]
)
def test_images_of_another_size_or_range_are_refused(shape, value, message):
    with pytest.raises(ValueError, match=message):
        quality.fusion_quality(np.full(shape, value), (LUMA, LUMA))
