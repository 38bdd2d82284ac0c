"""``tdfusion doctor``: what stands in the way, and what to do about it."""

import argparse
import os
import sys
from typing import Any

from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.tools.options import add_config
from tdfusion_ros.tools.options import config_of


def add(commands: Any) -> None:
    """Say what the command takes."""
    doctor = commands.add_parser(
        'doctor',
        help='say what stands in the way, and what to do',
        description='Look at this machine, the model, ROS and the cameras as the node would see '
        'them. The exit status is 1 where something has to be put right.',
    )
    doctor.add_argument(
        '--seconds', type=float, default=5.0, help='to listen to the cameras (default 5)'
    )
    doctor.add_argument(
        '--no-topics', action='store_true', help='look at the machine only, not at the cameras'
    )
    doctor.add_argument('--namespace', default='', help='of the node')
    for stream in ('rgb', 'ir'):
        doctor.add_argument(
            f'--{stream}-topic',
            default=f'{stream}/image_raw',
            metavar='TOPIC',
            help=f'as {stream}_topic:=… of the launch file (default {stream}/image_raw)',
        )
    add_config(doctor)
    doctor.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Look, tell, and return 1 where something has to be put right."""
    from tdfusion_ros.tools.doctor import finding
    from tdfusion_ros.tools.doctor import installation as machine
    from tdfusion_ros.tools.doctor import ros_environment as environment

    if not 0.0 < options.seconds <= 600.0:
        raise ConfigError(f'--seconds must be above 0 and at most 600, got {options.seconds}')
    config = config_of(options)
    findings = []

    def tell(more: list[finding.Finding]) -> None:
        findings.extend(more)
        for one in more:
            print(one, flush=True)

    tell(machine.examine(config, lambda text: print(f'      {text}', file=sys.stderr)))
    tell(ros := environment.installation())
    if not options.no_topics and all(one.level == finding.OK for one in ros):
        from tdfusion_ros.tools.doctor import streams
        from tdfusion_ros.tools.doctor.listen import listen

        names = {
            stream: getattr(options, f'{stream}_topic')
            + ('/compressed' if getattr(config, stream).image_transport == 'compressed' else '')
            for stream in ('rgb', 'ir')
        }
        try:
            wanted, seen, rmw = listen(names, options.namespace, options.seconds)
        except (ImportError, RuntimeError) as error:  # RCLError is a RuntimeError
            raise ConfigError(
                f'rclpy is there but does not start ({error}): source the setup.bash of one ROS '
                'distribution, with the Python it was made for, and look at RMW_IMPLEMENTATION'
            ) from None
        tell(environment.middleware(os.environ, rmw))
        tell(streams.judge(seen, wanted, config))
    print(finding.summary(findings))
    return int(any(one.level == finding.FAIL for one in findings))
