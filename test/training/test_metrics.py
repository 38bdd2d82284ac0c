import numpy as np
import pytest

pytest.importorskip('pycocotools')
pytest.importorskip('cv2')

from tdfusion_ros.core.data import Detections
from training.datasets import Sample
from training.metrics import average_precision

pytestmark = pytest.mark.torch
IMAGE = np.zeros((64, 64), np.uint8)


def sample(boxes, class_ids):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return Sample('a', np.dstack([IMAGE] * 3), IMAGE, boxes, np.array(class_ids, np.int64))


def found(boxes, class_ids):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    scores = np.linspace(0.9, 0.5, len(boxes)).astype(np.float32)
    return Detections(boxes, scores, np.array(class_ids, np.int64))


def test_ap_of_the_truth_itself_is_one_and_absent_classes_do_not_count():
    samples = [sample([[0, 0, 20, 20], [30, 30, 60, 60]], [0, 2]), sample([], [])]
    results = [found([[0, 0, 20, 20], [30, 30, 60, 60]], [0, 2]), found([], [])]
    table = average_precision(samples, results)
    assert table['all'] == pytest.approx({'AP50': 1, 'AP75': 1, 'AP50-95': 1})
    assert np.isnan(table['bicycle']['AP50'])


def test_ap50_forgives_a_loose_box_that_ap75_does_not():
    table = average_precision([sample([[0, 0, 20, 20]], [0])], [found([[0, 0, 20, 30]], [0])])
    assert table['person']['AP50'] == pytest.approx(1)
    assert table['person']['AP75'] == 0


def test_ap_without_any_detection_is_zero():
    table = average_precision([sample([[0, 0, 20, 20]], [0])], [found([], [])])
    assert table['person']['AP50'] == 0


def test_a_detection_of_the_wrong_class_counts_as_wrong():
    table = average_precision([sample([[0, 0, 20, 20]], [0])], [found([[0, 0, 20, 20]], [1])])
    assert table['person']['AP50'] == 0
