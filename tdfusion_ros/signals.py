"""How the node ends when it is told to."""

import signal
from typing import Any


def interrupt_once() -> list[int]:
    """
    Let the first SIGINT or SIGTERM raise KeyboardInterrupt, and no other.

    :returns: the signals so far; once there is anything in it, none raises any more.

    ``ros2 launch`` sends SIGINT twice; the second must not disturb an orderly end. rclpy's own
    handlers call these and wake the executor.
    """
    seen: list[int] = []

    def interrupt(number: int, frame: Any) -> None:
        seen.append(number)
        if len(seen) == 1:
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    return seen
