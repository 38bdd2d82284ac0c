"""The tracker: which detections of consecutive images get the same id."""

import numpy as np
import pytest

from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.tracker import KEEP_S
from tdfusion_ros.core.tracker import Tracker

RATES_HZ = (9, 30)
WIDTH, HEIGHT = 40, 100
START_NS = 1_700_000_000 * 10**9
PERSON, BICYCLE = 0, 1


def boxes(*centers_x, y=200, class_ids=None, scores=0.8):
    left = np.array(centers_x, np.float64).reshape(-1, 1) - WIDTH / 2
    corners = np.hstack((left, left * 0 + y, left + WIDTH, left * 0 + y + HEIGHT))
    ids = np.zeros(len(left), np.int64) if class_ids is None else np.array(class_ids)
    return Detections(corners.astype(np.float32), np.float32(scores) + np.zeros(len(left)), ids)


def follow(tracker, scene, until_s, hz, since_s=0.0):
    """Return the ids at each moment; ``scene`` returns detections of a time [s]."""
    times_s = np.arange(since_s, until_s, 1 / hz).tolist()
    return [tracker.update(scene(t), START_NS + round(t * 1e9)).ids.tolist() for t in times_s]


@pytest.fixture
def tracker():
    return Tracker()


def crossing(t):
    left, right = 200 + 90 * t, 560 - 90 * t
    return boxes(left, right) if abs(left - right) > 0.7 * WIDTH else boxes(left)


