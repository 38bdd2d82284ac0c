from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('cv2')

from training.data.augmentation import collate  # noqa: E402
from training.data.augmentation import crop_resize  # noqa: E402
from training.data.augmentation import flip  # noqa: E402
from training.data.augmentation import mosaic  # noqa: E402
from training.data.augmentation import photometric  # noqa: E402
from training.data.augmentation import random_crop  # noqa: E402
from training.data.augmentation import resize  # noqa: E402
from training.data.augmentation import stretch_ir  # noqa: E402
from training.data.datasets import Sample  # noqa: E402

pytestmark = pytest.mark.torch


def sample_with_box(box=(40, 20, 72, 60), hw=(96, 160)):
    """Return a dark pair in which exactly the box is white, in both modalities."""
    x0, y0, x1, y1 = box
    rgb, ir = np.zeros((*hw, 3), np.uint8), np.zeros(hw, np.uint8)
    rgb[y0:y1, x0:x1], ir[y0:y1, x0:x1] = 255, 255
    return Sample('a', rgb, ir, np.array([box], np.float32), np.array([1]))


def box_of_white(ir):
    y, x = np.nonzero(ir > 127)
    return [x.min(), y.min(), x.max() + 1, y.max() + 1]


def test_flipping_twice_returns_the_sample():
    sample = sample_with_box()
    twice = flip(flip(sample))
    np.testing.assert_array_equal(twice.rgb, sample.rgb)
    np.testing.assert_array_equal(twice.boxes_xyxy, sample.boxes_xyxy)


def test_boxes_follow_the_pixels_when_flipped():
    flipped = flip(sample_with_box())
    assert flipped.boxes_xyxy[0].tolist() == box_of_white(flipped.ir)


def test_boxes_follow_the_pixels_of_both_modalities_when_cropped_and_resized():
    crop = crop_resize(sample_with_box(), (20, 10, 100, 90), (160, 160))
    np.testing.assert_allclose(crop.boxes_xyxy[0], box_of_white(crop.ir), atol=1)
    np.testing.assert_allclose(crop.boxes_xyxy[0], box_of_white(crop.rgb[..., 0]), atol=1)


def test_boxes_follow_the_pixels_when_the_window_is_larger_than_the_image():
    sample = sample_with_box()
    crop = crop_resize(sample, (-40, -24, 280, 168), (96, 160))
    np.testing.assert_allclose(crop.boxes_xyxy[0], [40, 22, 56, 42])
    assert crop.ir[25:40, 42:54].min() > 200


def test_cropping_back_from_a_resized_image_returns_the_box():
    sample = sample_with_box()
    larger = crop_resize(sample, (0, 0, 160, 96), (192, 320))
    back = crop_resize(larger, (0, 0, 320, 192), (96, 160))
    np.testing.assert_allclose(back.boxes_xyxy, sample.boxes_xyxy)


def test_a_box_mostly_outside_of_the_window_is_dropped_with_its_class():
    crop = crop_resize(sample_with_box(), (64, 0, 160, 96), (96, 96))
    assert len(crop.boxes_xyxy) == len(crop.class_ids) == 0


def test_resizing_down_is_antialiased():
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    sample = Sample('a', np.dstack([stripes] * 3), stripes, np.zeros((0, 4)), np.zeros(0, int))
    small = crop_resize(sample, (0, 0, 64, 64), (16, 16))
    assert np.abs(small.ir.astype(int) - 127).max() <= 1


def test_random_crops_never_return_boxes_outside_of_the_crop():
    rng = np.random.default_rng(0)
    for _ in range(50):
        crop = random_crop(sample_with_box(), rng, (64, 96), (0.4, 2.0))
        assert crop.rgb.shape == (64, 96, 3)
        assert (crop.boxes_xyxy >= 0).all()
        assert (crop.boxes_xyxy <= [96, 64, 96, 64]).all()


def test_mosaic_moves_boxes_with_their_quarter():
    parts = [crop_resize(sample_with_box(), (0, 0, 160, 96), (48, 80))] * 4
    whole = mosaic(parts, (96, 160))
    x0, y0, x1, y1 = box_of_white(whole.ir[48:, 80:])
    quarter = [x0 + 80, y0 + 48, x1 + 80, y1 + 48]
    np.testing.assert_allclose(whole.boxes_xyxy[3], quarter, atol=1)


def test_photometric_changes_leave_boxes_and_the_order_of_levels_alone():
    ramp = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    sample = Sample('a', np.dstack([ramp] * 3), ramp, np.zeros((0, 4)), np.zeros(0, int))
    for seed in range(10):
        changed = photometric(sample, np.random.default_rng(seed))
        assert (np.diff(changed.ir.astype(int)) >= 0).all()


@pytest.mark.parametrize(('invert', 'least', 'most'), [(0.0, 0, 0), (0.5, 10, 30), (1.0, 40, 40)])
def test_stretched_infrared_fills_all_levels_and_is_inverted_as_often_as_said(invert, least, most):
    ramp = np.tile(np.linspace(20, 60, 160).astype(np.uint8), (96, 1))
    sample = replace(sample_with_box(), ir=ramp)
    inverted = 0
    for seed in range(40):
        stretched = stretch_ir(sample, np.random.default_rng(seed), invert)
        assert (stretched.ir.min(), stretched.ir.max()) == (0, 255)
        steps = np.diff(stretched.ir[0].astype(int))
        assert (steps >= 0).all() or (steps <= 0).all()
        inverted += steps.sum() < 0
        assert stretched.rgb is sample.rgb
    assert least <= inverted <= most


