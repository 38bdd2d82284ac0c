"""
Play a bag to the fusion node and look at the result.

    ros2 launch tdfusion_ros replay.launch.py bag:=BAG
    ros2 launch tdfusion_ros replay.launch.py bag:=demo/msrs_drive rgb.image_transport:=compressed
    ros2 launch tdfusion_ros replay.launch.py bag:=BAG topics:='/rgb/image_raw /ir/image_raw'

Every argument of fusion.launch.py works here too. A bag that holds results already is played with
``topics:=``, or its old results come on the same topics as the new ones.
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

YES = ('true', '1')


def generate_launch_description() -> LaunchDescription:
    """Return the node, the player and rviz, all on the bag's clock."""
    share = Path(get_package_share_directory('tdfusion_ros'))
    return LaunchDescription(
        [
            DeclareLaunchArgument('bag', description='Folder of the bag.'),
            DeclareLaunchArgument('loop', default_value='false', description='Play for ever.'),
            DeclareLaunchArgument(
                'topics', default_value='', description='To play, with blanks between; empty: all.'
            ),
            DeclareLaunchArgument('rviz', default_value='true', description='Start rviz.'),
            OpaqueFunction(function=_check),  # first: what has started would outlive the launch
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(share / 'launch' / 'fusion.launch.py')),
                launch_arguments={'use_sim_time': 'true'}.items(),
            ),
            OpaqueFunction(function=_player),
            OpaqueFunction(function=_rviz, args=[share]),
        ]
    )


def _check(context: LaunchContext) -> None:
    bag = LaunchConfiguration('bag').perform(context)
    if not Path(bag).exists():
        raise FileNotFoundError(f'bag {bag} does not exist')


def _player(context: LaunchContext) -> list[ExecuteProcess]:
    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    # The delay lets the node load its model, or the first seconds of the bag would be lost.
    play = ['ros2', 'bag', 'play', given('bag'), '--clock', '--delay', '5']
    if given('loop').lower() in YES:
        play.append('--loop')
    if topics := given('topics').split():
        play += ['--topics', *topics]
    return [ExecuteProcess(cmd=play, output='screen')]


def _rviz(context: LaunchContext, share: Path) -> list[Node | LogInfo]:
    if LaunchConfiguration('rviz').perform(context).lower() not in YES:
        return []
    try:
        get_package_prefix('rviz2')
    except PackageNotFoundError:
        return [LogInfo(msg='rviz2 is not installed: the bag is played without a picture of it')]
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
