from dataclasses import replace

import numpy as np
import pytest
import torch

from training.data import augmentation
from training.data import cameras
from training.data.augmentation import crop_resize
from training.data.datasets import Sample


@pytest.fixture
def sample():
    """Return a dark pair in which exactly the box is white; the mask is 1 in the box."""
    ir = np.zeros((96, 160), np.uint8)
    ir[20:60, 40:72] = 255
    boxes = np.array([[40, 20, 72, 60]], np.float32)
    return replace(of_ir(ir), boxes_xyxy=boxes, class_ids=np.array([1]), mask=ir // 255)


def of_ir(ir):
    """Return a sample without boxes whose ir image is ``ir``."""
    ir = np.asarray(ir, np.uint8)
    return Sample('a', np.dstack([ir] * 3), ir, np.zeros((0, 4)), np.zeros(0, int))


def box_of_white(ir):
    y, x = np.nonzero(ir > 127)
    return [x.min(), y.min(), x.max() + 1, y.max() + 1]


def test_flipping_moves_boxes_and_mask_with_the_pixels_and_twice_changes_nothing(sample):
    flipped = augmentation.flip(sample)
    assert flipped.boxes_xyxy[0].tolist() == box_of_white(flipped.ir)
    np.testing.assert_array_equal(flipped.mask, flipped.ir // 255)
    again = augmentation.flip(flipped)
    np.testing.assert_array_equal(again.rgb, sample.rgb)
    np.testing.assert_array_equal(again.boxes_xyxy, sample.boxes_xyxy)


@pytest.mark.parametrize('window', [(20, 10, 100, 90), (0, 0, 160, 96), (30, -10, 130, 70)])
def test_boxes_follow_the_pixels_of_both_modalities_when_cropped_and_resized(sample, window):
    crop = crop_resize(sample, window, (192, 320))
    np.testing.assert_allclose(crop.boxes_xyxy[0], box_of_white(crop.ir), atol=2)
    np.testing.assert_allclose(crop.boxes_xyxy[0], box_of_white(crop.rgb[..., 0]), atol=2)


def test_a_window_has_gray_unlabeled_pixels_around_the_image_and_no_boxes_outside(sample):
    crop = crop_resize(sample, (-40, -24, 280, 168), (96, 160))
    np.testing.assert_allclose(crop.boxes_xyxy[0], [40, 22, 56, 42])
    assert crop.ir[25:40, 42:54].min() > 200
    assert crop.ir[0, 0] == 114
    inside = crop.mask != 255
    assert inside[12:60, 20:100].all()
    assert inside.sum() == 48 * 80
    np.testing.assert_array_equal(crop.mask[inside], crop.ir[inside] > 127)
    crop = crop_resize(sample, (64, 0, 160, 96), (96, 96))
    assert len(crop.boxes_xyxy) == len(crop.class_ids) == 0


def test_resizing_down_is_antialiased_but_adds_no_value_to_a_mask():
    stripes = of_ir(np.tile([255, 0], (64, 32)))
    noise = np.random.default_rng(0).choice([0, 3, 255], (64, 64)).astype(np.uint8)
    small = crop_resize(replace(stripes, mask=noise), (0, 0, 64, 64), (16, 16))
    assert np.abs(small.ir.astype(int) - 127).max() <= 1
    assert set(np.unique(small.mask)) == {0, 3, 255}


def test_padding_repeats_the_border_and_leaves_the_mask_unlabeled(sample):
    padded = augmentation.pad(crop_resize(sample, (40, 20, 72, 60), (40, 30)))
    assert padded.rgb.shape == (64, 32, 3)
    assert (padded.ir == 255).all()
    assert set(np.unique(padded.mask[:40, :30])) == {1}
    assert set(np.unique(padded.mask[40:])) == {255}


def test_mosaic_joins_boxes_and_masks_and_keeps_the_strata_that_its_parts_share(sample):
    strata = {'light': 'day', 'source': 'msrs'}
    part = replace(crop_resize(sample, (0, 0, 160, 96), (48, 80)), strata=strata)
    bare = replace(part, mask=None)
    night = replace(bare, strata=strata | {'light': 'night'})
    whole = augmentation.mosaic([part, bare, night, part], (96, 160))
    expected = np.add(box_of_white(whole.ir[48:, 80:]), [80, 48, 80, 48])
    np.testing.assert_allclose(whole.boxes_xyxy[3], expected, atol=1)
    np.testing.assert_array_equal(whole.mask[48:, 80:], part.mask)
    assert (whole.mask[:48, 80:] == 255).all()
    assert whole.strata == {'source': 'msrs'}
    assert augmentation.mosaic([bare] * 4, (96, 160)).mask is None


def test_photometric_changes_keep_the_order_of_levels():
    ramp = of_ir(np.tile(np.arange(256), (4, 1)))
    for seed in range(10):
        changed = cameras.photometric(ramp, np.random.default_rng(seed))
        assert (np.diff(changed.ir.astype(int)) >= 0).all()


@pytest.mark.parametrize(('invert', 'least', 'most'), [(0.0, 0, 0), (0.5, 10, 30), (1.0, 40, 40)])
def test_stretched_ir_has_all_levels_and_is_inverted_as_often_as_asked(invert, least, most):
    ramp = of_ir(np.tile(np.linspace(20, 60, 160), (96, 1)))
    inverted = 0
    for seed in range(40):
        stretched = cameras.stretch_ir(ramp, np.random.default_rng(seed), invert)
        assert (stretched.ir.min(), stretched.ir.max()) == (0, 255)
        steps = np.diff(stretched.ir[0].astype(int))
        assert (steps >= 0).all() or (steps <= 0).all()
        inverted += steps.sum() < 0
        assert stretched.rgb is ramp.rgb
    assert least <= inverted <= most


def test_collate_marks_padding_masks_and_classes_that_are_not_labeled(sample):
    empty = replace(crop_resize(sample, (100, 0, 160, 96), (96, 160)), mask=None)
    batch = augmentation.collate([sample, empty])
    assert batch.valid.tolist() == [[True], [False]]
    assert batch.rgb.shape == (2, 3, 96, 160)
    assert batch.ir.shape == (2, 1, 96, 160)
    assert batch.ir.max() == 1.0
    assert batch.mask.dtype == torch.int64
    assert batch.mask[0].unique().tolist() == [0, 1]
    assert batch.mask[1].unique().tolist() == [255]
    assert augmentation.collate([empty]).mask is None
    persons_only = replace(sample, labeled=np.array([True, False]))
    assert augmentation.collate([sample]).labeled is None
    batch = augmentation.collate([sample, persons_only])
    assert batch.labeled.tolist() == [[True, True], [True, False]]
    four = augmentation.mosaic([sample, persons_only, sample, sample], (64, 64))
    assert four.labeled.tolist() == [True, False]


def test_a_region_to_ignore_stays_where_an_object_is_dropped(sample):
    """The same box, almost outside of the window, as an object and as a region."""
    boxes = np.array([[0, 0, 20, 20]] * 2, np.float32)
    cut = crop_resize(
        replace(sample, boxes_xyxy=boxes, class_ids=np.array([0, -1])), (18, 0, 50, 32), (32, 32)
    )
    assert cut.class_ids.tolist() == [-1]
    assert cut.boxes_xyxy.tolist() == [[0, 0, 2, 20]]
    batch = augmentation.collate([cut])
    assert (batch.valid.tolist(), batch.class_ids.tolist()) == ([[False]], [[-1]])


def test_narrow_view_is_black_and_uncovered_outside_and_keeps_ir_inside():
    rng, shares = np.random.default_rng(0), []
    for _ in range(200):
        sample = of_ir(rng.integers(1, 256, (96, 128)))
        narrow = cameras.narrow_view(sample, rng)
        seen = narrow.coverage > 0
        np.testing.assert_array_equal(narrow.ir, np.where(seen, sample.ir, 0))
        np.testing.assert_array_equal(narrow.rgb, sample.rgb)
        assert narrow.ir.dtype == np.uint8
        assert narrow.coverage.dtype == np.float32
        shares.append(seen.mean())
    assert 0.1 < min(shares) < 0.4
    assert 0.8 < max(shares) < 1


def test_coverage_moves_with_the_infrared_pixels():
    ir = np.zeros((90, 120), np.uint8)
    ir[10:50, 20:90] = 255
    sample = replace(of_ir(ir), coverage=np.float32(ir) / 255)
    for changed in (
        augmentation.flip(sample),
        crop_resize(sample, (10, 0, 74, 64), (96, 96)),
        augmentation.pad(sample),
        augmentation.mosaic([sample] * 4, (180, 240)),
    ):
        assert changed.coverage.dtype == np.float32
        np.testing.assert_allclose(changed.coverage, changed.ir / 255, atol=0.01)


def test_ir_moves_by_no_more_than_was_asked_and_rgb_and_boxes_stay(sample):
    rng = np.random.default_rng(0)
    moves = []
    for _ in range(20):
        moved = cameras.shift_ir(sample, rng, 6)
        moves.append(np.subtract(box_of_white(moved.ir), box_of_white(sample.ir))[:2])
        assert moved.rgb is sample.rgb
        assert moved.boxes_xyxy is sample.boxes_xyxy
    assert 3 < np.abs(moves).max() <= 6
    assert len({tuple(move) for move in moves}) > 10


def test_a_narrow_thermal_view_hides_nothing_that_only_the_thermal_camera_sees(sample):
    alone = replace(sample, rgb=np.zeros_like(sample.rgb))
    assert cameras.narrow_view(alone, np.random.default_rng(0)) is alone
