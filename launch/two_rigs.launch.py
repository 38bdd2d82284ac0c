"""
Start two fusion nodes side by side: an example to copy for several rigs.

    ros2 launch tdfusion_ros two_rigs.launch.py first:=front second:=rear
    ros2 launch tdfusion_ros two_rigs.launch.py rgb_topic:=camera/image_raw backend:=cpu

Every argument of fusion.launch.py except ``namespace`` works here too and applies to both nodes.
Topics without a leading slash are in the rig's namespace: /front/camera/image_raw, /front/fused/…
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.actions import GroupAction
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration


def generate_launch_description() -> LaunchDescription:
    """Return two nodes, each in its own scope so that neither sees the other's namespace."""
    file = Path(get_package_share_directory('tdfusion_ros')) / 'launch' / 'fusion.launch.py'
    arguments = [
        DeclareLaunchArgument(
            name, default_value=name, description=f'Namespace of the {name} rig.'
        )
        for name in ('first', 'second')
    ]
    return LaunchDescription([*arguments, *(_rig(file, rig) for rig in ('first', 'second'))])


def _rig(file: Path, rig: str) -> GroupAction:
    return GroupAction(
        [
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(file)),
                launch_arguments={'namespace': LaunchConfiguration(rig)}.items(),
            )
        ]
    )
