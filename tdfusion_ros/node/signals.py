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


def ignore() -> None:
    """
    Ignore SIGINT and SIGTERM from now on: everything is released, only Python has to end.

    While it does, it gives signals back their default, and the second SIGINT of ``ros2 launch``
    would kill what has ended well; but one that is ignored stays ignored.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
