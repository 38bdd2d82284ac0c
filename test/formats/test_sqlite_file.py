"""sqlite3 files with what a killed recorder leaves beside them, and damaged ones."""

import shutil
import sqlite3

import pytest
from rosbags.rosbag2 import StoragePlugin

from tdfusion_ros.core.errors import BagError

SQLITE3 = StoragePlugin.SQLITE3


def wal_copies(bag, target):
    """Copy a sqlite3 bag as its killed recorder leaves it: the last half only in the -wal file."""
    live = sqlite3.connect(bag / 'bag.db3', isolation_level=None)
    rows = live.execute('SELECT * FROM messages').fetchall()
    half = len(rows) // 2
    live.execute('DELETE FROM messages WHERE id > ?', (rows[half - 1][0],))
    live.execute('PRAGMA journal_mode=WAL')
    live.executemany('INSERT INTO messages VALUES (?, ?, ?, ?)', rows[half:])
    shutil.copytree(bag, target, ignore=shutil.ignore_patterns('*-shm'))
    live.close()
    return target


def test_messages_in_the_wal_file_of_a_killed_recorder_are_read(make_bag, read, tmp_path):
    bag = wal_copies(make_bag(SQLITE3), tmp_path / 'killed')
    for path in (bag, bag / 'bag.db3'):
        count, said, _ = read(path)
        assert count == 24
        assert 'read together with bag.db3-wal' in said
    (tmp_path / 'link.db3').symlink_to(bag / 'bag.db3')
    assert read(tmp_path / 'link.db3')[0] == 24


def test_sqlite_bag_that_has_lost_its_wal_file_says_what_is_missing(make_bag, read, tmp_path):
    bag = wal_copies(make_bag(SQLITE3), tmp_path / 'killed')
    (bag / 'bag.db3-wal').unlink()
    count, said, _ = read(bag)
    assert count == 24 // 2
    assert 'fewer messages than expected' in said


def test_leftover_journal_is_named(make_bag, read):
    bag = make_bag(SQLITE3)
    (bag / 'bag.db3-journal').write_bytes(b'\xd9\xd5\x05\xf9\x20\xa1\x63\xd7')
    with pytest.raises(BagError, match=r'last change was not finished: bag\.db3-journal'):
        read(bag)


def test_sqlite_bag_is_read_up_to_the_damage(make_bag, read, file_of):
    bag = make_bag(SQLITE3)
    file = file_of(bag)
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * 6 // 10])
    count, said, _ = read(bag)
    assert 0 < count < 24
    assert 'it is damaged (' in said
    assert 'fewer messages than expected' in said
