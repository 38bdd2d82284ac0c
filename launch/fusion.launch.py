"""
Start the fusion node.

    ros2 launch tdfusion_ros fusion.launch.py rgb_topic:=/cam/image_raw ir_topic:=/boson/image_raw
    ros2 launch tdfusion_ros fusion.launch.py --show-args

Every parameter of the node is an argument; its default stands in the parameter file.
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
import yaml

from tdfusion_ros.core.config import settings

# Fast DDS looks at the first on Humble and Jazzy, at the second on Kilted.
PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')

RESPAWN_DELAY_S = 5.0  # a fault at start ends the node at once: its log must stay readable


def generate_launch_description() -> LaunchDescription:
    """Return the arguments, the transport profile for images, and the node."""
    config = Path(get_package_share_directory('tdfusion_ros')) / 'config'
    profile = str(config / 'fastdds_profile.xml')
    own = any(variable in os.environ for variable in PROFILE_VARIABLES)
    arguments = _arguments(config)
    known = [argument.name for argument in arguments]
    return LaunchDescription(
        [
            *arguments,
            *(SetEnvironmentVariable(name, profile) for name in PROFILE_VARIABLES if not own),
            OpaqueFunction(function=_strangers, args=[known]),
            OpaqueFunction(function=_node),
        ]
    )


def _arguments(config: Path) -> list[DeclareLaunchArgument]:
    return [
        DeclareLaunchArgument('namespace', default_value='', description='Of the node.'),
        DeclareLaunchArgument(
            'params_file',
            default_value=str(config / 'fusion.yaml'),
            description='Parameter file.',
        ),
        DeclareLaunchArgument(
            'rgb_topic',
            default_value='rgb/image_raw',
            description='Raw image topic of the rgb camera; its camera_info is beside it.',
        ),
        DeclareLaunchArgument(
            'ir_topic',
            default_value='ir/image_raw',
            description='Raw image topic of the thermal camera, likewise.',
        ),
        DeclareLaunchArgument(
            'use_sim_time', default_value='false', description='Take the time from /clock.'
        ),
        DeclareLaunchArgument(
            'respawn', default_value='false', description='Start the node again if it ends.'
        ),
        DeclareLaunchArgument('log_level', default_value='info', description='Of the node.'),
        *(
            DeclareLaunchArgument(
                name, default_value='', description=f'{facts["doc"]} Empty: as in params_file.'
            )
            for name, _, facts in settings()
        ),
    ]


def _strangers(context: LaunchContext, known: list[str]) -> list[LogInfo]:
    """Name misspelt arguments: launch takes any; those of an including file are no mistake."""
    found = []
    for name in context.launch_configurations.keys() - set(known):
        for near in get_close_matches(name, known, n=1, cutoff=0.8):
            found.append(LogInfo(msg=f"no argument '{name}' is known: did you mean '{near}'?"))
    return found


def _node(context: LaunchContext) -> list[LifecycleNode]:
    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    if not Path(given('params_file')).is_file():  # launch_ros would go on without it
        raise FileNotFoundError(f'params_file {given("params_file")} does not exist')
    overrides = {name: yaml.safe_load(given(name)) for name, _, _ in settings() if given(name)}
    node = LifecycleNode(
        package='tdfusion_ros',
        executable='fusion_node',
        name='tdfusion',
        namespace=given('namespace'),
        parameters=[
            given('params_file'),
            {**overrides, 'use_sim_time': yaml.safe_load(given('use_sim_time'))},
        ],
        remappings=[
            remapping
            for stream in ('rgb', 'ir')
            for remapping in _remappings(stream, given(f'{stream}_topic'))
        ],
        arguments=['--ros-args', '--log-level', given('log_level')],
        respawn=yaml.safe_load(given('respawn')),
        respawn_delay=RESPAWN_DELAY_S,
        output='both',
        emulate_tty=True,
    )
    return [node]


def _remappings(stream: str, topic: str) -> list[tuple[str, str]]:
    """Return how a camera's three topics are reached; as image_transport names them."""
    name = f'{stream}/image_raw'
    if topic == name:
        return []
    folder, slash, _ = topic.rpartition('/')
    return [
        (name, topic),
        (f'{name}/compressed', f'{topic}/compressed'),
        (f'{stream}/camera_info', f'{folder}{slash}camera_info'),
    ]
