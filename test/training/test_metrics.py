from dataclasses import replace

import numpy as np
import pytest

from tdfusion_ros.core.data import Detections
from training.data.datasets import CLASSES
from training.measure import bootstrap
from training.measure.bootstrap import bootstrap_ap50
from training.measure.bootstrap import bootstrap_difference
from training.measure.metrics import average_precision
from training.measure.metrics import class_scores
from training.measure.metrics import count_pixels
from training.measure.metrics import match
from training.measure.metrics import mean_of_known
from training.measure.metrics import precision_and_recall
from training.measure.metrics import ranking

BOX = [0, 0, 20, 20]


@pytest.fixture
def scattered(labeled, detected):
    """Return thirty images of few boxes each and a detector that is right half of the time."""
    rng = np.random.default_rng(0)
    samples, results = [], []
    for _ in range(30):
        count = int(rng.integers(0, 4))
        corners = rng.uniform(0, 40, (count, 2))
        boxes = np.concatenate((corners, corners + rng.uniform(8, 24, (count, 2))), 1)
        class_ids = rng.integers(0, 2, count)
        samples.append(labeled(boxes, class_ids))
        moved = np.concatenate((boxes + rng.choice((0, 12), (count, 1)), [[0, 0, 9, 9]]))
        scores = rng.random(count + 1).astype(np.float32)
        results.append(replace(detected(moved, np.append(class_ids, 0)), scores=scores))
    return samples, results


@pytest.fixture
def worse(scattered):
    """Return the detections of a worse detector: it loses a box in every third image."""
    return [
        Detections(found.boxes_xyxy[lost:], found.scores[lost:], found.class_ids[lost:])
        for lost, found in ((i % 3 == 0, found) for i, found in enumerate(scattered[1]))
    ]


def test_ap_of_the_truth_itself_is_one_and_absent_classes_do_not_count(labeled, detected):
    boxes = [BOX, [30, 30, 60, 60]], [1, 5]
    samples, found = [labeled(*boxes), labeled([], [])], [detected(*boxes), detected([], [])]
    table = average_precision(samples, found, classes='abcdef')
    perfect = pytest.approx({'AP50': 1, 'AP75': 1, 'AP50-95': 1})
    assert list(table) == [*'abcdef', 'all']
    assert table['b'] == table['f'] == table['all'] == perfect
    assert np.isnan(table['a']['AP50'])


def test_detections_in_ignored_regions_or_of_unlabeled_classes_do_not_count(labeled, detected):
    samples = [labeled([BOX, [30, 30, 60, 60]], [1, -1])]
    wrong_box = [32, 32, 58, 58]
    table = average_precision(samples, [detected([wrong_box, BOX], [1, 1])], classes='ab')
    assert table['b']['AP50'] == pytest.approx(1)
    narrow = bootstrap_ap50(samples, [detected([wrong_box, BOX], [1, 1])], classes='ab')
    assert narrow['b'] == pytest.approx({'AP50 low': 1, 'AP50 high': 1})
    unlabeled = replace(labeled([BOX], [0]), labeled=np.array([True, False]))
    samples = [unlabeled, labeled([BOX], [1])]
    found = [detected([BOX, BOX], [0, 1]), detected([BOX], [1])]
    assert average_precision(samples, found, classes='ab')['all']['AP50'] == pytest.approx(1)


@pytest.mark.parametrize(
    ('found', 'ap50', 'ap75'),
    [(([[0, 0, 20, 30]], [0]), 1, 0), (([], []), 0, 0), (([BOX], [1]), 0, 0)],
    ids=['loose box', 'no detection', 'wrong class'],
)
def test_ap_of_a_detection_that_is_not_right(labeled, detected, found, ap50, ap75):
    row = average_precision([labeled([BOX], [0])], [detected(*found)])['person']
    assert row['AP50'] == pytest.approx(ap50)
    assert row['AP75'] == ap75


