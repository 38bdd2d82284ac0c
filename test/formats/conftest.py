"""What the tests of bags share."""

import pytest

from tdfusion_ros.formats.bags import BagReader


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


@pytest.fixture
def make_bag(write_bag, demo_records, tmp_path):
    """Write the first 24 messages of the demo bag: ``make_bag(plugin, compression)``."""
    return lambda *how: write_bag(tmp_path / 'bag', demo_records, *how)


@pytest.fixture(scope='session')
def file_of():
    """Return the only storage file of a bag: ``file_of(bag)``."""

    def only(bag):
        (file,) = (path for path in bag.iterdir() if path.suffix != '.yaml')
        return file

    return only
