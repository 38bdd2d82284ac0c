"""Check that ROS is installed, and how its environment variables are set."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from tdfusion_ros.build import share_folders
from tdfusion_ros.tools.doctor.finding import Finding

MESSAGES = ('std_msgs', 'std_srvs', 'sensor_msgs', 'vision_msgs', 'diagnostic_msgs')
# Fast DDS reads the first on Humble and Jazzy, the second on Kilted.
PROFILES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
LAST_DOMAIN = 101  # higher domains use ports that Linux may give to other programs


def check_packages() -> list[Finding]:
    """Check that rclpy and the message packages can be imported."""
    if find_spec('rclpy') is None:
        found = 'rclpy is missing: bags and folders can be fused, but the node cannot run'
        remedy = '. /opt/ros/<distribution>/setup.bash, or pip_ros/README.md'
        return [Finding.warn('ros', found, remedy)]
    missing = [name for name in MESSAGES if find_spec(name) is None]
    if missing:
        packages = ' '.join(f'ros-$ROS_DISTRO-{name.replace("_", "-")}' for name in missing)
        remedy = f'sudo apt install {packages} (without apt: pip_ros/README.md)'
        return [Finding.fail('ros', f'{", ".join(missing)} cannot be imported', remedy)]
    foxglove = 'foxglove_msgs is installed: boxes are published on fused/annotations'
    if find_spec('foxglove_msgs') is None:
        foxglove = (
            'foxglove_msgs is missing, so fused/annotations is not published; to see boxes in the '
            'Image panel: sudo apt install ros-$ROS_DISTRO-foxglove-msgs'
        )
    found = f'rclpy and {", ".join(MESSAGES)} are installed'
    return [Finding.ok('ros', found), Finding.ok('Foxglove', foxglove)]


def check_middleware(variables: Mapping[str, str], rmw: str) -> list[Finding]:
    """Check in the environment how nodes find each other and how ``rmw`` sends images."""
    distribution = variables.get('ROS_DISTRO') or '(ROS_DISTRO is not set)'
    return [
        Finding.ok('middleware', f'{rmw}, ROS {distribution}'),
        _domain(variables.get('ROS_DOMAIN_ID', '')),
        _discovery(variables),
        *([_profile(variables)] if 'fastrtps' in rmw else []),
    ]


def _domain(text: str) -> Finding:
    if text and not (text.isdecimal() and int(text) <= LAST_DOMAIN):
        remedy = f'use 0 to {LAST_DOMAIN}, the same for the cameras and the node'
        return Finding.warn('ROS_DOMAIN_ID', f"'{text}'", remedy)
    found = f'{text or "not set, so 0"}; the cameras must use the same'
    return Finding.ok('ROS_DOMAIN_ID', found)


def _discovery(variables: Mapping[str, str]) -> Finding:
    names = ('ROS_AUTOMATIC_DISCOVERY_RANGE', 'ROS_LOCALHOST_ONLY')
    setting = {name: f'{name}={variables.get(name, "")}' for name in names}
    discovery_range, localhost_only = setting.values()
    if discovery_range.endswith('=OFF'):
        found = f'{discovery_range}: no other node is found'
        return Finding.fail('discovery', found, 'set it to SUBNET or LOCALHOST')
    for text in (localhost_only, discovery_range):
        if text.endswith(('=1', '=LOCALHOST')):
            found = f'{text}: only nodes on this machine are found'
            return Finding.warn('discovery', found, 'unset it if a camera is on another machine')
    return Finding.ok('discovery', 'nodes in the whole network are found')


def _profile(variables: Mapping[str, str]) -> Finding:
    subject = 'Fast DDS profile'
    files = {name: variables[name] for name in PROFILES if variables.get(name)}
    missing = [f'{name}={path}' for name, path in files.items() if not Path(path).is_file()]
    if missing:
        found = f'{", ".join(missing)} is not a file'
        return Finding.fail(subject, found, 'correct the path or unset it')
    if files:
        return Finding.ok(subject, ', '.join(f'{name}={path}' for name, path in files.items()))
    found = 'none: the default shared memory is smaller than one image, so images are lost'
    profiles = (folder / 'config' / 'fastdds_profile.xml' for folder in share_folders())
    path = next((profile for profile in profiles if profile.is_file()), '…')
    export = f'export {PROFILES[0]}={path} (Kilted: {PROFILES[1]})'
    remedy = f'{export} for the camera drivers too; the launch file sets it for the node'
    return Finding.warn(subject, found, remedy)
