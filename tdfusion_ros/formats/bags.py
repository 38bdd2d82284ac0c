"""Read ROS 2 bags (mcap, sqlite3) without a ROS installation."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from functools import partial
from pathlib import Path
import sys
from typing import Any

import numpy as np
from rosbags.typesys import get_types_from_msg
from rosbags.typesys import get_typestore
from rosbags.typesys import Stores
from rosbags.typesys.store import Typestore

from tdfusion_ros.core.errors import BagError
from tdfusion_ros.formats.bag_files import find_files
from tdfusion_ros.formats.bag_files import open_file
from tdfusion_ros.formats.bag_files import StorageFile
from tdfusion_ros.formats.bag_storage import unpack_message
from tdfusion_ros.formats.bag_storage import Warn
from tdfusion_ros.formats.bag_topics import find_cameras
from tdfusion_ros.formats.bag_topics import IMAGE_TYPES
from tdfusion_ros.formats.bag_topics import ImageTopics
from tdfusion_ros.formats.bag_topics import info_topic
from tdfusion_ros.formats.bag_topics import INFO_TYPE
from tdfusion_ros.formats.messages import MessageTypes
from tdfusion_ros.formats.read_errors import reason

DEFINITIONS = Path(__file__).parent
MAX_WARNINGS = 20  # of a bag; a damaged one may have a thousand damaged chunks


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


def print_warning(text: str) -> None:
    """Print what is wrong with a bag, and what is done about it."""
    print(f'warning: {text}', file=sys.stderr)


class BagReader:
    """
    Read messages in the order of recording.

    What is damaged or missing is left out with a warning; all warnings are in ``warnings``.

    :param path: the folder of the bag, its metadata.yaml, or one storage file, to read it alone.
    :param warn: gets each warning once.
    :raises BagError: if nothing in it can be read.
    """

    def __init__(self, path: Path, warn: Warn = print_warning) -> None:
        self.path = path
        self.warnings: list[str] = []
        self._show = warn
        self._stack = ExitStack()
        self._files: list[StorageFile] = []
        try:
            self._promised = self._open()
        except OSError as error:
            self._stack.close()
            raise BagError(f'bag {path} cannot be opened: {reason(error)}') from None
        except BaseException:
            self._stack.close()
            raise
        self._counts: dict[str, Counter[str]] = {}  # of messages, by topic, by type
        self._foreign: dict[str, str] = {}
        for file in self._files:
            for number, (topic, kind, encoding) in file.channels.items():
                if encoding == 'cdr':
                    self._counts.setdefault(topic, Counter())[kind] += file.counts[number]
                else:
                    self._foreign[topic] = encoding
        self._kinds = {
            topic: max(counts, key=lambda kind: (kind in IMAGE_TYPES, counts[kind]))
            for topic, counts in self._counts.items()
        }
        for topic, number in self._promised.items():
            if number and topic not in {*self._counts, *self._foreign}:
                self._warn(f'it has none of the {number} messages expected on {topic}')

    def __enter__(self) -> 'BagReader':
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def topics(self) -> dict[str, str]:
        """Return the message type of every topic: of several, an image or the most frequent."""
        return dict(self._kinds)

    def find(self, rgb: str = '', ir: str = '') -> ImageTopics:
        """Return the topics to read, named or found; BagError lists the image topics."""
        kinds = self._kinds
        counts = {topic: self.count(topic) for topic in kinds}
        try:
            found = find_cameras(kinds, {'rgb': rgb, 'ir': ir}, counts)
        except BagError as error:
            foreign = ''
            if self._foreign:
                encodings = ', '.join(sorted(set(self._foreign.values())))
                foreign = (
                    f'; {len(self._foreign)} topics are not of ROS 2 (encoding {encodings}): '
                    f'{", ".join(sorted(self._foreign))}'
                )
            if not any(counts.values()):
                foreign += '; it has no messages of ROS 2'
            raise BagError(f'bag {self.path} has {error}{foreign}') from None
        info = info_topic(found['rgb'])
        return ImageTopics(found['rgb'], found['ir'], info if kinds.get(info) == INFO_TYPE else '')

    def describe(self, topics: ImageTopics) -> str:
        """Return a sentence that says what is read."""
        rgb, ir = (f'{topic} ({self.count(topic)} messages)' for topic in (topics.rgb, topics.ir))
        return f'read rgb from {rgb}, ir from {ir}'

    def count(self, topic: str) -> int:
        """Return the number of messages on a topic."""
        return self._counts[topic][self._kinds[topic]] if topic in self._kinds else 0

    def serialized(
        self, *topics: str, at_ns: int | None = None
    ) -> Iterator[tuple[str, int, bytes]]:
        """Yield topic, time of recording [ns] and the message as CDR; or of one time only."""
        read: Counter[str] = Counter()
        for file in self._files:
            wanted = {(topic, self._kinds.get(topic), 'cdr') for topic in topics}
            ids = {i: channel.topic for i, channel in file.channels.items() if channel in wanted}
            if not ids:
                continue
            try:
                for number, time_ns, data in file.messages(ids, at_ns):
                    read[ids[number]] += 1
                    try:
                        yield ids[number], time_ns, unpack_message(data)
                    except ValueError as error:
                        self._warn(f'a message of {ids[number]} is damaged: {error}')
            except OSError as error:
                self._warn(f'a file cannot be read to its end: {reason(error)}')
        if at_ns is None:
            self._compare(topics, read)

    def messages(self, *topics: str, at_ns: int | None = None) -> Iterator[tuple[str, int, Any]]:
        """Yield topic, time of recording [ns] and message; BagError where one is damaged."""
        for topic, time_ns, data in self.serialized(*topics, at_ns=at_ns):
            yield topic, time_ns, self.deserialize(topic, data)

    def deserialize(self, topic: str, data: bytes) -> Any:
        """Return the message that :meth:`serialized` has yielded; BagError if it is damaged."""
        try:
            return typestore().deserialize_cdr(data, self._kinds[topic])
        except Exception as error:  # rosbags has no common base class for damaged messages
            text = str(error) or type(error).__name__
            raise BagError(f'a message of {topic} in {self.path} is damaged: {text}') from error

    def _open(self) -> dict[str, int]:
        """Open what can be opened; return the promised number of messages by topic."""
        files, promised = find_files(self.path, self._warn)
        faults: dict[str, str] = {}
        for path in files:
            try:
                self._files.append(open_file(path, partial(self._warn, path.name), self._stack))
            except (ValueError, OSError) as error:
                faults[path.name] = reason(error)
        if len(files) == 1 and faults:
            raise BagError(f'bag {self.path} cannot be opened: {", ".join(faults.values())}')
        for name, fault in faults.items():
            self._warn(f'{name} cannot be opened and is left out: {fault}')
        if not self._files:
            raise BagError(f'bag {self.path} cannot be opened: none of its files can be opened')
        return promised

    def _compare(self, topics: tuple[str, ...], read: Counter[str]) -> None:
        """Warn if there were fewer messages than promised, or some of another type."""
        for topic in topics:
            kinds = dict(self._counts.get(topic, {}))
            kind = self._kinds.get(topic, '')
            number = kinds.pop(kind, 0)
            if others := {other: count for other, count in kinds.items() if count}:
                found = ', '.join(f'{count} {other}' for other, count in others.items())
                self._warn(f'on {topic}, {number} messages are {kind}; left out: {found}')
            read[topic] += sum(others.values())
        fewer = [
            f'{read[topic]} of {promised} on {topic}'
            for topic in topics
            if read[topic] < (promised := self._promised.get(topic, self.count(topic)))
        ]
        if fewer:
            self._warn(f'it has fewer messages than expected: {", ".join(fewer)}')

    def _warn(self, *texts: str) -> None:
        line = ': '.join((f'bag {self.path}', *texts))
        if line in self.warnings or len(self.warnings) > MAX_WARNINGS:
            return
        if len(self.warnings) == MAX_WARNINGS:
            line = f'bag {self.path}: more is damaged; further warnings are left out'
        self.warnings.append(line)
        self._show(line)
