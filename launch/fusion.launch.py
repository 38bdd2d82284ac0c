"""
Start the fusion node.

    ros2 launch tdfusion_ros fusion.launch.py rgb_topic:=/cam/image_raw ir_topic:=/boson/image_raw
    ros2 launch tdfusion_ros fusion.launch.py --show-args

Every parameter of the node is an argument. Only arguments that are given reach the node, so that
parameters of an including launch file (SetParameter, use_sim_time) arrive, too.
"""

from difflib import get_close_matches
import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.actions import LogInfo
from launch.actions import OpaqueFunction
from launch.actions import SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from tdfusion_ros.core.config import settings
from tdfusion_ros.core.config import TRANSPORTS
from tdfusion_ros.formats.bag_topics import transport_topic
from tdfusion_ros.formats.plain_yaml import read_yaml

# Fast DDS reads the first on Humble and Jazzy, the second on Kilted.
PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
OF_LAUNCH_ROS = ('ros_namespace', 'global_params')  # PushRosNamespace and SetParameter
RESPAWN_DELAY_S = 5.0  # keeps the log readable when startup fails at once


def generate_launch_description() -> LaunchDescription:
    """Return the arguments, the Fast DDS profile for images, and the node."""
    config = Path(get_package_share_directory('tdfusion_ros')) / 'config'
    arguments = _arguments()
    profiles = []
    if not any(variable in os.environ for variable in PROFILE_VARIABLES):
        path = str(config / 'fastdds_profile.xml')
        profiles = [SetEnvironmentVariable(variable, path) for variable in PROFILE_VARIABLES]
    known = [argument.name for argument in arguments]
    report = OpaqueFunction(function=_report_misspelled, args=[known])
    return LaunchDescription([*arguments, *profiles, report, OpaqueFunction(function=_node)])


def _arguments() -> list[DeclareLaunchArgument]:
    own = (
        ('namespace', '', 'Namespace of the node.'),
        ('params_file', '', 'Parameter file; empty: the defaults, see config/fusion.yaml.'),
        (
            'rgb_topic',
            'rgb/image_raw',
            'Raw image topic of the RGB camera; camera_info is next to it.',
        ),
        ('ir_topic', 'ir/image_raw', 'Raw image topic of the thermal camera; as for rgb_topic.'),
        ('use_sim_time', '', 'Use the time from /clock. Empty: as set outside, else false.'),
        ('respawn', 'false', 'Restart the node when it exits.'),
        ('log_level', 'info', 'Log level of the node.'),
    )
    parameters = [
        DeclareLaunchArgument(
            name,
            default_value='',
            description=f'{metadata["doc"]} Empty: as in params_file.',
            choices=['', *metadata['choices']] if metadata['choices'] else None,
        )
        for name, _, metadata in settings()
    ]
    return [
        *(
            DeclareLaunchArgument(name, default_value=default, description=description)
            for name, default, description in own
        ),
        *parameters,
    ]


def _report_misspelled(context: LaunchContext, known: list[str]) -> list[LogInfo]:
    """Report misspelled arguments, which launch accepts; an including file may have others."""
    return [
        LogInfo(msg=f"unknown argument '{name}': did you mean '{near}'?")
        for name in context.launch_configurations.keys() - {*known, *OF_LAUNCH_ROS}
        for near in get_close_matches(name, known, n=1, cutoff=0.8)
    ]


def _node(context: LaunchContext) -> list[LifecycleNode]:
    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    files = [value('params_file')] if value('params_file') else []
    if files and not Path(files[0]).is_file():  # launch_ros would continue without it
        raise FileNotFoundError(f'params_file {files[0]} does not exist')
    names = ('use_sim_time', *(name for name, _, _ in settings()))
    parameters = {name: read_yaml(value(name)) for name in names if value(name)}
    node = LifecycleNode(
        package='tdfusion_ros',
        executable='fusion_node',
        name='tdfusion',
        namespace=value('namespace'),
        parameters=[*files, *([parameters] if parameters else [])],
        remappings=[
            *_remappings('rgb', value('rgb_topic')),
            *_remappings('ir', value('ir_topic')),
        ],
        arguments=['--ros-args', '--log-level', value('log_level')],
        respawn=read_yaml(value('respawn')),
        respawn_delay=RESPAWN_DELAY_S,
        output='both',
        emulate_tty=True,
    )
    return [node]


def _remappings(stream: str, topic: str) -> list[tuple[str, str]]:
    """Return the remappings of a camera's topics, named as image_transport does."""
    name = f'{stream}/image_raw'
    if topic == name:
        return []
    namespace, slash, _ = topic.rpartition('/')
    return [
        *((transport_topic(name, t), transport_topic(topic, t)) for t in TRANSPORTS),
        (f'{stream}/camera_info', f'{namespace}{slash}camera_info'),
    ]
