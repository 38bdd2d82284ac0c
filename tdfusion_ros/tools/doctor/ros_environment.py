"""What of ROS is there, and how its environment variables are set."""

from collections.abc import Mapping
import importlib.util
from pathlib import Path

from tdfusion_ros.tools.doctor.finding import FAIL
from tdfusion_ros.tools.doctor.finding import Finding
from tdfusion_ros.tools.doctor.finding import OK
from tdfusion_ros.tools.doctor.finding import WARN

MESSAGES = ('std_msgs', 'std_srvs', 'sensor_msgs', 'vision_msgs', 'diagnostic_msgs')
# Fast DDS looks at the first on Humble and Jazzy, at the second on Kilted.
PROFILES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
LAST_DOMAIN = 101  # above it ports collide with those that Linux gives to anybody


def installation() -> list[Finding]:
    """Tell whether ROS and the messages can be imported."""
    if importlib.util.find_spec('rclpy') is None:
        return [
            Finding(
                WARN,
                'ros',
                'rclpy is not there: bags and folders can be fused here, the node cannot run',
                '. /opt/ros/<distribution>/setup.bash, or see pip_ros/README.md',
            )
        ]
    missing = [name for name in MESSAGES if importlib.util.find_spec(name) is None]
    if missing:
        packages = ' '.join(f'ros-$ROS_DISTRO-{name.replace("_", "-")}' for name in missing)
        remedy = f'sudo apt install {packages} (without apt: pip_ros/README.md)'
        return [Finding(FAIL, 'ros', f'{", ".join(missing)} cannot be imported', remedy)]
    return [Finding(OK, 'ros', f'rclpy and {", ".join(MESSAGES)} are there'), _foxglove()]


def _foxglove() -> Finding:
    if importlib.util.find_spec('foxglove_msgs') is None:
        sentence = (
            'foxglove_msgs is not there, so nor is fused/annotations; to see boxes in its Image '
            'panel: sudo apt install ros-$ROS_DISTRO-foxglove-msgs'
        )
        return Finding(OK, 'Foxglove', sentence)
    return Finding(OK, 'Foxglove', 'foxglove_msgs is there: boxes on fused/annotations')


def middleware(variables: Mapping[str, str], rmw: str) -> list[Finding]:
    """
    Tell how nodes find each other and how images travel.

    :param rmw: name of the middleware in use, as rmw_fastrtps_cpp.
    """
    distribution = variables.get('ROS_DISTRO') or 'of unknown distribution (ROS_DISTRO is not set)'
    return [
        Finding(OK, 'middleware', f'{rmw}, ROS {distribution}'),
        _domain(variables.get('ROS_DOMAIN_ID', '')),
        _reach(variables),
        *([_profile(variables)] if 'fastrtps' in rmw else []),
    ]


def _domain(text: str) -> Finding:
    subject = 'ROS_DOMAIN_ID'
    if text and not (text.isdecimal() and int(text) <= LAST_DOMAIN):
        remedy = f'use 0 to {LAST_DOMAIN}, the same for cameras and node'
        return Finding(WARN, subject, f"'{text}'", remedy)
    return Finding(OK, subject, f'{text or "not set, so 0"}; cameras must have the same')


def _reach(variables: Mapping[str, str]) -> Finding:
    reach = variables.get('ROS_AUTOMATIC_DISCOVERY_RANGE', '')
    alone = variables.get('ROS_LOCALHOST_ONLY', '') == '1'
    subject, remedy = 'discovery', 'unset it where a camera is on another machine'
    if reach == 'OFF':
        return Finding(
            FAIL,
            subject,
            'ROS_AUTOMATIC_DISCOVERY_RANGE=OFF: no other node is found',
            'set it to SUBNET or LOCALHOST',
        )
    if reach == 'LOCALHOST' or alone:
        name = 'ROS_LOCALHOST_ONLY=1' if alone else 'ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST'
        return Finding(WARN, subject, f'{name}: only nodes of this machine are found', remedy)
    return Finding(OK, subject, 'nodes of the whole network are found')


def _profile(variables: Mapping[str, str]) -> Finding:
    given = {name: variables[name] for name in PROFILES if variables.get(name)}
    subject = 'Fast DDS profile'
    lost = [f'{name}={path}' for name, path in given.items() if not Path(path).is_file()]
    if lost:
        return Finding(
            FAIL, subject, f'{", ".join(lost)} is no file', 'correct the path, or unset it'
        )
    if given:
        return Finding(OK, subject, ', '.join(f'{n}={p}' for n, p in given.items()))
    return Finding(
        WARN,
        subject,
        'none: its shared memory is smaller than one image, so images are lost',
        f'export {PROFILES[0]}=…/config/fastdds_profile.xml (Kilted: {PROFILES[1]}) for the '
        'camera drivers too; the launch file sets it for the node',
    )
