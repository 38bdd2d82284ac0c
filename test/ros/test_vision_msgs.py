"""vision_msgs as built on a pip-only machine, or as part of a ROS installation."""

import pytest

rclpy = pytest.importorskip('rclpy', reason='pip install -r pip_ros/requirements.txt')
msg = pytest.importorskip('vision_msgs.msg', reason='run pip_ros/build_messages.py')


# They cover all nested definitions, too.
TYPE_HASHES = {
    'Detection2DArray': 'RIHS01_214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968',
    'LabelInfo': 'RIHS01_3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783',
}


@pytest.mark.parametrize('kind', TYPE_HASHES)
def test_type_hash_on_the_wire_is_that_of_the_released_vision_msgs(stage, kind):
    node = stage.client().node
    publisher = node.create_publisher(getattr(msg, kind), 'hashed', 1)
    (endpoint,) = node.get_publishers_info_by_topic(publisher.topic_name)
    if not hasattr(endpoint, 'topic_type_hash'):
        pytest.skip('this ROS distribution has no type hashes')
    value = endpoint.topic_type_hash
    assert f'RIHS{value.version:02d}_{bytes(value.value).hex()}' == TYPE_HASHES[kind]
