"""Signal handling of the node's process."""

import signal
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def interrupt_once() -> list[int]:
    """
    Raise KeyboardInterrupt on the first SIGINT or SIGTERM only.

    :returns: the signals received so far; once it is not empty, no signal raises any more.

    ``ros2 launch`` sends SIGINT twice; the second must not disturb the shutdown. rclpy's own
    handlers call these and wake the executor.
    """
    received: list[int] = []

    def interrupt(number: int, frame: Any) -> None:
        received.append(number)
        if len(received) == 1:
            raise KeyboardInterrupt

    for number in SIGNALS:
        signal.signal(number, interrupt)
    return received


def ignore() -> None:
    """
    Ignore SIGINT and SIGTERM from now on; call it when everything is released.

    While Python exits it restores default handlers, and the second SIGINT of ``ros2 launch`` would
    kill the process; ignored signals stay ignored.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
