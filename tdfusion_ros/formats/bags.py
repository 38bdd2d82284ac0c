"""Read and write ROS 2 bags (mcap, sqlite3) with rosbags, without a ROS installation."""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import Connection
from rosbags.interfaces import Qos
from rosbags.interfaces import QosDurability
from rosbags.interfaces import QosHistory
from rosbags.interfaces import QosLiveliness
from rosbags.interfaces import QosReliability
from rosbags.interfaces import QosTime
from rosbags.rosbag2 import Reader
from rosbags.rosbag2 import ReaderError
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer
from rosbags.rosbag2 import WriterError
from rosbags.typesys import get_types_from_msg
from rosbags.typesys import get_typestore
from rosbags.typesys import Stores
from rosbags.typesys.store import Typestore
import yaml

from tdfusion_ros.core.errors import BagError
from tdfusion_ros.formats.messages import MessageTypes
from tdfusion_ros.formats.plain_yaml import reason
from tdfusion_ros.formats.plain_yaml import refuse_aliases

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
INFO_TYPE = 'sensor_msgs/msg/CameraInfo'
DEFINITIONS = Path(__file__).parent
# How errors of rosbags about metadata.yaml begin, and what others mean.
METADATA_FAULTS = ('A metadata key is', 'Invalid bag metadata', 'Could not load YAML')
MCAP_FAULTS = {
    'File magic is invalid': 'it is not an MCAP file',
    'File end magic is invalid': 'its MCAP file is cut off; repair it with: mcap recover',
}


@cache
def typestore() -> Typestore:
    """Return the message types of ROS 2, vision_msgs and foxglove_msgs."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types: dict[str, Any] = {}
    for path in sorted(DEFINITIONS.glob('*/msg/*.msg')):
        name = '/'.join(path.with_suffix('').parts[-3:])
        types |= get_types_from_msg(path.read_text(encoding='utf-8'), name)
    store.register({name: kind for name, kind in types.items() if name not in store.types})
    return store


def bag_types() -> MessageTypes:
    """Return rosbags' message classes."""
    return MessageTypes(lambda name: typestore().types[name], np.asarray)


def image_topics(types: Mapping[str, str]) -> list[str]:
    """Return the image topics among topics with their message types."""
    return [topic for topic, kind in types.items() if kind in IMAGE_TYPES]


def find_image_topic(
    types: Mapping[str, str], stream: str, wanted: str = '', namespace: str = ''
) -> str:
    """
    Return the image topic of a camera, empty if there is none.

    :param types: message type of every topic.
    :param wanted: its name; empty: the shortest one ending in ``STREAM/image_raw[/compressed]``.
    :param namespace: topics in it are preferred.
    """
    images = image_topics(types)
    if wanted:
        return wanted if wanted in images else ''
    ends = (f'/{stream}/image_raw', f'/{stream}/image_raw/compressed')
    matches = [topic for topic in images if topic.endswith(ends)]
    own = [topic for topic in matches if topic.startswith(f'{namespace}/')]
    return min(own or matches, key=len, default='')


@dataclass(frozen=True)
class ImageTopics:
    """Image topics of a bag, and the camera_info of rgb; empty if the bag has none."""

    rgb: str
    ir: str
    rgb_info: str = ''


