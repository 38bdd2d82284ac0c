from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip('pycocotools')
pytest.importorskip('cv2')

from training.data.datasets import CLASSES
from training.measure.bootstrap import bootstrap_ap50
from training.measure.bootstrap import bootstrap_difference
from training.measure.bootstrap import ranking
from training.measure.bootstrap import weighted_ap50
from training.measure.metrics import average_precision
from training.measure.metrics import match

pytestmark = pytest.mark.torch


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
        replace(
            result,
            boxes_xyxy=result.boxes_xyxy[i % 3 == 0 :],
            scores=result.scores[i % 3 == 0 :],
            class_ids=result.class_ids[i % 3 == 0 :],
        )
        for i, result in enumerate(scattered[1])
    ]


def test_weighted_ap50_equals_pycocotools_on_the_repeated_images(scattered):
    samples, results = scattered
    rng = np.random.default_rng(1)
    evaluation = match(samples, results)
    for _ in range(5):
        draw = rng.multinomial(30, [1 / 30] * 30)
        chosen = np.repeat(np.arange(30), draw)
        expected = average_precision([samples[i] for i in chosen], [results[i] for i in chosen])
        for class_id, name in enumerate(CLASSES):
            got = weighted_ap50(*ranking(evaluation, class_id), draw)
            assert got == pytest.approx(expected[name]['AP50'], nan_ok=True)


def test_interval_contains_ap50_and_is_the_same_each_time(scattered):
    interval = bootstrap_ap50(*scattered, resamples=200)
    whole = average_precision(*scattered)
    for name in ('person', 'bicycle', 'all'):
        low, high = interval[name].values()
        assert low < whole[name]['AP50'] < high
    assert np.isnan(interval['car']['AP50 low'])
    again = bootstrap_ap50(*scattered, resamples=200)
    assert all(again[name] == pytest.approx(interval[name], nan_ok=True) for name in interval)


def test_interval_of_equal_images_has_no_width(labeled, detected):
    boxes = [[0, 0, 20, 20]], [0]
    interval = bootstrap_ap50([labeled(*boxes)] * 3, [detected(*boxes)] * 3, resamples=10)
    assert interval['all'] == pytest.approx({'AP50 low': 1, 'AP50 high': 1})


def test_images_without_boxes_or_detections_count(labeled, detected):
    samples = [labeled([], []), labeled([[0, 0, 20, 20]], [0])]
    interval = bootstrap_ap50(samples, [detected([], [])] * 2, resamples=10)
    assert interval['person'] == {'AP50 low': 0, 'AP50 high': 0}


def test_intervals_have_the_names_of_the_classes_of_the_data(scattered):
    interval = bootstrap_ap50(*scattered, classes=('cat', 'dog'), resamples=10)
    assert list(interval) == ['cat', 'dog', 'all']


def test_difference_of_identical_detections_is_zero_and_none_is_better(scattered):
    samples, results = scattered
    table = bootstrap_difference(samples, results, results, resamples=50)
    nothing = {'difference': 0, 'low': 0, 'high': 0, 'a better': 0}
    assert table['person'] == table['bicycle'] == table['all'] == nothing
    assert all(np.isnan(value) for value in table['car'].values())


def test_difference_without_resampling_is_that_of_both_ap50(scattered, worse):
    samples, results = scattered
    table = bootstrap_difference(samples, results, worse, resamples=1)
    ap_a, ap_b = (average_precision(samples, found) for found in (results, worse))
    for name in ('person', 'bicycle', 'all'):
        expected = ap_a[name]['AP50'] - ap_b[name]['AP50']
        assert table[name]['difference'] == pytest.approx(expected)


def test_a_perfect_detector_is_better_on_every_resample(scattered, detected):
    samples, results = scattered
    perfect = [detected(s.boxes_xyxy, s.class_ids) for s in samples]
    better = bootstrap_difference(samples, perfect, results, resamples=100)['all']
    assert 0 < better['low'] <= better['difference'] <= better['high']
    assert better['a better'] == 1
    swapped = bootstrap_difference(samples, results, perfect, resamples=100)['all']
    assert swapped['high'] == pytest.approx(-better['low'])
    assert swapped['a better'] == 0


def test_interval_of_the_difference_is_narrower_than_two_separate_ones(scattered, worse):
    samples, results = scattered
    paired = bootstrap_difference(samples, results, worse, resamples=300)['all']
    a, b = (bootstrap_ap50(samples, found, resamples=300)['all'] for found in (results, worse))
    apart = (a['AP50 high'] - b['AP50 low']) - (a['AP50 low'] - b['AP50 high'])
    assert paired['high'] - paired['low'] < apart
