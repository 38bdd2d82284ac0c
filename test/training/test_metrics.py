import numpy as np
import pytest

pytest.importorskip('pycocotools')
pytest.importorskip('cv2')

from training.measure.metrics import average_precision
from training.measure.metrics import count_pixels
from training.measure.metrics import segmentation_scores

pytestmark = pytest.mark.torch
BOX = [0, 0, 20, 20]


def test_ap_of_the_truth_itself_is_one_and_absent_classes_do_not_count(labeled, detected):
    boxes = [BOX, [30, 30, 60, 60]], [0, 2]
    table = average_precision(
        [labeled(*boxes), labeled([], [])], [detected(*boxes), detected([], [])]
    )
    assert table['all'] == pytest.approx({'AP50': 1, 'AP75': 1, 'AP50-95': 1})
    assert np.isnan(table['bicycle']['AP50'])


@pytest.mark.parametrize(
    ('found', 'ap50', 'ap75'),
    [
        (([[0, 0, 20, 30]], [0]), 1, 0),
        (([], []), 0, 0),
        (([BOX], [1]), 0, 0),
    ],
    ids=['loose box', 'no detection', 'wrong class'],
)
def test_ap_of_a_detection_that_is_not_right(labeled, detected, found, ap50, ap75):
    row = average_precision([labeled([BOX], [0])], [detected(*found)])['person']
    assert row['AP50'] == pytest.approx(ap50)
    assert row['AP75'] == ap75


def test_ap_has_the_names_of_the_classes_of_the_data(labeled, detected):
    truth = [BOX, [30, 30, 60, 60]], [1, 5]
    table = average_precision([labeled(*truth)], [detected(*truth)], classes=tuple('abcdef'))
    assert list(table) == ['a', 'b', 'c', 'd', 'e', 'f', 'all']
    assert table['b']['AP50'] == table['f']['AP50'] == pytest.approx(1)
    assert np.isnan(table['a']['AP50'])


@pytest.mark.parametrize(('truth', 'found'), [(0, 3), (3, 0)])
def test_ap_refuses_boxes_of_a_class_without_a_name(labeled, detected, truth, found):
    with pytest.raises(ValueError, match='0 to 2'):
        average_precision([labeled([BOX], [truth])], [detected([BOX], [found])])


def test_segmentation_scores_equal_those_computed_by_hand():
    scores = segmentation_scores(np.array([[3, 1, 0], [1, 2, 1], [0, 0, 0]]))
    assert scores['mIoU'] == pytest.approx((3 / 5 + 2 / 5 + 0 / 1) / 3)
    assert scores['mAcc'] == pytest.approx((3 / 4 + 2 / 4) / 2)
    # A class that neither occurs nor is predicted does not count.
    assert segmentation_scores(np.diag([5, 5, 0])) == {'mIoU': 1, 'mAcc': 1}


def test_confusion_counts_truth_in_rows_and_no_unlabeled_pixel():
    truth = np.array([[0, 0, 1], [1, 255, 255]], np.uint8)
    predicted = np.array([[0, 1, 1], [1, 0, 1]], np.uint8)
    assert count_pixels(truth, predicted, 2).tolist() == [[1, 1], [0, 2]]


def test_confusion_refuses_a_class_that_is_out_of_range():
    with pytest.raises(ValueError, match='0 to 1'):
        count_pixels(np.array([0, 2]), np.array([0, 1]), 2)
