"""Temperatures of detections by name, and as a message."""

import numpy as np
import pytest

from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.data import Temperatures
from tdfusion_ros.formats import messages
from tdfusion_ros.formats.bags import bag_types
from tdfusion_ros.formats.bags import typestore
from tdfusion_ros.formats.temperature_messages import by_name
from tdfusion_ros.formats.temperature_messages import from_names
from tdfusion_ros.formats.temperature_messages import temperature_array
from tdfusion_ros.formats.temperature_messages import values_of

NAN = float('nan')
COUNTS = np.array([(7312, 7500.5, 7750), (NAN, NAN, NAN)])
MEASURED = Temperatures(COUNTS, COUNTS * 0.04)
UNKNOWN = Temperatures(COUNTS, COUNTS * NAN)
KIND = 'vision_msgs/msg/Detection2DArray'
TYPES = bag_types()


def sent(measured):
    head = messages.header(TYPES, Frame(np.zeros((1, 1), np.uint8), 5, 'rgb'))
    boxes = np.array([(10, 20, 30, 60), (0, 0, 5, 5)], np.float32)
    found = Detections(boxes, np.float32([0.75, 0.5]), np.array([1, 0]))
    plain = messages.detection_array(TYPES, head, found, ('person', 'car'))
    array = temperature_array(TYPES, plain, measured)
    store = typestore()
    return plain, store.deserialize_cdr(store.serialize_cdr(array, KIND), KIND)


def test_message_has_the_detections_and_then_what_was_measured():
    plain, array = sent(MEASURED)
    assert array.header == plain.header
    for one, other in zip(array.detections, plain.detections, strict=True):
        assert (one.header, one.id, one.bbox) == (other.header, other.id, other.bbox)
        assert one.results[0].hypothesis == other.results[0].hypothesis
    measured = {'count_min': 7312, 'count_median': 7500.5, 'count_max': 7750}
    measured |= {'kelvin_min': 292.48, 'kelvin_median': 300.02, 'kelvin_max': 310}
    assert values_of(array.detections[0]) == pytest.approx({'car': 0.75, **measured})
    assert values_of(array.detections[1]) == {'person': 0.5}


def test_kelvin_is_left_out_where_the_scale_is_not_known():
    names = list(values_of(sent(UNKNOWN)[1].detections[0]))
    assert names == ['car', 'count_min', 'count_median', 'count_max']


def test_names_give_the_temperatures_back():
    read = from_names(by_name(MEASURED))
    np.testing.assert_allclose(read.counts, MEASURED.counts)
    np.testing.assert_allclose(read.kelvin, MEASURED.kelvin, atol=5e-4)
    assert np.isnan(from_names([{}, {'person': 0.5}]).counts).all()
    assert from_names([]).counts.shape == (0, 3)
