"""
Play a bag to the fusion node and look at the result.

    ros2 launch tdfusion_ros replay.launch.py bag:=BAG
    ros2 launch tdfusion_ros replay.launch.py bag:=demo/msrs_drive rgb.image_transport:=compressed

Every argument of fusion.launch.py works here too.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument
from launch.actions import ExecuteProcess
from launch.actions import IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.conditions import UnlessCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Return the node, the player and rviz, all on the bag's clock."""
    share = Path(get_package_share_directory('tdfusion_ros'))
    # The delay lets the node load its model, or the first seconds of the bag would be lost.
    play = ['ros2', 'bag', 'play', LaunchConfiguration('bag'), '--clock', '--delay', '5']
    loop = LaunchConfiguration('loop')
    return LaunchDescription(
        [
            DeclareLaunchArgument('bag', description='Folder of the bag.'),
            DeclareLaunchArgument('loop', default_value='false', description='Play for ever.'),
            DeclareLaunchArgument('rviz', default_value='true', description='Start rviz.'),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(share / 'launch' / 'fusion.launch.py')),
                launch_arguments={'use_sim_time': 'true'}.items(),
            ),
            ExecuteProcess(cmd=[*play, '--loop'], output='screen', condition=IfCondition(loop)),
            ExecuteProcess(cmd=play, output='screen', condition=UnlessCondition(loop)),
            Node(
                package='rviz2',
                executable='rviz2',
                arguments=['-d', str(share / 'config' / 'fusion.rviz')],
                parameters=[{'use_sim_time': True}],
                condition=IfCondition(LaunchConfiguration('rviz')),
            ),
        ]
    )
