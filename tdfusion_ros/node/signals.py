"""Signal handling of the node's process."""

from collections.abc import Callable
import signal
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def interrupt_once() -> Callable[[], None]:
    """
    Raise KeyboardInterrupt on the first SIGINT or SIGTERM only.

    :returns: call it, and the signals that follow raise nothing.

    ``ros2 launch`` sends SIGINT twice; the second must not disturb the shutdown. rclpy's own
    handlers call these and wake the executor.
    """
    is_enabled = True

    def disable() -> None:
        nonlocal is_enabled
        is_enabled = False

    def interrupt(number: int, frame: Any) -> None:
        if is_enabled:
            disable()
            raise KeyboardInterrupt

    for number in SIGNALS:
        signal.signal(number, interrupt)
    return disable


def ignore() -> None:
    """
    Ignore SIGINT and SIGTERM from now on; call it when everything is released.

    While Python exits it restores default handlers, and the second SIGINT of ``ros2 launch`` would
    kill the process; ignored signals stay ignored.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
