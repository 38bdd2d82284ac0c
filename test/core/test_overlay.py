from dataclasses import replace

import numpy as np
import pytest

from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.data import Temperatures
from tdfusion_ros.core.overlay import color_of
from tdfusion_ros.core.overlay import COLORS
from tdfusion_ros.core.overlay import draw
from tdfusion_ros.core.overlay import draw_edges
from tdfusion_ros.core.overlay import EDGES
from tdfusion_ros.core.overlay import label_of

CLASSES = ('person', 'bicycle', 'car')


def found(*boxes, class_ids=None):
    ids = range(len(boxes)) if class_ids is None else class_ids
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(len(boxes), 0.9, np.float32),
        np.array(list(ids), np.int64),
    )


def test_overlay_of_an_empty_scene_is_the_image():
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    np.testing.assert_array_equal(draw(image, found(), CLASSES), image)


@pytest.mark.parametrize('class_id', [0, 2, 19])  # more classes than colors
def test_box_is_drawn_along_its_border_in_the_color_of_its_class(class_id):
    box = found([20, 40, 80, 90], class_ids=[class_id])
    canvas = draw(np.zeros((120, 160, 3), np.uint8), box, [f'class {i}' for i in range(20)])
    for y, x in ((90, 50), (65, 20), (65, 80)):
        assert tuple(canvas[y, x]) == COLORS[class_id % len(COLORS)]
    assert not canvas[50:85, 30:70].any()


def test_an_object_keeps_its_color_when_its_class_changes_and_shows_its_id():
    image, box = np.zeros((120, 160, 3), np.uint8), [20, 40, 80, 90]
    first, second = (
        draw(image, replace(found(box, class_ids=[i]), ids=np.array([3])), ('same',) * 3)
        for i in (0, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert tuple(first[90, 50]) == color_of(0, 3) == color_of(2, 3)
    assert len({color_of(0, number) for number in range(1, 101)}) == 100
    assert (draw(image, replace(found(box), ids=np.array([9])), ('same',)) != first).any()


def test_label_has_the_highest_temperature_in_celsius_where_it_is_known():
    assert label_of('person', 0.834, celsius=36.44) == 'person 0.83 36.4 C'
    image, plain = np.zeros((240, 320, 3), np.uint8), found([40, 60, 80, 90], [150, 60, 190, 90])
    counts = np.array([(7000, 7100, 7740), (np.nan, np.nan, np.nan)])
    warm = replace(plain, temperatures=Temperatures(counts, counts * 0.04))
    assert warm.highest_c == pytest.approx([36.45, np.nan], nan_ok=True)
    changed = (draw(image, warm, CLASSES) != draw(image, plain, CLASSES)).any(axis=(0, 2))
    assert changed[80:140].any()
    assert not changed[150:].any()


@pytest.mark.parametrize(
    'box', [[0, 0, 160, 120], [150, 0, 160, 9], [0, 110, 9, 120], [40, 0, 60, 120]]
)
def test_label_is_inside_the_image_for_boxes_at_every_border(box):
    canvas = draw(np.zeros((120, 160, 3), np.uint8), found(box), CLASSES)
    filled = (canvas == COLORS[0]).all(axis=2)
    assert filled.sum() > 0.02 * filled.size
    # Black letters on the filled background.
    rows, columns = np.nonzero(filled)
    label = canvas[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert (label.max(axis=2) < 100).any()


@pytest.mark.parametrize('size_hw', [(96, 128), (480, 640), (1024, 1280)])
def test_warning_is_written_across_the_top_and_leaves_the_rest(size_hw):
    image = np.full((*size_hw, 3), 90, np.uint8)
    canvas = draw(image, found(), CLASSES, 'IR STALLED 0.8 s')
    band = max(12, size_hw[0] // 12)
    assert (canvas[:band] != 90).any(axis=2).all()
    assert (canvas[:band].min(axis=2) > 150).sum() > 0.005 * band * size_hw[1]  # white letters
    np.testing.assert_array_equal(canvas[band + 2 :], image[band + 2 :])
    assert (image == 90).all()


def test_edges_of_ir_are_where_it_changes_and_nowhere_else():
    gray, ir = np.full((96, 128), 90, np.uint8), np.zeros((96, 128), np.float32)
    ir[30:60, 40:80] = 0.5
    drawn = draw_edges(gray, ir, np.ones(gray.shape, bool))
    rows, columns = np.nonzero((drawn == EDGES).all(2))
    assert len(rows) > 80
    inside = (rows > 34) & (rows < 56) & (columns > 44) & (columns < 76)
    outside = (rows < 26) | (rows > 64) | (columns < 36) | (columns > 84)
    assert not (inside | outside).any()
    assert (drawn[0, 0] == 90).all()


@pytest.mark.parametrize('seen', [True, False])
def test_a_flat_ir_image_has_no_edges_and_is_dark_where_it_is_not_valid(seen):
    gray = np.full((32, 48), 90, np.uint8)
    drawn = draw_edges(gray, np.zeros((32, 48), np.float32), np.full((32, 48), seen))
    assert (drawn == (90 if seen else 30)).all()
