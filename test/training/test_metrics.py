import numpy as np
import pytest

pytest.importorskip('pycocotools')
pytest.importorskip('cv2')

from tdfusion_ros.core.data import Detections
from training.data.datasets import Sample
from training.measure.metrics import average_precision
from training.measure.metrics import count_pixels
from training.measure.metrics import segmentation_scores

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


def test_ap_has_the_names_of_the_classes_of_the_data():
    truth = [[0, 0, 20, 20], [30, 30, 60, 60]], [1, 5]
    table = average_precision([sample(*truth)], [found(*truth)], classes=tuple('abcdef'))
    assert list(table) == ['a', 'b', 'c', 'd', 'e', 'f', 'all']
    assert table['b']['AP50'] == table['f']['AP50'] == pytest.approx(1)
    assert np.isnan(table['a']['AP50'])


def test_ap_refuses_boxes_of_a_class_without_a_name():
    truth, wrong = ([[0, 0, 20, 20]], [0]), ([[0, 0, 20, 20]], [3])
    for labels, results in ((truth, wrong), (wrong, truth)):
        with pytest.raises(ValueError, match='0 to 2'):
            average_precision([sample(*labels)], [found(*results)])


def test_segmentation_scores_are_those_computed_by_hand():
    confusion = np.array([[3, 1, 0], [1, 2, 1], [0, 0, 0]])
    scores = segmentation_scores(confusion)
    assert scores['mIoU'] == pytest.approx((3 / 5 + 2 / 5 + 0 / 1) / 3)
    assert scores['mAcc'] == pytest.approx((3 / 4 + 2 / 4) / 2)


def test_segmentation_scores_leave_out_a_class_that_neither_occurs_nor_is_predicted():
    assert segmentation_scores(np.diag([5, 5, 0])) == {'mIoU': 1, 'mAcc': 1}


def test_confusion_counts_truth_in_rows_and_no_unlabeled_pixel():
    truth = np.array([[0, 0, 1], [1, 255, 255]], np.uint8)
    predicted = np.array([[0, 1, 1], [1, 0, 1]], np.uint8)
    assert count_pixels(truth, predicted, 2).tolist() == [[1, 1], [0, 2]]


def test_confusion_refuses_a_class_that_is_out_of_range():
    with pytest.raises(ValueError, match='0 to 1'):
        count_pixels(np.array([0, 2]), np.array([0, 1]), 2)
