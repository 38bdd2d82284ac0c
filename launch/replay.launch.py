"""
Play a bag to the fusion node and show the result.

    ros2 launch tdfusion_ros replay.launch.py bag:=BAG
    ros2 launch tdfusion_ros replay.launch.py bag:=demo/m3svd_smoke rgb.image_transport:=compressed
    ros2 launch tdfusion_ros replay.launch.py bag:=BAG topics:='/rgb/image_raw /ir/image_raw'

Every argument of fusion.launch.py works here too. If the bag contains results, select the input
topics with ``topics:=``; otherwise old and new results are published on the same topics.
"""

from pathlib import Path
import re
from tempfile import mkdtemp

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
from launch.actions import RegisterEventHandler
from launch.actions import TimerAction
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.utilities import make_namespace_absolute
from launch_ros.utilities import prefix_namespace

from tdfusion_ros.formats.bag_topics import transport_topic

TRUE = ('true', '1')
DISCOVERY_S = 3.0
LABELS = 'vision_msgs/msg/LabelInfo'
RESUME = '/rosbag2_player/resume'


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


def _player(context: LaunchContext) -> list[ExecuteProcess | RegisterEventHandler]:
    """
    Return the player, and what lets it play once the node has loaded its model and found it.

    A paused player has its publishers already, so that no image is lost to discovery; its own
    delay would be repeated in every loop. The node latches its labels when the model is loaded,
    which takes minutes where an engine is built.
    """
    bag, topics = _value(context, 'bag'), _value(context, 'topics').split()
    loop = ['--loop'] if _value(context, 'loop').lower() in TRUE else []
    selected = ['--topics', *topics] if topics else []
    play = ['ros2', 'bag', 'play', bag, '--clock', '--start-paused', *loop, *selected]
    given = context.launch_configurations.get
    space = prefix_namespace(given('ros_namespace'), given('namespace') or None) or ''
    topic = make_namespace_absolute(f'{space.rstrip("/")}/label_info')  # of the node
    latched = '--qos-durability', 'transient_local', '--qos-reliability', 'reliable'
    wait = ExecuteProcess(cmd=['ros2', 'topic', 'echo', '--once', *latched, topic, LABELS])
    resume = ['ros2', 'service', 'call', RESUME, 'rosbag2_interfaces/srv/Resume']
    timer = TimerAction(period=DISCOVERY_S, actions=[ExecuteProcess(cmd=resume, output='log')])
    return [
        ExecuteProcess(cmd=play, output='screen'),
        wait,
        RegisterEventHandler(OnProcessExit(target_action=wait, on_exit=[timer])),
    ]


def _rviz(context: LaunchContext, share: Path) -> list[Node | LogInfo]:
    if _value(context, 'rviz').lower() not in TRUE:
        return []
    try:
        get_package_prefix('rviz2')
    except PackageNotFoundError:
        return [LogInfo(msg='rviz2 is not installed: playing the bag without it')]
    file = share / 'config' / 'fusion.rviz'
    view = shipped = file.read_text(encoding='utf-8')
    remappings = []
    for stream in ('rgb', 'ir'):
        topic = f'{stream}/image_raw'
        transport = context.launch_configurations.get(f'{stream}.image_transport') or 'raw'
        shown, camera = transport_topic(topic, transport), _value(context, f'{stream}_topic')
        # rviz takes the transport from the name of the topic, before it remaps the name.
        view = re.sub(rf'(Value: ){topic}$', rf'\g<1>{shown}', view, flags=re.MULTILINE)
        remappings.append((shown, transport_topic(camera, transport)))
    if view != shipped:
        file = Path(mkdtemp(prefix='tdfusion_ros_')) / 'fusion.rviz'
        file.write_text(view, encoding='utf-8')
    return [
        Node(
            package='rviz2',
            executable='rviz2',
            namespace=LaunchConfiguration('namespace'),
            arguments=['-d', str(file)],
            parameters=[{'use_sim_time': True}],
            remappings=remappings,
        )
    ]