# What happens: detections of a time [s], seconds, the ids at the end, how many ids there were.
SCENES = {
    'somebody stands': (lambda t: boxes(320), 3, [1], 1),
    'somebody walks': (lambda t: boxes(320 + 80 * t), 3, [1], 1),
    'somebody runs': (lambda t: boxes(320 - 200 * t), 3, [1], 1),
    'somebody runs fast': (lambda t: boxes(320 + 250 * t), 3, [1], 1),  # at 9 Hz 28 of 40 px
    'smoke, a shutter or a tree for a second, twice the width of the box': (
        *(lambda t: boxes() if 1 <= t < 2 else boxes(200 + 80 * t), 3, [1], 1),
    ),
    'two people cross, and one hides the other': (crossing, 4, [1, 2], 2),
    'somebody comes back after a long absence': (
        *(lambda t: boxes(320) if t < 1 or t > 1.2 + KEEP_S else boxes(), 2 + KEEP_S, [2], 2),
    ),
    'somebody who is seen comes to where another was hidden': (
        *(lambda t: boxes(300, 320) if t < 0.5 else boxes(300 if t < 1.5 else 315), 1.9, [1], 2),
    ),
    'a class flips between person and bicycle': (
        *(lambda t: boxes(320 + 60 * t, class_ids=[round(t * 30) // 4 % 2]), 2, [1], 1),
    ),
}


@pytest.mark.parametrize('hz', RATES_HZ)
@pytest.mark.parametrize(('scene', 'seconds', 'last', 'number'), SCENES.values(), ids=SCENES)
def test_an_object_keeps_its_id_while(tracker, hz, scene, seconds, last, number):
    ids = follow(tracker, scene, seconds, hz)
    assert ids[-1] == last
    assert {one for found in ids for one in found} == set(range(1, 1 + number))


@pytest.mark.parametrize('hz', RATES_HZ)
def test_the_id_is_kept_while_no_image_comes_for_a_second(tracker, hz):
    def scene(t):
        return boxes(200 + 80 * t, 500)

    before = follow(tracker, scene, 1, hz)
    assert follow(tracker, scene, 3, hz, since_s=2.0)[0] == before[-1] == [1, 2]


@pytest.mark.parametrize('hz', RATES_HZ)
def test_boxes_of_a_repeated_image_do_not_stop_a_person(tracker, hz):
    follow(tracker, lambda t: boxes(100 + 90 * t), 1, hz)
    for t in np.arange(1, 1.5, 1 / hz):
        found = tracker.update(boxes(190), START_NS + round(t * 1e9), stale=True)
        assert found.ids.tolist() == [1]
    assert follow(tracker, lambda t: boxes(100 + 90 * t), 3, hz, since_s=2.0)[-1] == [1]


@pytest.mark.parametrize('back_s', [KEEP_S + 0.1, 3600.0, 1.7e9 - 1])
def test_a_jump_back_in_time_forgets_all_objects(tracker, back_s):
    assert follow(tracker, lambda t: boxes(320), 1, 30)[-1] == [1]
    assert follow(tracker, lambda t: boxes(320), 2 - back_s, 30, since_s=1 - back_s)[-1] == [2]


@pytest.mark.parametrize('step_ns', [0, -20_000_000, -1_900_000_000])
def test_a_repeated_or_slightly_older_stamp_keeps_the_ids(tracker, step_ns):
    tracker.update(boxes(100, 300), START_NS)
    assert tracker.update(boxes(300, 100), START_NS + step_ns).ids.tolist() == [2, 1]
    assert tracker.update(boxes(103, 303), START_NS + 33_000_000).ids.tolist() == [1, 2]


@pytest.mark.parametrize('jump_s', [10.0, 1e9])
def test_a_jump_forward_in_time_gives_new_ids(tracker, jump_s):
    tracker.update(boxes(320), START_NS)
    assert tracker.update(boxes(320), START_NS + round(jump_s * 1e9)).ids.tolist() == [2]


def test_a_person_on_a_bicycle_and_the_bicycle_keep_their_ids_in_any_order(tracker):
    def scene(t):
        both = [(320 + 60 * t, PERSON), (325 + 60 * t, BICYCLE)]
        both = both[::-1] if round(t * 30) % 3 else both
        return boxes(*(x for x, _ in both), class_ids=[class_id for _, class_id in both])

    for found, t in zip(follow(tracker, scene, 2, 30), np.arange(0, 2, 1 / 30), strict=True):
        classes = scene(t).class_ids.tolist()
        assert [found[classes.index(class_id)] for class_id in (PERSON, BICYCLE)] == [1, 2]


def test_no_id_is_used_twice_also_after_a_reset(tracker):
    seen = set()
    for image in range(20):
        if image % 7 == 6:
            tracker.reset()
        found = tracker.update(boxes(*range(60 + image, 600, 90)), START_NS + image * 10**10)
        assert not seen & set(found.ids.tolist())
        seen |= set(found.ids.tolist())
    assert seen == set(range(1, 1 + len(seen)))


def test_boxes_scores_and_classes_stay_as_detected(tracker):
    for x in (100, 110, 120):
        given = boxes(x, 3 * x, class_ids=[0, 2])
        found = tracker.update(given, START_NS + x * 10**7)
        for name in ('boxes_xyxy', 'scores', 'class_ids'):
            assert np.array_equal(getattr(found, name), getattr(given, name))


def test_noise_does_not_grow_the_memory_and_an_object_among_it_keeps_its_id(tracker):
    rng = np.random.default_rng(0)
    for image in range(60):
        found = boxes(320, *rng.uniform(0, 30_000, 99))
        ids = tracker.update(found, START_NS + image * 33_000_000).ids
        assert ids[0] == 1
        assert len(np.unique(ids)) == len(ids) == 100
    assert len(tracker._tracks) <= 500


def test_an_image_without_detections_has_no_ids(tracker):
    assert tracker.update(boxes(), START_NS).ids.shape == (0,)


def reported(tracker, scores, hz=10):
    """Return the image numbers at which a standing person with these scores is reported."""
    shown = []
    for image, score in enumerate(scores):
        found = tracker.update(boxes(320, scores=score), START_NS + image * 10**9 // hz, 0.5)
        shown += [image] * len(found)
        assert not len(found) or found.ids.tolist() == [1]
    return shown


# Scores at 10 Hz, and in which images the person is reported at a threshold of 0.5.
SCORES = {
    'a good object does not blink': ([0.8] * 9 + [0.3, 0.8, 0.26], range(12)),
    'a weak object is never reported': ([0.45] * 20, []),
    'one good score begins an object, and does not hold a weak one': ([0.3, 0.51, 0.3, 0.3], [1]),
    'an object that becomes weak ends': ([0.7] * 5 + [0.3] * 30, range(11)),
    'a weak object that becomes better begins then': ([0.3] * 5 + [0.6] * 3, range(5, 8)),
}


@pytest.mark.parametrize(('scores', 'images'), SCORES.values(), ids=SCORES)
def test_a_weak_box_is_reported_while_its_object_is_good_in_the_mean(tracker, scores, images):
    assert reported(tracker, scores) == list(images)


def test_a_weak_box_keeps_neither_the_place_nor_the_id_of_another_object(tracker):
    tracker.update(boxes(200, 300), START_NS, 0.5)
    for image in range(1, 5):  # a second box on the first person, and a car at the other
        found = boxes(200, 215, 300, class_ids=[0, 0, 2], scores=[0.8, 0.4, 0.4])
        shown = tracker.update(found, START_NS + image * 10**8, 0.5)
        assert shown.ids.tolist() == [1]
        assert shown.boxes_xyxy.tolist() == boxes(200).boxes_xyxy.tolist()
