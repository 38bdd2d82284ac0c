"""
What the tests of this folder drive the node with: processes, a client, pictures.

The node runs as the users run it, in a process of its own; the client has a context and a node of
its own, so that everything between them goes over DDS. Importing this skips where ROS is missing;
the tests therefore get all that is of ROS from here.
"""

import pytest

pytest.importorskip('rclpy', reason='no rclpy: pip install -r pip_ros/requirements.txt')
pytest.importorskip('vision_msgs.msg', reason='no vision_msgs: run pip_ros/build_messages.py')
pytest.importorskip('onnxruntime', reason='no engine: pip install onnxruntime')
pytest.importorskip('rosbags', reason='no rosbags: pip install rosbags')
