"""Write ROS 2 bags (mcap) without a ROS installation."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from rosbags.interfaces import Qos
from rosbags.interfaces import QosDurability
from rosbags.interfaces import QosHistory
from rosbags.interfaces import QosLiveliness
from rosbags.interfaces import QosReliability
from rosbags.interfaces import QosTime
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer

from tdfusion_ros.atomic import NewOutput
from tdfusion_ros.atomic import output_errors
from tdfusion_ros.core.errors import OutputError
from tdfusion_ros.formats.bags import typestore


class BagWriter:
    """
    Write messages to a new mcap bag, which appears when it is closed.

    As a context manager it is closed, or discarded if an exception ends the context.

    :raises OutputError: if it cannot be written.
    """

    def __init__(self, folder: Path, *, replace: bool = False) -> None:
        self._connections: dict[str, Any] = {}
        self._path = folder
        self._folder = NewOutput(folder, replace=replace)
        try:
            with output_errors(folder):
                # ROS 2 can read version 8 from Iron on, and version 9 from Jazzy on.
                plugin = StoragePlugin.MCAP
                self._writer = Writer(self._folder.partial, version=8, storage_plugin=plugin)
                self._writer.open()
        except OutputError:
            self._folder.discard()
            raise

    def close(self) -> None:
        """Finish the bag; if that is impossible, remove it and raise OutputError."""
        try:
            with output_errors(self._path):
                self._writer.close()
        except OutputError:
            self.discard()
            raise
        self._folder.commit()

    def discard(self) -> None:
        with suppress(OSError):  # what a full disk did not take
            self._writer.abort()
        self._folder.discard()

    def __enter__(self) -> 'BagWriter':
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def write(
        self, topic: str, kind: str, time_ns: int, message: Any, *, latched: bool = False
    ) -> None:
        """Write a message of rosbags, or a serialized one; OutputError if that is impossible."""
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, kind, typestore=typestore(), offered_qos_profiles=[_qos(latched)]
            )
        data = message if isinstance(message, bytes) else typestore().serialize_cdr(message, kind)
        with output_errors(self._path):
            self._writer.write(self._connections[topic], time_ns, data)


def _qos(latched: bool) -> Qos:
    durability = QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE
    endless = QosTime(2147483647, 4294967295)
    kept = QosHistory.KEEP_LAST, 1 if latched else 5, QosReliability.RELIABLE, durability
    return Qos(*kept, endless, endless, QosLiveliness.AUTOMATIC, endless, False)