def test_precision_and_recall_count_what_the_robot_reports(labeled, detected):
    far, ignored = [30, 30, 60, 60], [0, 40, 20, 60]
    samples = [labeled([BOX, far, ignored], [0, 0, -1])]
    boxes = [BOX, [1, 0, 21, 20], [40, 0, 60, 20], ignored, far]
    scores = np.float32([0.9, 0.8, 0.7, 0.6, 0.29])  # right, suppressed, wrong, ignored, too low
    found = [replace(detected(boxes, [0] * 5), scores=scores)]
    table = precision_and_recall(samples, found, classes='ab')
    assert table['a'] == table['all'] == {'precision': 0.5, 'recall': 0.5}
    assert np.isnan(table['b']['precision'])
    assert np.isnan(table['b']['recall'])


@pytest.mark.parametrize(('truth', 'found'), [(0, 3), (3, 0)])
def test_ap_refuses_boxes_of_a_class_without_a_name(labeled, detected, truth, found):
    with pytest.raises(ValueError, match='0 to 2'):
        average_precision([labeled([BOX], [truth])], [detected([BOX], [found])])


def test_confusion_counts_labeled_pixels_and_its_scores_equal_those_by_hand():
    truth = np.array([[0, 0, 1], [1, 255, 255]], np.uint8)
    predicted = np.array([[0, 1, 1], [1, 0, 1]], np.uint8)
    assert count_pixels(truth, predicted, 2).tolist() == [[1, 1], [0, 2]]
    with pytest.raises(ValueError, match='0 to 1'):
        count_pixels(np.array([0, 2]), np.array([0, 1]), 2)
    scores = class_scores(np.array([[3, 1, 0, 0], [1, 2, 1, 0], [0] * 4, [0] * 4]))
    # A class that neither occurs nor is predicted does not count.
    assert scores['IoU'] == pytest.approx([3 / 5, 2 / 5, 0, np.nan], nan_ok=True)
    assert scores['Acc'] == pytest.approx([3 / 4, 2 / 4, np.nan, np.nan], nan_ok=True)
    assert mean_of_known(scores['IoU']) == pytest.approx(1 / 3)


def test_weighted_ap50_equals_pycocotools_on_the_repeated_images(scattered):
    samples, results = scattered
    rng = np.random.default_rng(1)
    evaluation = match(samples, results)
    for _ in range(5):
        draw = rng.multinomial(30, [1 / 30] * 30)
        chosen = np.repeat(np.arange(30), draw)
        expected = average_precision([samples[i] for i in chosen], [results[i] for i in chosen])
        for class_id, name in enumerate(CLASSES):
            got = bootstrap.weighted_ap50(*ranking(evaluation, class_id), draw)
            assert got == pytest.approx(expected[name]['AP50'], nan_ok=True)


def test_interval_contains_ap50_and_is_the_same_each_time(scattered):
    names = ('cat', 'dog', 'cow')
    interval, again = (bootstrap_ap50(*scattered, classes=names, resamples=200) for _ in range(2))
    whole = average_precision(*scattered, classes=names)
    assert list(interval) == [*names, 'all']
    for name in ('cat', 'dog', 'all'):
        low, high = interval[name].values()
        assert low < whole[name]['AP50'] < high
        assert again[name] == interval[name]
    assert np.isnan(interval['cow']['AP50 low'])


def test_paired_difference_has_a_narrower_interval_than_two_separate_ap50(scattered, worse):
    samples, results = scattered
    paired = bootstrap_difference(samples, results, worse, resamples=300)
    ap_a, ap_b = (average_precision(samples, found) for found in (results, worse))
    for name in ('person', 'bicycle', 'all'):
        expected = ap_a[name]['AP50'] - ap_b[name]['AP50']
        assert paired[name]['difference'] == pytest.approx(expected)
    a, b = (bootstrap_ap50(samples, found, resamples=300)['all'] for found in (results, worse))
    apart = (a['AP50 high'] - b['AP50 low']) - (a['AP50 low'] - b['AP50 high'])
    assert paired['all']['high'] - paired['all']['low'] < apart
