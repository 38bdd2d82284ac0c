"""Messages of rosbags to numpy and back; test/ros does the same with rclpy."""

from dataclasses import replace

import numpy as np
import pytest

from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.data import Temperatures
from tdfusion_ros.formats import messages
from tdfusion_ros.formats.bags import bag_types
from tdfusion_ros.formats.bags import typestore

FRAME = Frame(np.zeros((4, 6), np.uint8), 1_700_000_000_123_456_789, 'rgb_optical_frame')
CLASSES = ('person', 'bicycle', 'car')
FOUND = Detections(
    np.array([[10, 20, 30, 60], [0, 0, 5.5, 4]], np.float32),
    np.array([0.75, 0.5], np.float32),
    np.array([2, 0]),
)


@pytest.fixture
def types():
    return bag_types()


@pytest.fixture
def head(types):
    return messages.header(types, FRAME)


def serialized_and_back(message):
    kind = message.__msgtype__
    return typestore().deserialize_cdr(typestore().serialize_cdr(message, kind), kind)


@pytest.mark.parametrize('columns', [slice(None), slice(None, None, -1)], ids=['whole', 'view'])
@pytest.mark.parametrize(
    ('channels', 'dtype'),
    [(1, np.uint8), (1, np.uint16), (1, np.float32), (3, np.uint8), (3, np.uint16)],
)
def test_image_that_is_sent_is_read_back(types, head, channels, dtype, columns):
    pixels = np.arange(24 * channels, dtype=dtype).reshape(4, 6, channels).squeeze()[:, columns]
    sent = messages.image(types, head, pixels)
    assert sent.step == 6 * channels * pixels.itemsize
    read = messages.to_frame(serialized_and_back(sent)).pixels
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, pixels)


@pytest.mark.parametrize('stamp_ns', [0, 1, 999_999_999, 1_000_000_000, FRAME.stamp_ns])
def test_header_keeps_every_nanosecond(types, stamp_ns):
    head = messages.header(types, Frame(FRAME.pixels, stamp_ns, 'camera'))
    assert messages.stamp_ns(head) == stamp_ns
    assert 0 <= head.stamp.nanosec < 10**9
    assert head.frame_id == 'camera'


def test_detections_have_center_size_name_and_header(types, head):
    sent = serialized_and_back(messages.detection_array(types, head, FOUND, CLASSES))
    first, second = sent.detections
    assert (first.bbox.center.position.x, first.bbox.center.position.y) == (20, 40)
    assert (first.bbox.size_x, first.bbox.size_y) == (20, 40)
    assert first.results[0].hypothesis.class_id == 'car'
    assert first.results[0].hypothesis.score == 0.75
    assert second.results[0].hypothesis.class_id == 'person'
    assert second.bbox.size_x == 5.5
    assert [messages.object_id(detection) for detection in (first, second)] == [0, 0]
    for header in (sent.header, first.header, second.header):
        assert messages.stamp_ns(header) == FRAME.stamp_ns
        assert header.frame_id == 'rgb_optical_frame'


def test_ids_of_detections_are_sent_and_read_back(types, head):
    tracked = replace(FOUND, ids=np.array([12, 3]))
    sent = serialized_and_back(messages.detection_array(types, head, tracked, CLASSES))
    assert [detection.id for detection in sent.detections] == ['12', '3']
    assert [messages.object_id(detection) for detection in sent.detections] == [12, 3]


@pytest.mark.parametrize('text', ['', 'track_7', '-3', '1.5', '٣', '9' * 40])
def test_an_id_of_another_program_that_is_no_number_is_none(types, head, text):
    sent = messages.detection_array(types, head, FOUND, CLASSES).detections[0]
    sent.id = text
    assert messages.object_id(sent) == 0


def test_label_info_names_every_class_by_its_number(types, head):
    sent = serialized_and_back(messages.label_info(types, head, CLASSES, 0.25))
    assert [(c.class_id, c.class_name) for c in sent.class_map] == list(enumerate(CLASSES))
    assert sent.threshold == 0.25


def test_camera_info_is_that_of_rgb_with_another_header(head, demo_records):
    info = next(m for topic, _, m in demo_records if topic == '/rgb/camera_info')
    stamp_ns = messages.stamp_ns(info.header)
    sent = messages.camera_info(head, info)
    np.testing.assert_array_equal(sent.k, info.k)
    assert messages.stamp_ns(sent.header) == FRAME.stamp_ns
    assert messages.stamp_ns(info.header) == stamp_ns


COUNTS = np.array([(7312, 7500.5, 7750), [np.nan] * 3])


def measured(types, head, kelvin_per_count):
    """Return the detections as messages, without and with what was measured."""
    temperatures = Temperatures(COUNTS, COUNTS * kelvin_per_count)
    plain = messages.detection_array(types, head, FOUND, CLASSES)
    return plain, serialized_and_back(messages.temperature_array(types, plain, temperatures))


def test_temperature_message_has_the_detections_and_then_what_was_measured(types, head):
    plain, array = measured(types, head, 0.04)
    assert array.header == plain.header
    for one, other in zip(array.detections, plain.detections, strict=True):
        assert (one.header, one.id, one.bbox) == (other.header, other.id, other.bbox)
        assert one.results[0].hypothesis == other.results[0].hypothesis
    values = {'count_min': 7312, 'count_median': 7500.5, 'count_max': 7750}
    values |= {'kelvin_min': 292.48, 'kelvin_median': 300.02, 'kelvin_max': 310}
    first, second = map(messages.results_by_name, array.detections)
    assert first == pytest.approx({'car': 0.75, **values})
    assert second == {'person': 0.5}
    _, array = measured(types, head, np.nan)  # the scale is not known
    names = list(messages.results_by_name(array.detections[0]))
    assert names == ['car', 'count_min', 'count_median', 'count_max']


def test_names_give_the_temperatures_back():
    given = Temperatures(COUNTS, COUNTS * 0.04)
    read = messages.temperatures_of(messages.temperatures_by_name(given))
    np.testing.assert_allclose(read.counts, given.counts)
    np.testing.assert_allclose(read.kelvin, given.kelvin, atol=5e-4)
    assert np.isnan(messages.temperatures_of([{}, {'person': 0.5}]).counts).all()
    assert messages.temperatures_of([]).counts.shape == (0, 3)
