"""
A launch file that includes ours, with the real node.

It runs where ROS 2 is installed: launch_testing's plugin of pytest, which colcon test uses, too,
calls ``generate_test_description``.
"""

from pathlib import Path
import unittest

import pytest

launch_testing = pytest.importorskip('launch_testing', reason='needs a ROS 2 installation')

from ament_index_python.packages import get_package_share_directory  # noqa: E402
from launch import LaunchDescription  # noqa: E402
from launch.actions import IncludeLaunchDescription  # noqa: E402
from launch.launch_description_sources import PythonLaunchDescriptionSource  # noqa: E402
from launch_ros.actions import PushRosNamespace  # noqa: E402
from launch_ros.actions import SetParameter  # noqa: E402
from launch_testing.actions import ReadyToTest  # noqa: E402
from rcl_interfaces.srv import GetParameters  # noqa: E402
import rclpy  # noqa: E402
from rclpy.parameter import parameter_value_to_python  # noqa: E402

GIVEN = {'use_sim_time': True, 'score_threshold': 0.7, 'ir.invert': True}
TIMEOUT_S = 60.0


@pytest.mark.launch_test
def generate_test_description():
    file = Path(get_package_share_directory('tdfusion_ros')) / 'launch' / 'fusion.launch.py'
    return LaunchDescription(
        [
            PushRosNamespace('rig'),
            SetParameter('use_sim_time', True),
            SetParameter('score_threshold', 0.7),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(file)),
                launch_arguments={'ir.invert': 'true'}.items(),
            ),
            ReadyToTest(),
        ]
    )


class TestRunning(unittest.TestCase):
    def test_parameters_of_the_including_file_reach_the_node(self):
        context = rclpy.Context()
        rclpy.init(context=context)
        node = rclpy.create_node('client', context=context)
        executor = rclpy.executors.SingleThreadedExecutor(context=context)
        try:
            client = node.create_client(GetParameters, '/rig/tdfusion/get_parameters')
            assert client.wait_for_service(TIMEOUT_S)
            future = client.call_async(GetParameters.Request(names=list(GIVEN)))
            executor.add_node(node)
            executor.spin_until_future_complete(future, TIMEOUT_S)
            values = map(parameter_value_to_python, future.result().values)
            assert dict(zip(GIVEN, values, strict=True)) == GIVEN
        finally:
            executor.shutdown()
            node.destroy_node()
            rclpy.try_shutdown(context=context)


@launch_testing.post_shutdown_test()
class TestEnded(unittest.TestCase):
    def test_the_node_ends_with_status_0(self, proc_info):
        launch_testing.asserts.assertExitCodes(proc_info)
