"""What SIGINT and SIGTERM do besides rclpy's own handlers, which end the executor."""

from collections.abc import Callable
import os
import signal
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def exit_on_signals() -> Callable[[], None]:
    """
    End the process at once, without a traceback, on SIGINT or SIGTERM.

    :returns: call it after ``rclpy.init``, whose handlers call these: they do nothing from then
        on, so that no KeyboardInterrupt leaves half-made objects behind, nor disturbs the
        shutdown: ``ros2 launch`` sends SIGINT twice.
    """
    is_starting = True

    def leave_to_rclpy() -> None:
        nonlocal is_starting
        is_starting = False

    def on_signal(number: int, frame: Any) -> None:
        if is_starting:
            os._exit(0)

    for number in SIGNALS:
        signal.signal(number, on_signal)
    return leave_to_rclpy


def ignore_signals() -> None:
    """
    Ignore SIGINT and SIGTERM from now on; call it when everything is released.

    While Python exits it restores default handlers, and the second SIGINT of ``ros2 launch`` would
    kill the process; ignored signals stay ignored.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
