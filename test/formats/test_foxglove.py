"""Detections as Foxglove draws them, in the message classes of bags."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.data import Temperatures
from tdfusion_ros.core.overlay import color_of
from tdfusion_ros.core.overlay import COLORS
from tdfusion_ros.core.synchronizer import FramePair
from tdfusion_ros.formats import messages
from tdfusion_ros.formats.bags import bag_types
from tdfusion_ros.formats.foxglove import image_annotations
from tdfusion_ros.formats.foxglove import LINE_LOOP
from tdfusion_ros.formats.messages import MessageTypes

CLASSES = ('person', 'bicycle', 'car')
STAMP_NS = 1_700_000_000_123_456_789
FOUND = Detections(
    np.array([[100, 200, 140, 300], [0, 0, 50, 60], [620, 400, 640, 480]], np.float32),
    np.array([0.756, 0.5, 0.25], np.float32),
    np.array([2, 0, 1]),
)
NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, int))


def annotations(found=FOUND, size_hw=(480, 640), warning='', types=None):
    types = types or bag_types()
    frame = Frame(np.zeros((*size_hw, 3), np.uint8), STAMP_NS, 'rgb')
    match = FramePair(frame, None, 'fused', frame, None, warning)
    return image_annotations(types, messages.header(bag_types(), frame), match, found, CLASSES)


def rgb(color):
    return tuple(round(255 * value) for value in (color.r, color.g, color.b))


def seconds(stamp):
    return stamp.sec * 10**9 + stamp.nanosec


def test_each_box_is_a_closed_line_with_a_text_in_the_color_of_its_class():
    made = annotations()
    corners = [(p.x, p.y) for p in made.points[0].points]
    assert corners == [(100, 200), (140, 200), (140, 300), (100, 300)]
    for one, class_id in zip(made.points, FOUND.class_ids, strict=True):
        assert one.type == LINE_LOOP
        assert rgb(one.outline_color) == COLORS[class_id]
        assert (one.outline_color.a, one.fill_color.a) == (1.0, 0.0)
    assert [text.text for text in made.texts] == ['car 0.76', 'person 0.50', 'bicycle 0.25']
    for text, box in zip(made.texts, made.points, strict=True):
        assert rgb(text.background_color) == rgb(box.outline_color)
        assert rgb(text.text_color) == (0, 0, 0)


def test_an_object_with_an_id_has_its_color_its_number_and_its_temperature_if_known():
    kelvin, ids = np.array([(290, 300, 309.59), (290, 300, 310), [np.nan] * 3]), [4, 11, 4]
    known = {'temperatures': Temperatures(kelvin * 25, kelvin), 'ids': np.array(ids)}
    made = annotations(replace(FOUND, **known))
    texts = [text.text for text in made.texts]
    assert texts == ['car #4 0.76 36.4 C', 'person #11 0.50 36.9 C', 'bicycle #4 0.25']
    assert [rgb(one.outline_color) for one in made.points] == [color_of(0, id_) for id_ in ids]


def test_text_is_above_its_box_and_never_outside_of_the_image():
    above, below, right = annotations().texts
    assert (above.position.x, above.position.y) == (100, 200)
    assert below.position.y - below.font_size >= 60  # its box starts at the top
    assert right.position.x < 620
    for text in (above, below, right):
        assert 0 <= text.position.x < 640 - 0.5 * text.font_size * len(text.text)
        assert text.font_size <= text.position.y <= 480


@pytest.mark.parametrize('found', [FOUND, NOTHING], ids=['boxes', 'empty scene'])
def test_everything_has_the_stamp_of_the_image(found):
    made = annotations(found)
    stamps = [one.timestamp for one in (made, *made.points, *made.texts)]
    assert {seconds(stamp) for stamp in stamps} == {STAMP_NS}
    assert len(made.points) == len(found)


def test_warning_is_written_across_the_top():
    (text,) = annotations(NOTHING, warning='IR STALLED 0.8 s').texts
    assert text.text == 'IR STALLED 0.8 s'
    assert rgb(text.background_color) == (180, 0, 0)
    assert text.position.y == 40


def test_older_releases_get_no_timestamp_or_metadata_where_they_have_none():
    def get(name):
        kind = type(name, (SimpleNamespace,), {})
        stamped = name.endswith('Annotation')
        kind.get_fields_and_field_types = classmethod(
            lambda cls: {'timestamp': ''} if stamped else {}
        )
        return kind

    made = annotations(types=MessageTypes(get, lambda data: data))
    assert vars(made).keys() == {'circles', 'points', 'texts'}
    assert seconds(made.points[0].timestamp) == seconds(made.texts[0].timestamp) == STAMP_NS
    assert not hasattr(made.points[0], 'metadata')