def test_constant_infrared_has_nothing_to_stretch():
    sample = replace(sample_with_box(), ir=np.full((96, 160), 7, np.uint8))
    assert set(np.unique(stretch_ir(sample, np.random.default_rng(0), 0.5).ir)) <= {0, 255}


def test_collate_marks_padding_as_not_valid():
    empty = crop_resize(sample_with_box(), (100, 0, 160, 96), (96, 160))
    batch = collate([sample_with_box(), empty])
    assert batch.valid.tolist() == [[True], [False]]
    assert batch.rgb.shape == (2, 3, 96, 160)
    assert batch.ir.shape == (2, 1, 96, 160)
    assert batch.ir.max() == 1.0


def sample_with_mask(**values):
    """Return a sample whose mask is class 1 in the box, 0 beside it."""
    sample = sample_with_box(**values)
    return replace(sample, mask=sample.ir // 255)


def test_the_mask_follows_the_pixels_when_flipped():
    flipped = flip(sample_with_mask())
    np.testing.assert_array_equal(flipped.mask, flipped.ir // 255)


def test_the_mask_follows_the_pixels_when_cropped_and_is_unlabeled_outside():
    crop = crop_resize(sample_with_mask(), (-40, -24, 280, 168), (96, 160))
    inside = crop.mask != 255
    assert inside[12:60, 20:100].all()
    assert inside.sum() == 48 * 80
    np.testing.assert_array_equal(crop.mask[inside], crop.ir[inside] > 127)


def test_a_resized_mask_holds_no_value_that_it_did_not_hold():
    noise = np.random.default_rng(0).choice([0, 3, 255], (96, 160)).astype(np.uint8)
    sample = replace(sample_with_box(), mask=noise)
    for size in ((48, 80), (50, 333), (192, 320)):
        small = resize(sample, size)
        assert set(np.unique(small.mask)) == {0, 3, 255}
        assert small.mask.shape == small.ir.shape == small.rgb.shape[:2] == size


def test_a_resized_mask_takes_the_pixel_under_the_center():
    sample = replace(sample_with_box(hw=(96, 159)), mask=np.zeros((96, 159), np.uint8))
    sample.mask[1::3, 1::3] = 1
    assert (resize(sample, (32, 53)).mask == 1).all()


def test_mosaic_puts_masks_where_the_pixels_are_and_leaves_the_rest_unlabeled():
    part = crop_resize(sample_with_mask(), (0, 0, 160, 96), (48, 80))
    bare = replace(part, mask=None)
    whole = mosaic([part, bare, bare, part], (96, 160))
    np.testing.assert_array_equal(whole.mask[48:, 80:], part.mask)
    assert (whole.mask[:48, 80:] == 255).all()
    assert mosaic([bare] * 4, (96, 160)).mask is None


def test_mosaic_keeps_the_strata_that_its_parts_share():
    part = crop_resize(sample_with_box(), (0, 0, 160, 96), (48, 80))
    day, night = (
        replace(part, strata={'light': light, 'source': 'msrs'}) for light in ('day', 'night')
    )
    assert mosaic([day, day, night, day], (96, 160)).strata == {'source': 'msrs'}


def test_collate_gives_an_unlabeled_mask_to_a_sample_without_one():
    labeled, bare = sample_with_mask(), sample_with_box()
    batch = collate([labeled, bare])
    assert batch.mask.dtype == torch.int64
    assert batch.mask.shape == (2, 96, 160)
    assert batch.mask[0].unique().tolist() == [0, 1]
    assert batch.mask[1].unique().tolist() == [255]
    assert collate([bare, bare]).mask is None


@pytest.mark.parametrize('hw', [(96, 160), (160, 96)])
def test_a_box_at_the_right_edge_stays_there_when_resized_and_back(hw):
    height, width = hw
    sample = sample_with_mask(box=(width - 30, height - 20, width, height), hw=hw)
    for size in ((32, 96), (240, 120), (300, 400)):
        other = resize(sample, size)
        assert (other.boxes_xyxy[0, 2:] / [size[1], size[0]]).tolist() == [1, 1]
        np.testing.assert_allclose(other.boxes_xyxy[0], box_of_white(other.ir), atol=1)
        np.testing.assert_allclose(other.boxes_xyxy[0], box_of_white(other.mask * 255), atol=1)
        back = resize(other, hw)
        np.testing.assert_allclose(back.boxes_xyxy, sample.boxes_xyxy, rtol=1e-6)


def test_resize_is_antialiased_on_the_axis_that_shrinks_even_if_the_other_grows():
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::4] = stripes[:, 3::4] = 255  # between two samples of a plain linear resize
    sample = Sample('a', np.dstack([stripes] * 3), stripes, np.zeros((0, 4)), np.zeros(0, int))
    for size in ((16, 16), (128, 16)):
        small = resize(sample, size)
        assert np.abs(small.ir.astype(int) - 127).max() <= 1
        assert np.abs(small.rgb.astype(int) - 127).max() <= 1


def test_resizing_a_real_pair_keeps_its_mean_and_its_own_size_changes_nothing(small_pairs):
    rgb, ir = small_pairs[0]
    sample = Sample('a', rgb, ir, np.zeros((0, 4), np.float32), np.zeros(0, int))
    assert abs(resize(sample, (48, 64)).ir.mean() - ir.mean()) < 0.5
    np.testing.assert_array_equal(resize(sample, ir.shape).rgb, rgb)
