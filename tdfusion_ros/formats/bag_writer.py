"""Write ROS 2 bags (mcap) without a ROS installation."""

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
from rosbags.rosbag2 import WriterError

from tdfusion_ros.core.errors import BagError
from tdfusion_ros.formats.bags import typestore


class BagWriter:
    """
    Write messages to a new mcap bag.

    :param folder: a folder that does not exist.
    :raises BagError: if it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._connections: dict[str, Any] = {}
        try:
            # ROS 2 can read version 8 from Iron on, and version 9 from Jazzy on.
            self._writer = Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP)
            self._writer.open()
        except (WriterError, OSError) as error:
            raise BagError(f'bag {folder} cannot be written: {error}') from None

    def close(self) -> None:
        """Finish the bag."""
        self._writer.close()

    def __enter__(self) -> 'BagWriter':
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(
        self, topic: str, kind: str, time_ns: int, message: Any, *, latched: bool = False
    ) -> None:
        """
        Write one message.

        :param kind: its type, for example ``sensor_msgs/msg/Image``.
        :param message: of a class of rosbags, or serialized.
        """
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, kind, typestore=typestore(), offered_qos_profiles=[_qos(latched)]
            )
        data = message if isinstance(message, bytes) else typestore().serialize_cdr(message, kind)
        try:
            self._writer.write(self._connections[topic], time_ns, data)
        except OSError as error:
            raise BagError(f'bag {self._writer.path} cannot be written: {error}') from None


def _qos(latched: bool) -> Qos:
    endless = QosTime(2147483647, 4294967295)
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=1 if latched else 5,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=endless,
        lifespan=endless,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=endless,
        avoid_ros_namespace_conventions=False,
    )
