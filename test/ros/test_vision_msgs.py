"""vision_msgs as the pip-only machine builds it, or as a ROS installation brings it."""

import random
import time

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy', reason='pip install -r pip_ros/requirements.txt')
msg = pytest.importorskip('vision_msgs.msg', reason='run pip_ros/build_messages.py')
executors = pytest.importorskip('rclpy.executors')
serialization = pytest.importorskip('rclpy.serialization')

pytestmark = pytest.mark.ros

TYPE_HASHES = {
    'Detection2DArray': 'RIHS01_214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968',
    'LabelInfo': 'RIHS01_3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783',
}


@pytest.fixture
def nodes(monkeypatch):
    monkeypatch.setenv('ROS_DOMAIN_ID', str(random.randint(1, 100)))
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    made = []
    for name in ('sender', 'receiver'):  # a context each: they have to find each other
        context = rclpy.Context()
        rclpy.init(context=context)
        made.append(rclpy.create_node(name, context=context))
    yield made
    for node in made:
        context = node.context
        node.destroy_node()
        rclpy.try_shutdown(context=context)


def person(score: float) -> msg.Detection2D:
    hypothesis = msg.ObjectHypothesisWithPose()
    hypothesis.hypothesis.class_id = 'person'
    hypothesis.hypothesis.score = score
    detection = msg.Detection2D(id='7', results=[hypothesis])
    detection.bbox.center.position.x = 320.5
    detection.bbox.center.position.y = 100.25
    detection.bbox.size_x = 40.0
    detection.bbox.size_y = 80.0
    return detection


def exchange(nodes, message):
    """Publish ``message`` from one node and return what the other one receives over DDS."""
    sender, receiver = nodes
    received = []
    receiver.create_subscription(type(message), 'detections', received.append, 10)
    publisher = sender.create_publisher(type(message), 'detections', 10)
    executor = executors.SingleThreadedExecutor(context=receiver.context)
    executor.add_node(receiver)
    deadline = time.monotonic() + 10.0
    while publisher.get_subscription_count() == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    publisher.publish(message)
    while not received and time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.1)
    executor.shutdown()
    assert len(received) == 1
    return received[0]


@pytest.mark.parametrize('kind', TYPE_HASHES)
def test_type_hash_on_the_wire_is_that_of_the_released_vision_msgs(nodes, kind):
    sender = nodes[0]
    publisher = sender.create_publisher(getattr(msg, kind), 'hashed', 1)
    (endpoint,) = sender.get_publishers_info_by_topic(publisher.topic_name)
    if not hasattr(endpoint, 'topic_type_hash'):
        pytest.skip('this ROS distribution has no type hashes')
    value = endpoint.topic_type_hash
    assert f'RIHS{value.version:02d}_{bytes(value.value).hex()}' == TYPE_HASHES[kind]


def test_detections_arrive_unchanged_over_dds(nodes):
    sent = msg.Detection2DArray(detections=[person(0.5), person(0.25)])
    sent.header.stamp.sec = 12
    sent.header.stamp.nanosec = 345
    sent.header.frame_id = 'rgb_optical_frame'
    assert exchange(nodes, sent) == sent


def test_an_empty_array_of_detections_arrives_as_a_message(nodes):
    sent = msg.Detection2DArray()
    sent.header.frame_id = 'rgb_optical_frame'
    assert exchange(nodes, sent) == sent


@pytest.mark.parametrize(
    'message',
    [
        msg.Detection2DArray(detections=[person(0.5)]),
        msg.LabelInfo(
            class_map=[msg.VisionClass(class_id=0, class_name='person')], threshold=0.25
        ),
        msg.VisionInfo(method='tdfusion', database_location='classes', database_version=3),
    ],
    ids=lambda message: type(message).__name__,
)
def test_serialized_message_reads_back_unchanged(message):
    data = serialization.serialize_message(message)
    assert serialization.deserialize_message(data, type(message)) == message


def test_class_id_is_a_string_not_a_number():
    assert msg.ObjectHypothesis.get_fields_and_field_types()['class_id'] == 'string'


def test_bounding_box_is_a_centre_and_a_size():
    box = msg.BoundingBox2D()
    assert list(msg.BoundingBox2D.get_fields_and_field_types()) == ['center', 'size_x', 'size_y']
    assert (box.center.position.x, box.center.position.y, box.center.theta) == (0.0, 0.0, 0.0)


def test_pose_covariance_of_a_hypothesis_is_a_6x6_matrix_of_float64():
    covariance = msg.ObjectHypothesisWithPose().pose.covariance
    assert np.shape(covariance) == (36,)
    assert np.asarray(covariance).dtype == np.float64
