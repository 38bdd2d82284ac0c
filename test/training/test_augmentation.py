from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('cv2')

from training.data.augmentation import collate  # noqa: E402
from training.data.augmentation import crop_resize  # noqa: E402
from training.data.augmentation import flip  # noqa: E402
from training.data.augmentation import mosaic  # noqa: E402
from training.data.augmentation import pad  # noqa: E402
from training.data.augmentation import photometric  # noqa: E402
from training.data.augmentation import random_crop  # noqa: E402
from training.data.augmentation import split  # noqa: E402
from training.data.augmentation import stretch_ir  # noqa: E402
from training.data.datasets import Sample  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture
def sample():
    """Return a dark pair in which exactly the box is white; the mask is 1 in the box."""
    rgb, ir = np.zeros((96, 160, 3), np.uint8), np.zeros((96, 160), np.uint8)
    rgb[20:60, 40:72], ir[20:60, 40:72] = 255, 255
    boxes = np.array([[40, 20, 72, 60]], np.float32)
    return Sample('a', rgb, ir, boxes, np.array([1]), ir // 255)


def without_boxes(ir):
    return Sample('a', np.dstack([ir] * 3), ir, np.zeros((0, 4)), np.zeros(0, int))


def box_of_white(ir):
    y, x = np.nonzero(ir > 127)
    return [x.min(), y.min(), x.max() + 1, y.max() + 1]


def test_flipping_moves_boxes_and_mask_with_the_pixels_and_twice_changes_nothing(sample):
    flipped = flip(sample)
    assert flipped.boxes_xyxy[0].tolist() == box_of_white(flipped.ir)
    np.testing.assert_array_equal(flipped.mask, flipped.ir // 255)
    np.testing.assert_array_equal(flip(flipped).rgb, sample.rgb)
    np.testing.assert_array_equal(flip(flipped).boxes_xyxy, sample.boxes_xyxy)


def test_boxes_follow_the_pixels_of_both_modalities_when_cropped_and_resized(sample):
    crop = crop_resize(sample, (20, 10, 100, 90), (160, 160))
    np.testing.assert_allclose(crop.boxes_xyxy[0], box_of_white(crop.ir), atol=1)
    np.testing.assert_allclose(crop.boxes_xyxy[0], box_of_white(crop.rgb[..., 0]), atol=1)


def test_a_window_larger_than_the_image_has_gray_unlabeled_pixels_around_it(sample):
    crop = crop_resize(sample, (-40, -24, 280, 168), (96, 160))
    np.testing.assert_allclose(crop.boxes_xyxy[0], [40, 22, 56, 42])
    assert crop.ir[25:40, 42:54].min() > 200
    assert crop.ir[0, 0] == 114
    inside = crop.mask != 255
    assert inside[12:60, 20:100].all()
    assert inside.sum() == 48 * 80
    np.testing.assert_array_equal(crop.mask[inside], crop.ir[inside] > 127)


def test_cropping_back_from_a_resized_image_returns_the_box(sample):
    larger = crop_resize(sample, (0, 0, 160, 96), (192, 320))
    back = crop_resize(larger, (0, 0, 320, 192), (96, 160))
    np.testing.assert_allclose(back.boxes_xyxy, sample.boxes_xyxy)


def test_a_box_mostly_outside_of_the_window_is_dropped_with_its_class(sample):
    crop = crop_resize(sample, (64, 0, 160, 96), (96, 96))
    assert len(crop.boxes_xyxy) == len(crop.class_ids) == 0


def test_resizing_down_is_antialiased_but_adds_no_value_to_a_mask():
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    noise = np.random.default_rng(0).choice([0, 3, 255], (64, 64)).astype(np.uint8)
    small = crop_resize(replace(without_boxes(stripes), mask=noise), (0, 0, 64, 64), (16, 16))
    assert np.abs(small.ir.astype(int) - 127).max() <= 1
    assert set(np.unique(small.mask)) == {0, 3, 255}


def test_a_resized_mask_takes_the_pixel_under_the_center(sample):
    mask = np.zeros((96, 160), np.uint8)
    mask[1::3, 1::3] = 1
    small = crop_resize(replace(sample, mask=mask), (0, 0, 159, 96), (32, 53))
    assert (small.mask == 1).all()


def test_random_crops_never_return_boxes_outside_of_the_crop(sample):
    rng = np.random.default_rng(0)
    for _ in range(50):
        crop = random_crop(sample, rng, (64, 96), (0.4, 2.0))
        assert crop.rgb.shape == (64, 96, 3)
        assert (crop.boxes_xyxy >= 0).all()
        assert (crop.boxes_xyxy <= [96, 64, 96, 64]).all()


def test_padding_repeats_the_border_and_leaves_the_mask_unlabeled(sample):
    padded = pad(crop_resize(sample, (40, 20, 72, 60), (40, 30)), 32)
    assert padded.rgb.shape == (64, 32, 3)
    assert (padded.ir == 255).all()
    assert set(np.unique(padded.mask[:40, :30])) == {1}
    assert set(np.unique(padded.mask[40:])) == {255}


def test_mosaic_moves_boxes_and_masks_with_their_quarter(sample):
    part = crop_resize(sample, (0, 0, 160, 96), (48, 80))
    bare = replace(part, mask=None)
    whole = mosaic([part, bare, bare, part], (96, 160))
    x0, y0, x1, y1 = box_of_white(whole.ir[48:, 80:])
    quarter = [x0 + 80, y0 + 48, x1 + 80, y1 + 48]
    np.testing.assert_allclose(whole.boxes_xyxy[3], quarter, atol=1)
    np.testing.assert_array_equal(whole.mask[48:, 80:], part.mask)
    assert (whole.mask[:48, 80:] == 255).all()
    assert mosaic([bare] * 4, (96, 160)).mask is None


def test_mosaic_keeps_the_strata_that_its_parts_share(sample):
    part = crop_resize(sample, (0, 0, 160, 96), (48, 80))
    day, night = (
        replace(part, strata={'light': light, 'source': 'msrs'}) for light in ('day', 'night')
    )
    assert mosaic([day, day, night, day], (96, 160)).strata == {'source': 'msrs'}


def test_photometric_changes_keep_the_order_of_levels():
    ramp = without_boxes(np.tile(np.arange(256, dtype=np.uint8), (4, 1)))
    for seed in range(10):
        changed = photometric(ramp, np.random.default_rng(seed))
        assert (np.diff(changed.ir.astype(int)) >= 0).all()


@pytest.mark.parametrize(('invert', 'least', 'most'), [(0.0, 0, 0), (0.5, 10, 30), (1.0, 40, 40)])
def test_stretched_ir_has_all_levels_and_is_inverted_as_often_as_asked(invert, least, most):
    ramp = without_boxes(np.tile(np.linspace(20, 60, 160).astype(np.uint8), (96, 1)))
    inverted = 0
    for seed in range(40):
        stretched = stretch_ir(ramp, np.random.default_rng(seed), invert)
        assert (stretched.ir.min(), stretched.ir.max()) == (0, 255)
        steps = np.diff(stretched.ir[0].astype(int))
        assert (steps >= 0).all() or (steps <= 0).all()
        inverted += steps.sum() < 0
        assert stretched.rgb is ramp.rgb
    assert least <= inverted <= most


def test_constant_ir_stays_constant_when_stretched():
    constant = without_boxes(np.full((96, 160), 7, np.uint8))
    assert len(np.unique(stretch_ir(constant, np.random.default_rng(0), 0.5).ir)) == 1


def test_collate_marks_padding_as_invalid_and_missing_masks_as_unlabeled(sample):
    empty = replace(crop_resize(sample, (100, 0, 160, 96), (96, 160)), mask=None)
    batch = collate([sample, empty])
    assert batch.valid.tolist() == [[True], [False]]
    assert batch.rgb.shape == (2, 3, 96, 160)
    assert batch.ir.shape == (2, 1, 96, 160)
    assert batch.ir.max() == 1.0
    assert batch.mask.dtype == torch.int64
    assert batch.mask[0].unique().tolist() == [0, 1]
    assert batch.mask[1].unique().tolist() == [255]
    assert collate([empty]).mask is None


def test_the_parts_of_a_batch_have_their_own_rows(sample):
    first, second = split(collate([sample, flip(sample)]), 2)
    assert first.names == second.names == ('a',)
    assert torch.equal(second.ir, collate([flip(sample)]).ir)
    with pytest.raises(ValueError, match='3 samples into 2'):
        split(collate([sample] * 3), 2)
