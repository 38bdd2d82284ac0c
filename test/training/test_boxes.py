import json

import numpy as np
import pytest

pytest.importorskip('cv2')

from tdfusion_ros.core.errors import FusionError
from training.data.boxes import coco_source
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
    source = coco_source(write_text('a.json', coco()))
    for boxes, class_ids in (yolo, xml, source.read('a', HW)):
        assert boxes.tolist() == [[320, 0, 640, 480]]
        assert class_ids.tolist() == [1]
        assert boxes[0, 2] / HW[1] == 1
    assert source.classes == ('person', 'car')


def test_an_empty_label_file_is_an_image_without_boxes(write_text):
    yolo = read_yolo(write_text('a.txt', ''), HW, (0, 1))
    xml = read_voc(write_text('a.xml', voc()), HW, NAMES)
    json_file = coco_source(write_text('a.json', coco(annotations=[]))).read('a', HW)
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


@pytest.mark.parametrize('text', ['0 0.5 0.5 0.1', '0 a b c d', '0.5 0.5 0.5 0.1 0.1', '0 ' * 10])
def test_a_malformed_yolo_line_is_named_with_the_form_it_should_have(write_text, text):
    with pytest.raises(FusionError, match=r'a\.txt: each line must be "class cx cy w h"'):
        read_yolo(write_text('a.txt', f'0 0.5 0.5 0.1 0.1\n{text}\n'), HW, (0, 1))


def test_a_yolo_class_beyond_the_known_ones_is_an_error(write_text):
    with pytest.raises(FusionError, match='class 2, known are 0 to 1'):
        read_yolo(write_text('a.txt', '2 0.5 0.5 0.1 0.1\n'), HW, (0, 1))


def test_an_unknown_name_in_xml_is_an_error_that_lists_the_known_ones(write_text):
    path = write_text('a.xml', voc(('Person', 1, 1, 9, 9), ('horse', 1, 1, 9, 9)))
    with pytest.raises(FusionError, match=r"a\.xml holds the class 'horse'.*person, car"):
        read_voc(path, HW, NAMES)


def test_xml_drawn_on_another_size_is_an_error(write_text):
    with pytest.raises(FusionError, match='for a picture of 1280x1024, its pair is 640x480'):
        read_voc(write_text('a.xml', voc(size=(1280, 1024))), HW, NAMES)


@pytest.mark.parametrize(
    'text', ['', '<annotation><object>', 'no xml', '<?xml version="1.0" encoding="x-y"?><a/>']
)
def test_broken_xml_is_named_with_what_is_wrong(write_text, text):
    with pytest.raises(FusionError, match=r'a\.xml is no VOC annotation \(.+\)'):
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
    with pytest.raises(FusionError, match=r'a\.json is no COCO annotation \(.+\)'):
        coco_source(write_text('a.json', text))


def test_coco_boxes_drawn_on_another_size_are_an_error(write_text):
    source = coco_source(write_text('a.json', coco()))
    with pytest.raises(FusionError, match='a is 640x480, it is 128x96'):
        source.read('a', (96, 128))


def test_text_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / 'a.txt').write_bytes('0 0.5 0.5 0.1 0.1 Straße'.encode('latin-1'))
    with pytest.raises(FusionError, match=r'a\.txt is not UTF-8'):
        read_yolo(tmp_path / 'a.txt', HW, (0, 1))
