"""
Play a bag to the fusion node and show the result.

    ros2 launch tdfusion_ros replay.launch.py bag:=BAG
    ros2 launch tdfusion_ros replay.launch.py bag:=demo/msrs_drive rgb.image_transport:=compressed
    ros2 launch tdfusion_ros replay.launch.py bag:=BAG topics:='/rgb/image_raw /ir/image_raw'

Every argument of fusion.launch.py works here too. If the bag contains results, select the input
topics with ``topics:=``; otherwise old and new results are published on the same topics.
"""

from pathlib import Path

from ament_index_python.packages import get_package_prefix
from ament_index_python.packages import get_package_share_directory
from ament_index_python.packages import PackageNotFoundError
from launch import LaunchContext
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.actions import ExecuteProcess
from launch.actions import IncludeLaunchDescription
from launch.actions import LogInfo
from launch.actions import OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

TRUE = ('true', '1')


def generate_launch_description() -> LaunchDescription:
    """Return the node, the player and rviz, all on the bag's clock."""
    share = Path(get_package_share_directory('tdfusion_ros'))
    arguments = (
        ('loop', 'false', 'Repeat the bag until the launch is stopped.'),
        ('topics', '', 'Topics to play, separated by spaces; empty: all.'),
        ('rviz', 'true', 'Start rviz.'),
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument('bag', description='Folder of the bag.'),
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, default, description in arguments
            ),
            OpaqueFunction(function=_check),  # first: started processes would outlive the launch
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(share / 'launch' / 'fusion.launch.py')),
                launch_arguments={'use_sim_time': 'true'}.items(),
            ),
            OpaqueFunction(function=_player),
            OpaqueFunction(function=_rviz, args=[share]),
        ]
    )


def _value(context: LaunchContext, name: str) -> str:
    return LaunchConfiguration(name).perform(context)


def _check(context: LaunchContext) -> None:
    if not Path(_value(context, 'bag')).exists():
        raise FileNotFoundError(f'bag {_value(context, "bag")} does not exist')


def _player(context: LaunchContext) -> list[ExecuteProcess]:
    # During the delay the node loads its model; otherwise the first seconds would be lost.
    command = ['ros2', 'bag', 'play', _value(context, 'bag'), '--clock', '--delay', '5']
    if _value(context, 'loop').lower() in TRUE:
        command.append('--loop')
    if topics := _value(context, 'topics').split():
        command += ['--topics', *topics]
    return [ExecuteProcess(cmd=command, output='screen')]


def _rviz(context: LaunchContext, share: Path) -> list[Node | LogInfo]:
    if _value(context, 'rviz').lower() not in TRUE:
        return []
    try:
        get_package_prefix('rviz2')
    except PackageNotFoundError:
        return [LogInfo(msg='rviz2 is not installed: playing the bag without it')]
    return [
        Node(
            package='rviz2',
            executable='rviz2',
            namespace=LaunchConfiguration('namespace'),
            arguments=['-d', str(share / 'config' / 'fusion.rviz')],
            parameters=[{'use_sim_time': True}],
            remappings=[
                ('rgb/image_raw', LaunchConfiguration('rgb_topic')),
                ('ir/image_raw', LaunchConfiguration('ir_topic')),
            ],
        )
    ]
