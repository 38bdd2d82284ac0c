import numpy as np
import pytest

pytest.importorskip('pycocotools')
pytest.importorskip('cv2')

from tdfusion_ros.core.data import Detections
from training.data.datasets import CLASSES
from training.data.datasets import Sample
from training.measure.bootstrap import bootstrap_ap50
from training.measure.bootstrap import bootstrap_difference
from training.measure.bootstrap import ranking
from training.measure.bootstrap import weighted_ap50
from training.measure.metrics import average_precision
from training.measure.metrics import match

pytestmark = pytest.mark.torch
IMAGE = np.zeros((64, 64), np.uint8)


def sample(boxes, class_ids):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return Sample('a', np.dstack([IMAGE] * 3), IMAGE, boxes, np.array(class_ids, np.int64))


def found(boxes, class_ids):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    scores = np.linspace(0.9, 0.5, len(boxes)).astype(np.float32)
    return Detections(boxes, scores, np.array(class_ids, np.int64))


@pytest.fixture
def scattered():
    """Return thirty images of few boxes each and a detector that is right half of the time."""
    rng = np.random.default_rng(0)
    samples, results = [], []
    for _ in range(30):
        count = int(rng.integers(0, 4))
        corners = rng.uniform(0, 40, (count, 2))
        boxes = np.concatenate((corners, corners + rng.uniform(8, 24, (count, 2))), 1)
        class_ids = rng.integers(0, 2, count)
        samples.append(sample(boxes, class_ids))
        moved = np.concatenate((boxes + rng.choice((0, 12), (count, 1)), [[0, 0, 9, 9]]))
        scores = rng.random(count + 1).astype(np.float32)
        results.append(
            Detections(moved.astype(np.float32), scores, np.append(class_ids, 0).astype(np.int64))
        )
    return samples, results


def test_weighted_ap50_is_that_of_pycocotools_on_the_images_written_out(scattered):
    samples, results = scattered
    rng = np.random.default_rng(1)
    for _ in range(5):
        draw = rng.multinomial(30, [1 / 30] * 30)
        chosen = np.repeat(np.arange(30), draw)
        expected = average_precision([samples[i] for i in chosen], [results[i] for i in chosen])
        for class_id, name in enumerate(CLASSES):
            got = weighted_ap50(*ranking(match(samples, results), class_id), draw)
            assert got == pytest.approx(expected[name]['AP50'], nan_ok=True)


def test_bootstrap_interval_holds_ap50_and_is_the_same_each_time(scattered):
    interval = bootstrap_ap50(*scattered, resamples=200)
    whole = average_precision(*scattered)
    for name in ('person', 'bicycle', 'all'):
        low, high = interval[name].values()
        assert low < whole[name]['AP50'] < high
    assert np.isnan(interval['car']['AP50 low'])
    again = bootstrap_ap50(*scattered, resamples=200)
    assert all(again[name] == pytest.approx(interval[name], nan_ok=True) for name in interval)


def test_bootstrap_interval_of_equal_images_has_no_width():
    samples = [sample([[0, 0, 20, 20]], [0])] * 3
    results = [found([[0, 0, 20, 20]], [0])] * 3
    interval = bootstrap_ap50(samples, results, resamples=10)
    assert interval['all'] == pytest.approx({'AP50 low': 1, 'AP50 high': 1})


def test_bootstrap_knows_images_without_boxes_and_without_detections():
    samples = [sample([], []), sample([[0, 0, 20, 20]], [0])]
    interval = bootstrap_ap50(samples, [found([], []), found([], [])], resamples=10)
    assert interval['person'] == {'AP50 low': 0, 'AP50 high': 0}


def test_bootstrap_has_the_names_of_the_classes_of_the_data(scattered):
    interval = bootstrap_ap50(*scattered, classes=('cat', 'dog'), resamples=10)
    assert list(interval) == ['cat', 'dog', 'all']


def nudged(results):
    """Return the detections of a detector that is somewhat worse: it loses every third box."""
    return [
        Detections(r.boxes_xyxy[i % 3 == 0 :], r.scores[i % 3 == 0 :], r.class_ids[i % 3 == 0 :])
        for i, r in enumerate(results)
    ]


def test_difference_of_identical_detections_is_zero_and_none_is_better(scattered):
    samples, results = scattered
    table = bootstrap_difference(samples, results, results, resamples=50)
    nothing = {'difference': 0, 'low': 0, 'high': 0, 'a better': 0}
    assert table['person'] == table['bicycle'] == table['all'] == nothing
    assert all(np.isnan(value) for value in table['car'].values())


def test_difference_on_the_images_as_they_are_is_that_of_both_ap50(scattered):
    samples, a = scattered
    b = nudged(a)
    table = bootstrap_difference(samples, a, b, resamples=1)
    of_a, of_b = (average_precision(samples, found) for found in (a, b))
    for name in ('person', 'bicycle', 'all'):
        expected = of_a[name]['AP50'] - of_b[name]['AP50']
        assert table[name]['difference'] == pytest.approx(expected)


def test_a_strictly_better_detector_is_better_on_every_resample(scattered):
    samples, worse = scattered
    perfect = [
        Detections(s.boxes_xyxy, np.ones(len(s.boxes_xyxy), np.float32), s.class_ids)
        for s in samples
    ]
    better = bootstrap_difference(samples, perfect, worse, resamples=100)['all']
    assert 0 < better['low'] <= better['difference'] <= better['high']
    assert better['a better'] == 1
    swapped = bootstrap_difference(samples, worse, perfect, resamples=100)['all']
    assert swapped['high'] == pytest.approx(-better['low'])
    assert swapped['a better'] == 0


def test_interval_of_the_difference_is_narrower_than_two_separate_ones(scattered):
    samples, a = scattered
    b = nudged(a)
    paired = bootstrap_difference(samples, a, b, resamples=300)['all']
    of_a, of_b = (bootstrap_ap50(samples, f, resamples=300)['all'] for f in (a, b))
    apart = of_a['AP50 high'] - of_b['AP50 low'], of_a['AP50 low'] - of_b['AP50 high']
    assert paired['high'] - paired['low'] < apart[0] - apart[1]
