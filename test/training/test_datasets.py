import numpy as np
import pytest

pytest.importorskip('cv2')

from tdfusion_ros.core.errors import FusionError
from training.datasets import load_samples
from training.datasets import read_yolo_boxes

pytestmark = pytest.mark.torch


def test_a_box_at_the_right_edge_of_a_wide_image_ends_at_its_width(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('0 0.75 0.5 0.5 1.0\n', encoding='utf-8')
    boxes, _ = read_yolo_boxes(path, width=640, height=480)
    np.testing.assert_allclose(boxes, [[320, 0, 640, 480]])


def test_an_empty_label_file_is_an_image_without_boxes(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('', encoding='utf-8')
    boxes, class_ids = read_yolo_boxes(path, width=640, height=480)
    assert boxes.shape == (0, 4)
    assert class_ids.shape == (0,)


def test_samples_come_in_the_order_of_the_split_with_rgb_and_ir_on_one_grid(data_root):
    samples = load_samples(data_root, 'train')
    assert [s.name for s in samples] == ['a', 'b', 'c', 'empty']
    assert samples[0].rgb.shape == (96, 128, 3)
    assert samples[0].ir.shape == (96, 128)
    assert samples[0].boxes_xyxy.tolist() == [[32, 24, 64, 72]]
    assert samples[0].class_ids.tolist() == [2]


def test_a_missing_data_set_says_what_to_do(tmp_path):
    with pytest.raises(FusionError, match='data=FOLDER'):
        load_samples(tmp_path, 'train')
