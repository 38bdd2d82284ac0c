from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
import numpy as np
import pytest

from tdfusion_ros.core import postprocess
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.postprocess import detections
from tdfusion_ros.core.postprocess import wanted_classes

CONFIG = FusionConfig(score_threshold=0.3, nms_threshold=0.5)
NEVER = 1.0  # no two boxes overlap more
SIZE_HW = (100, 200)


def find(boxes, scores, config=CONFIG, wanted=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    scores = np.array(scores, np.float32).reshape(len(boxes), -1)
    if wanted is None:
        wanted = np.ones(scores.shape[1], bool)
    return detections(boxes, scores, SIZE_HW, config, wanted)


def iou(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    area_a, area_b = ((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return width * height / (area_a + area_b - width * height)


def naive(boxes, scores, config):
    """Return (score, class, box) as the textbook does it: one candidate after the other."""
    kept = []
    candidates = [(i, c) for c in range(scores.shape[1]) for i in range(len(boxes))]
    for i, c in sorted(candidates, key=lambda at: -scores[at]):
        if scores[i, c] < config.score_threshold:
            break
        limits = (config.nms_threshold_across, config.nms_threshold)
        if all(iou(boxes[i], box) <= limits[c == other] for _, other, box in kept):
            kept.append((scores[i, c], c, tuple(boxes[i])))
    return kept[: config.max_detections]


@st.composite
def raw_outputs(draw):
    """Draw boxes on a coarse grid inside the image, so that many overlap, and their scores."""
    count, classes = draw(st.integers(1, 12)), draw(st.integers(1, 3))
    corner = draw(hnp.arrays(np.int64, (count, 2), elements=st.integers(0, 8)))
    size = draw(hnp.arrays(np.int64, (count, 2), elements=st.integers(1, 3)))
    boxes = np.hstack([corner, corner + size]) * 8.0
    order = np.random.default_rng(draw(st.integers(0, 99))).permutation(count * classes)
    scores = (order.reshape(count, classes) + 1) / (count * classes)
    return boxes.astype(np.float32), scores.astype(np.float32)


def as_list(found):
    parts = found.scores, found.class_ids, found.boxes_xyxy
    return [(score, class_id, tuple(box)) for score, class_id, box in zip(*parts, strict=True)]


@given(
    raw_outputs(),
    st.sampled_from((0.1, 0.45, 0.7, 1.0)),
    st.sampled_from((0.3, 0.8, NEVER)),
    st.sampled_from((2, 100)),
)
def test_detections_agree_with_a_naive_suppression(raw, same, across, max_detections):
    config = replace(
        CONFIG, nms_threshold=same, nms_threshold_across=across, max_detections=max_detections
    )
    assert as_list(find(*raw, config)) == naive(*raw, config)


@pytest.mark.parametrize('classes', [1, 3])
@pytest.mark.parametrize('threshold', [0.3, 0.9, 0.997])
def test_hundreds_of_candidates_agree_with_a_naive_suppression(classes, threshold):
    rng = np.random.default_rng(classes)
    corner = rng.integers(0, 20, (700 // classes, 2)) * 4.0
    boxes = np.hstack([corner, corner + rng.integers(4, 24, corner.shape)]).astype(np.float32)
    scores = rng.permutation(len(boxes) * classes).reshape(len(boxes), classes) + 1
    scores = (scores / scores.max()).astype(np.float32)
    config = replace(CONFIG, score_threshold=threshold, max_detections=10_000)
    assert as_list(find(boxes, scores, config)) == naive(boxes, scores, config)


@pytest.mark.parametrize(
    ('second_box', 'scores', 'settings', 'class_ids'),
    [
        pytest.param([10, 30, 50, 90], [[0.9, 0], [0, 0.8]], {}, [0, 1], id='rider and bicycle'),
        pytest.param([11, 10, 51, 81], [[0.6, 0], [0, 0.9]], {}, [1], id='almost equal boxes'),
        pytest.param([90, 9, 99, 99], [[0.6, 0.9], [0, 0]], {}, [1], id='one box, two classes'),
        pytest.param(
            [90, 9, 99, 99],
            [[0.6, 0.9], [0, 0]],
            {'nms_threshold_across': NEVER},
            [1, 0],
            id='one box, two classes, both wanted by the user',
        ),
    ],
)
def test_classes_suppress_each_other_only_for_one_object(second_box, scores, settings, class_ids):
    found = find([[10, 10, 50, 80], second_box], scores, replace(CONFIG, **settings))
    assert found.class_ids.tolist() == class_ids


def test_a_class_that_is_not_wanted_suppresses_nothing():
    wanted = np.array([True, False])
    assert find([[10, 10, 50, 50]], [[0.6, 0.9]], wanted=wanted).class_ids.tolist() == [0]


def test_boxes_are_clipped_to_the_image_and_reported_from_the_threshold_on():
    found = find([[-20, -5, 30, 40], [150, 60, 230, 130]], [0.9, 0.8])
    np.testing.assert_array_equal(found.boxes_xyxy, [[0, 0, 30, 40], [150, 60, 200, 100]])
    found = find([[0, 0, 9, 9], [20, 0, 29, 9]], [0.3, 0.29])
    assert found.scores.tolist() == pytest.approx([0.3])


@pytest.mark.parametrize(
    'box',
    [[200, 10, 220, 20], [10, 100, 20, 120], [-9, 0, 0, 9], [30, 30, 30, 40], [50, 9, 40, 20]],
)
def test_boxes_outside_of_the_image_or_without_area_are_left_out(box):
    assert len(find([box], [0.9])) == 0


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_never_reported(bad):
    found = find([[bad, 0, 9, 9], [0, 0, 9, bad], [20, 20, 40, 40]], [0.9, 0.8, np.nan])
    assert np.isfinite(found.boxes_xyxy).all()
    assert np.isfinite(found.scores).all()


@pytest.mark.parametrize('count', [0, 3])
def test_an_empty_scene_gives_empty_arrays_of_the_right_shape(count):
    found = detections(
        np.zeros((count, 4), np.float32),
        np.zeros((count, 2), np.float32),
        SIZE_HW,
        CONFIG,
        np.ones(2, bool),
    )
    assert len(found) == 0
    assert found.boxes_xyxy.shape == (0, 4)
    assert found.boxes_xyxy.dtype == found.scores.dtype == np.float32
    assert found.class_ids.dtype == np.int64


def test_class_filter_keeps_only_the_named_classes_and_an_empty_one_keeps_all():
    assert wanted_classes(('car',), ('person', 'bicycle', 'car')).tolist() == [False, False, True]
    assert wanted_classes((), ('person', 'car')).all()
    with pytest.raises(ConfigError, match='has cat; the model has person, car'):
        wanted_classes(('person', 'cat'), ('person', 'car'))


@pytest.mark.parametrize('threshold', [0.0, 0.01])
def test_candidates_of_all_classes_are_limited_together(threshold, monkeypatch):
    """80 classes and 6300 boxes: compares a limited number, whatever the threshold."""
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 150, (6300, 2)).astype(np.float32)
    boxes = np.hstack([corner, corner + 1])  # nothing overlaps: all candidates are compared
    compared, triu = [], np.triu  # the size of each comparison of a block with itself
    monkeypatch.setattr(np, 'triu', lambda m, k: compared.append(m.size) or triu(m, k))
    config = replace(CONFIG, score_threshold=threshold, max_detections=10_000)
    scores = rng.random((6300, 80), dtype=np.float32)
    found = find(boxes, scores, config)
    assert len(found) <= postprocess.CANDIDATES
    assert sum(compared) <= postprocess.CANDIDATES * postprocess.BLOCK
    best = np.sort(scores, axis=None)[-len(found) // 2 :]
    assert found.scores[: len(best)].tolist() == pytest.approx(best[::-1].tolist(), abs=1e-3)