class BagReader:
    """
    Read messages in the order of recording.

    :param path: the folder of the bag, or the file in it.
    :raises BagError: if it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        folder = (
            path.parent if path.is_file() and (path.parent / 'metadata.yaml').is_file() else path
        )
        if not folder.exists():
            raise BagError(f'bag {path} does not exist')
        if folder.is_dir() and not (folder / 'metadata.yaml').is_file():
            raise BagError(f'{path} is a folder without metadata.yaml, not a bag')
        self.path = folder
        try:
            if (folder / 'metadata.yaml').is_file():
                refuse_aliases((folder / 'metadata.yaml').read_text(encoding='utf-8'))
            self._reader = Reader(folder)
            self._reader.open()
            _check_connections(self._reader.connections)
        except Exception as error:  # rosbags raises errors of many kinds for a damaged bag
            raise BagError(f'bag {path} cannot be opened: {_fault(error)}') from error

    def __enter__(self) -> 'BagReader':
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def topics(self) -> dict[str, str]:
        """Return the message type of every topic."""
        return {c.topic: c.msgtype for c in self._reader.connections}

    def find(self, rgb: str = '', ir: str = '') -> ImageTopics:
        """
        Return the topics to read.

        :param rgb: a topic; empty: the shortest that ends in rgb/image_raw[/compressed].
        :param ir: the same for ir.
        :raises BagError: naming the image topics of the bag.
        """
        kinds, found = self.topics(), {}
        for stream, wanted in (('rgb', rgb), ('ir', ir)):
            found[stream] = find_image_topic(kinds, stream, wanted)
            if not found[stream]:
                raise BagError(
                    f'bag {self.path} has no {stream} topic '
                    f'{wanted or f"ending in /{stream}/image_raw"}; its image topics are '
                    f'{", ".join(image_topics(kinds)) or "none"}; name one with --{stream}-topic'
                )
        info = found['rgb'].removesuffix('/compressed').rpartition('/')[0] + '/camera_info'
        return ImageTopics(found['rgb'], found['ir'], info if kinds.get(info) == INFO_TYPE else '')

    def count(self, topic: str) -> int:
        """Return the number of messages on a topic."""
        return sum(c.msgcount for c in self._reader.connections if c.topic == topic)

    def serialized(
        self, *topics: str, at_ns: int | None = None
    ) -> Iterator[tuple[str, int, bytes]]:
        """
        Yield topic, time of recording [ns] and the serialized message (CDR).

        :param at_ns: only the messages of this time, without reading the others [ns].
        :raises BagError: where the bag is damaged.
        """
        wanted = [c for c in self._reader.connections if c.topic in topics]
        if not wanted:  # for rosbags, an empty list means all
            return
        stop_ns = None if at_ns is None else at_ns + 1
        try:
            for connection, time_ns, data in self._reader.messages(wanted, at_ns, stop_ns):
                _check_time(time_ns)
                yield connection.topic, time_ns, bytes(data)
        except Exception as error:  # as above
            raise BagError(f'bag {self.path} is damaged: {_fault(error)}') from error

    def messages(self, *topics: str, at_ns: int | None = None) -> Iterator[tuple[str, int, Any]]:
        """
        Yield topic, time of recording [ns] and message.

        :raises BagError: where the bag is damaged.
        """
        kinds = self.topics()
        for topic, time_ns, data in self.serialized(*topics, at_ns=at_ns):
            try:
                yield topic, time_ns, typestore().deserialize_cdr(data, kinds[topic])
            except Exception as error:  # as above
                raise BagError(
                    f'a message of {topic} in {self.path} is damaged: {_fault(error)}'
                ) from error


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


def _fault(error: Exception) -> str:
    """Return what is wrong with a bag, from an error of rosbags or of a library below it."""
    text = reason(error)
    if isinstance(error, yaml.YAMLError) or text.startswith(METADATA_FAULTS):
        return f'its metadata.yaml is damaged: {text}'
    for words, meaning in MCAP_FAULTS.items():
        if words in text:
            return meaning
    known = isinstance(error, (ReaderError, ValueError, OSError))
    return text if known else f'{type(error).__name__}: {text}'


def _check_connections(connections: Sequence[Connection]) -> None:
    """Raise ValueError for entries of metadata.yaml that rosbags does not check."""
    for c in connections:
        if not (isinstance(c.topic, str) and isinstance(c.msgtype, str)):
            raise ValueError(f'expected names, got topic {c.topic!r} of type {c.msgtype!r}')
        if type(c.msgcount) is not int or c.msgcount < 0:
            raise ValueError(f'expected a number of messages on {c.topic}, got {c.msgcount!r}')


def _check_time(time_ns: Any) -> None:
    if type(time_ns) is not int or not -(2**63) <= time_ns < 2**63:
        raise ValueError(f'expected a time of recording in ns, got {time_ns!r}')


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
