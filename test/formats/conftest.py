"""What the tests of bags share."""

import pytest
from rosbags.rosbag2 import CompressionFormat
from rosbags.rosbag2 import Writer

from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.bags import typestore


@pytest.fixture(scope='session')
def read():
    """Read a bag: ``read(path)`` is the number of messages, what was said, and the messages."""

    def read_all(path):
        said = []
        with BagReader(path, said.append) as reader:
            messages = list(reader.serialized(*reader.topics()))
        assert said == reader.warnings
        return len(messages), ' | '.join(said), messages

    return read_all


@pytest.fixture(scope='session')
def file_of():
    """Return the only storage file of a bag: ``file_of(bag)``."""

    def only(bag):
        (file,) = (path for path in bag.iterdir() if path.suffix != '.yaml')
        return file

    return only


@pytest.fixture(scope='session')
def write_compressed():
    """Write a bag compressed with zstd: ``write_compressed(bag, records, plugin, mode)``."""

    def write(bag, records, plugin, mode):
        writer = Writer(bag, version=8, storage_plugin=plugin)
        writer.set_compression(mode, CompressionFormat.ZSTD)
        store, connections = typestore(), {}
        with writer:
            for topic, at, message in records:
                kind = message.__msgtype__
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, kind, typestore=store)
                writer.write(connections[topic], at, store.serialize_cdr(message, kind))
        return bag

    return write
