"""Run the node in a process of its own: ``python -m tdfusion_ros.node``."""

from contextlib import ExitStack
import os
import sys
from threading import enumerate as threads

from tdfusion_ros.node.signals import exit_on_signals
from tdfusion_ros.node.signals import ignore_signals

SAVE_S = 3.0  # for a pair that is being saved; ros2 launch kills the node after 10 s
HELP = """\
usage: ros2 run tdfusion_ros fusion_node --ros-args [-p NAME:=VALUE] [-r NAME:=TOPIC]

Fuse the images on rgb/image_raw and ir/image_raw until it is interrupted.
All parameters: tdfusion params. Easier to start: ros2 launch tdfusion_ros fusion.launch.py"""


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted; the exit status is 1 if startup fails."""
    if {'-h', '--help'} & {*(sys.argv[1:] if args is None else args)}:
        print(HELP)
        return 0
    leave_to_rclpy = exit_on_signals()  # the imports take a second
    import rclpy
    from rclpy.executors import ExternalShutdownException
    from rclpy.executors import SingleThreadedExecutor

    from tdfusion_ros.node.fusion_node import FusionNode
    from tdfusion_ros.node.services import THREADS
    from tdfusion_ros.node.worker import THREAD

    status = 0
    try:
        rclpy.init(args=args)
    except RuntimeError as error:  # RCLError
        is_unlogged = 'log directory' in str(error)
        remedy = '; set ROS_LOG_DIR to a folder that you may write' if is_unlogged else ''
        print(f'cannot start: {error}{remedy}', file=sys.stderr)
        return 1
    leave_to_rclpy()
    with ExitStack() as on_exit:
        on_exit.callback(ignore_signals)
        on_exit.callback(rclpy.try_shutdown)
        try:
            node = FusionNode()
            on_exit.callback(node.destroy_node)
            executor = SingleThreadedExecutor()
            on_exit.callback(executor.shutdown)  # its destructor may write a traceback otherwise
            executor.add_node(node)
            if node.get_parameter('autostart').value and not node.autostart():
                status = 1 if rclpy.ok() else 0
            else:
                executor.spin()  # a signal shuts the context down, which ends this
        except ExternalShutdownException:
            pass
        except RuntimeError:  # e.g. RCLError: a signal may close the context during a call
            if rclpy.ok():
                raise
    for thread in (saving := [t for t in threads() if t.name.startswith(THREADS)]):
        thread.join(SAVE_S)
    if any(thread.name == THREAD or thread in saving for thread in threads()):
        sys.stdout.flush()
        os._exit(status)  # without waiting for the engine, or for a disk that does not answer
    return status


if __name__ == '__main__':
    sys.exit(main())
