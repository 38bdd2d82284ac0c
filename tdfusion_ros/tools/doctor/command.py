"""``tdfusion doctor``: check this machine, the model, ROS and the cameras."""

import argparse
from collections import Counter
from collections.abc import Iterator
import os
import sys
from typing import Any

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.formats.bag_topics import transport_topic
from tdfusion_ros.tools.doctor import installation
from tdfusion_ros.tools.doctor import received_topics
from tdfusion_ros.tools.doctor import ros_environment
from tdfusion_ros.tools.doctor import topic_checks
from tdfusion_ros.tools.doctor.finding import FAIL
from tdfusion_ros.tools.doctor.finding import Finding
from tdfusion_ros.tools.doctor.finding import OK
from tdfusion_ros.tools.doctor.finding import WARN
from tdfusion_ros.tools.options import add_config
from tdfusion_ros.tools.options import config_of


def add(commands: Any) -> None:
    doctor = commands.add_parser(
        'doctor',
        help='find what prevents the node from working, and what to do',
        description='Check this machine, the model, ROS and the cameras as the node would use '
        'them. The exit status is 1 if something must be fixed.',
    )
    option = doctor.add_argument
    option('--seconds', type=float, default=5.0, help='to listen to the cameras (default 5)')
    option('--no-topics', action='store_true', help='check the machine only, not the cameras')
    option('--namespace', default='', help='of the node')
    for stream in ('rgb', 'ir'):
        topic = f'{stream}/image_raw'
        text = f'as {stream}_topic:=… of the launch file (default {topic})'
        option(f'--{stream}-topic', default=topic, metavar='TOPIC', help=text)
    add_config(doctor)
    doctor.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print every finding; return 1 if one is a failure."""
    if not 0.0 < options.seconds <= 600.0:
        raise ConfigError(f'--seconds must be above 0 and at most 600, got {options.seconds}')
    count: Counter[str] = Counter()
    for finding in _findings(options, config_of(options, '')):
        count[finding.level] += 1
        print(finding, flush=True)
    problems = f'{count[FAIL]} to fix (FAIL), {count[WARN]} to be aware of (WARN)'
    print(problems if count[FAIL] or count[WARN] else 'no problems found')
    return int(count[FAIL] > 0)


def _findings(options: argparse.Namespace, config: FusionConfig) -> Iterator[Finding]:
    yield from installation.check(config, lambda text: print(f'      {text}', file=sys.stderr))
    yield from (ros := ros_environment.check_packages())
    if options.no_topics or any(finding.level != OK for finding in ros):
        return
    transports = {'rgb': config.rgb.image_transport, 'ir': config.ir.image_transport}
    topics_of = {'rgb': options.rgb_topic, 'ir': options.ir_topic}
    names = {name: transport_topic(topics_of[name], transports[name]) for name in topics_of}
    try:
        wanted, topics, rmw = received_topics.listen(names, options.namespace, options.seconds)
    except (ImportError, RuntimeError) as error:  # RCLError is a RuntimeError
        remedy = (
            'set ROS_LOG_DIR to a folder that you may write'
            if 'log directory' in str(error)
            else 'source the setup.bash of one ROS distribution, use the Python it was built for, '
            'and check RMW_IMPLEMENTATION'
        )
        raise ConfigError(f'rclpy is installed but does not start ({error}): {remedy}') from None
    yield from ros_environment.check_middleware(os.environ, rmw)
    yield from topic_checks.check(topics, wanted, config)
