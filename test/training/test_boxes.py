import json

import numpy as np
import pytest

pytest.importorskip('cv2')

from tdfusion_ros.core.errors import FusionError
from training.data.boxes import coco_file
from training.data.boxes import read_voc
from training.data.boxes import read_yolo

HW = (480, 640)
NAMES = {'person': 0, 'car': 1}
OBJECT = (
    '<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin>'
    '<xmax>{}</xmax><ymax>{}</ymax></bndbox></object>'
)


def voc(*objects, size=(640, 480)):
    boxes = ''.join(OBJECT.format(*one) for one in objects)
    width, height = size
    stated = f'<size><width>{width}</width><height>{height}</height></size>'
    return f'<annotation>{stated}{boxes}</annotation>'


def coco(**changes):
    content = {
        'images': [{'id': 7, 'file_name': 'rgb/a.jpg', 'height': 480, 'width': 640}],
        'annotations': [
            {'image_id': 7, 'category_id': 3, 'bbox': [320, 0, 320, 480]},
            {'image_id': 7, 'category_id': 1, 'bbox': [0, 0, 9, 9], 'iscrowd': 1},
        ],
        'categories': [{'id': 3, 'name': 'car'}, {'id': 1, 'name': 'person'}],
    }
    return json.dumps(content | changes)


def test_a_box_at_the_right_edge_ends_at_the_width_in_every_format(write_text):
    yolo = read_yolo(write_text('a.txt', '1 0.75 0.5 0.5 1.0\n'), HW, (0, 1))
    xml = read_voc(write_text('a.xml', voc(('car', 320, 0, 640, 480))), HW, NAMES)
    source = coco_file(write_text('a.json', coco()))
    for boxes, class_ids in (yolo, xml, source.read('a', HW)):
        assert boxes.tolist() == [[320, 0, 640, 480]]
        assert class_ids.tolist() == [1]
        assert boxes[0, 2] / HW[1] == 1
    assert source.classes == ('person', 'car')


def test_an_empty_label_file_is_an_image_without_boxes(write_text):
    yolo = read_yolo(write_text('a.txt', ''), HW, (0, 1))
    xml = read_voc(write_text('a.xml', voc()), HW, NAMES)
    json_file = coco_file(write_text('a.json', coco(annotations=[]))).read('a', HW)
    for boxes, class_ids in (yolo, xml, json_file):
        assert (boxes.shape, boxes.dtype) == ((0, 4), np.float32)
        assert (class_ids.shape, class_ids.dtype) == ((0,), np.int64)


def test_a_box_over_the_border_is_cut_at_the_border(write_text):
    path = write_text('a.xml', voc(('car', -5, 10, 645, 500)))
    assert read_voc(path, HW, NAMES)[0].tolist() == [[0, 10, 640, 480]]


@pytest.mark.parametrize('box', [(5, 5, 5, 9), (9, 5, 5, 9), (700, 5, 720, 9), (1, 1, 'x', 9)])
def test_a_box_that_is_empty_outside_or_no_number_is_named(write_text, box):
    path = write_text('a.xml', voc(('car', 1, 1, 9, 9), ('car', *box)))
    with pytest.raises(FusionError, match=r'a\.xml: box 2 .* correct or delete it'):
        read_voc(path, HW, NAMES)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('0 0.5 0.5 0.1', 'line 2 has 4 values, expected "class cx cy w h"'),
        ('0 0.5 0.5 0.1 0.1 0.9', 'line 2 has 6 values.*confidence'),
        ('0 0.1 0.1 0.2 0.1 0.2 0.3', 'line 2 has 7 values.*polygon'),
        ('0 a b c d', 'each line must be "class cx cy w h"'),
        ('0.5 0.5 0.5 0.1 0.1', 'each line must be "class cx cy w h"'),
        ('2 0.5 0.5 0.1 0.1', 'class 2, known are 0 to 1'),
    ],
)
def test_a_wrong_yolo_line_is_named_with_what_is_expected(write_text, text, message):
    with pytest.raises(FusionError, match=rf'a\.txt.*{message}'):
        read_yolo(write_text('a.txt', f'0 0.5 0.5 0.1 0.1\n{text}\n'), HW, (0, 1))


def test_a_yolo_class_may_be_written_as_a_real_number(write_text):
    assert read_yolo(write_text('a.txt', '1.000000 0.5 0.5 1 1'), HW, (0, 1))[1].tolist() == [1]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (voc(('Person', 1, 1, 9, 9), ('horse', 1, 1, 9, 9)), "class 'horse'.*person, car"),
        (voc(size=(1280, 1024)), 'for an image of 1280x1024, the pair is 640x480'),
    ],
)
def test_xml_of_an_unknown_class_or_another_size_is_an_error(write_text, text, message):
    with pytest.raises(FusionError, match=rf'a\.xml.*{message}'):
        read_voc(write_text('a.xml', text), HW, NAMES)


def test_xml_in_an_encoding_of_several_bytes_is_read(tmp_path):
    text = f'<?xml version="1.0" encoding="gb2312"?>{voc(("car", 1, 1, 9, 9))}<!-- 图像 -->'
    (tmp_path / 'a.xml').write_bytes(text.encode('gb2312'))
    assert read_voc(tmp_path / 'a.xml', HW, NAMES)[0].tolist() == [[1, 1, 9, 9]]


@pytest.mark.parametrize(
    'text', ['', '<annotation><object>', 'no xml', '<?xml version="1.0" encoding="x-y"?><a/>']
)
def test_broken_xml_is_named_with_what_is_wrong(write_text, text):
    with pytest.raises(FusionError, match=r'a\.xml is not a VOC annotation \(.+\)'):
        read_voc(write_text('a.xml', text), HW, NAMES)


def test_xml_with_entities_is_refused_before_they_are_expanded(write_text):
    lol = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>'
    with pytest.raises(FusionError, match='DOCTYPE'):
        read_voc(write_text('a.xml', lol), HW, NAMES)


@pytest.mark.parametrize(
    'text',
    [
        '[]',
        '{',
        '{"images": []}',
        coco(annotations=[{'image_id': 8, 'category_id': 1, 'bbox': [0, 0, 9, 9]}]),
        coco(annotations=[{'image_id': 7, 'category_id': 9, 'bbox': [0, 0, 9, 9]}]),
        coco(annotations=[{'image_id': 7, 'category_id': 1, 'bbox': [0, 0, 9]}]),
    ],
)
def test_broken_coco_files_are_named_with_what_is_wrong(write_text, text):
    with pytest.raises(FusionError, match=r'a\.json is not a COCO annotation \(.+\)'):
        coco_file(write_text('a.json', text))


def test_coco_boxes_drawn_on_another_size_are_an_error(write_text):
    source = coco_file(write_text('a.json', coco()))
    with pytest.raises(FusionError, match=r'a: labels are for an image of 640x480, .* 128x96'):
        source.read('a', (96, 128))


def test_coco_file_names_of_windows_are_understood(write_text):
    images = [{'id': 7, 'file_name': 'data\\a.png'}]
    assert list(coco_file(write_text('a.json', coco(images=images))).names) == ['a']


def test_text_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / 'a.txt').write_bytes('0 0.5 0.5 0.1 0.1 Straße'.encode('latin-1'))
    with pytest.raises(FusionError, match=r'a\.txt is not UTF-8'):
        read_yolo(tmp_path / 'a.txt', HW, (0, 1))
