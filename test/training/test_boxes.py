import json

import numpy as np
import pytest

from tdfusion_ros.core.errors import FusionError
from training.data.boxes import coco_file
from training.data.boxes import IGNORED
from training.data.boxes import read_voc
from training.data.boxes import read_yolo

HW = (480, 640)
OBJECT = (
    '<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin>'
    '<xmax>{}</xmax><ymax>{}</ymax></bndbox></object>'
)
CAR = ('car', 320, 0, 640, 480)
DOCTYPE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>'


def voc(*objects, size=(640, 480)):
    boxes = ''.join(OBJECT.format(*one) for one in objects)
    width, height = size
    stated = f'<size><width>{width}</width><height>{height}</height></size>'
    return f'<annotation>{stated}{boxes}</annotation>'


def coco(*boxes, image='rgb/a.jpg', size=(640, 480), **last):
    """Return a COCO file of boxes ``(category_id, x, y, w, h)``; ``last`` changes the last."""
    found = [{'image_id': 7, 'category_id': c, 'bbox': box} for c, *box in boxes]
    if last:
        found[-1] |= last
    categories = [{'id': 3, 'name': 'car'}, {'id': 1, 'name': 'person'}]
    images = [{'id': 7, 'file_name': image, 'height': size[1], 'width': size[0]}]
    return json.dumps({'images': images, 'annotations': found, 'categories': categories})


@pytest.fixture
def read(tmp_path):
    """Read the boxes of pair a, whose classes are person and car: ``read('a.txt', text)``."""

    def read_file(place, text, encoding='utf-8'):
        path = tmp_path / place
        path.write_bytes(text.encode(encoding))
        if path.suffix == '.txt':
            return read_yolo(path, HW, (0, 1))
        if path.suffix == '.xml':
            return read_voc(path, HW, {'person': 0, 'car': 1})
        source = coco_file(path)
        assert (list(source.names), source.classes) == (['a'], ('person', 'car'))
        return source.read('a', HW)

    return read_file


@pytest.mark.parametrize(
    ('place', 'text'),
    [
        ('a.txt', '1 0.75 0.5 0.5 1.0\n'),
        ('a.txt', '1.000000 0.75 0.5 0.5 1'),
        ('a.xml', voc(CAR)),
        ('a.xml', voc(('car', 320, -9, 645, 500))),
        ('a.json', coco((3, 320, 0, 320, 480), image='data\\a.png')),
    ],
    ids=['yolo', 'real class', 'voc', 'voc outside', 'coco of windows'],
)
def test_a_box_ends_at_the_border_in_every_format(read, place, text):
    boxes, class_ids = read(place, text)
    assert boxes.tolist() == [[320, 0, 640, 480]]
    assert class_ids.tolist() == [1]


def test_a_crowd_is_a_region_to_ignore(read):
    boxes, class_ids = read('a.json', coco((3, 320, 0, 320, 480), (1, 0, 0, 9, 9), iscrowd=1))
    assert boxes.tolist() == [[320, 0, 640, 480], [0, 0, 9, 9]]
    assert class_ids.tolist() == [1, IGNORED]


@pytest.mark.parametrize(('place', 'text'), [('a.txt', ''), ('a.xml', voc()), ('a.json', coco())])
def test_a_file_without_boxes_belongs_to_an_image_without_objects(read, place, text):
    boxes, class_ids = read(place, text)
    assert (boxes.shape, boxes.dtype) == ((0, 4), np.float32)
    assert (class_ids.shape, class_ids.dtype) == ((0,), np.int64)


def test_xml_in_an_encoding_of_several_bytes_is_read(read):
    text = f'<?xml version="1.0" encoding="gb2312"?>{voc(CAR)}<!-- 图像 -->'
    assert read('a.xml', text, 'gb2312')[0].tolist() == [[320, 0, 640, 480]]


WRONG = {
    'a.txt': [  # the second line of two
        ('0 0.5 0.5 0.1', 'line 2 has 4 values, expected "class cx cy w h"'),
        ('0 0.5 0.5 0.1 0.1 0.9', 'line 2 has 6 values.*confidence'),
        ('0 0.1 0.1 0.2 0.1 0.2 0.3', 'line 2 has 7 values.*polygon'),
        ('0 64 48 20 30', 'has coordinates in pixels, expected shares'),
        ('0 a b c d', 'each line must be "class cx cy w h"'),
        ('0.5 0.5 0.5 0.1 0.1', 'each line must be "class cx cy w h"'),
        ('2 0.5 0.5 0.1 0.1', 'class 2, known are 0 to 1'),
        ('1e30 0.5 0.5 0.1 0.1', r'class 1e\+30, known are 0 to 1'),
        ('Straße', 'is not UTF-8'),
    ],
    'a.xml': [
        (voc(('Person', 1, 1, 9, 9), ('horse', 1, 1, 9, 9)), "class 'horse'.*person, car"),
        (voc(size=(1280, 1024)), 'for an image of 1280x1024, the pair is 640x480'),
        *((text, r'is not a VOC annotation \(.+\)') for text in ('', '<annotation><object>')),
        ('<?xml version="1.0" encoding="x-y"?><a/>', r'is not a VOC annotation \(.+\)'),
        (DOCTYPE, 'DOCTYPE'),
        (voc().replace('</a', '<object><name>car</name><polygon/></object></a'), 'without bndbox'),
        *(
            (voc(('car', 1, 1, 9, 9), ('car', *box)), 'box 2 .* correct or delete it')
            for box in ((5, 5, 5, 9), (9, 5, 5, 9), (700, 5, 720, 9), (1, 1, 'x', 9))
        ),
    ],
    'a.json': [
        (coco(size=(128, 96)), r'a: labels are for an image of 128x96, .* 640x480'),
        *((text, r'is not a COCO annotation \(.+\)') for text in ('[]', '{', '{"images": []}')),
        (coco((1, 0, 0, 9, 9), image_id=8), r'is not a COCO annotation \(.+\)'),
        (coco((9, 0, 0, 9, 9)), r'is not a COCO annotation \(.+\)'),
        (coco((1, 0, 0, 9)), r'is not a COCO annotation \(.+\)'),
        (coco((1, 0.5, 0.1, 0.2, 0.4)), 'shares of width and height, expected pixels'),
    ],
}


@pytest.mark.parametrize(
    ('place', 'text', 'message'), [(place, *row) for place in WRONG for row in WRONG[place]]
)
def test_a_wrong_file_is_named_with_what_is_wrong(read, place, text, message):
    text = f'0 0.5 0.5 0.1 0.1\n{text}\n' if place == 'a.txt' else text
    with pytest.raises(FusionError, match=f'{place}.*{message}'):
        read(place, text, 'latin-1')
