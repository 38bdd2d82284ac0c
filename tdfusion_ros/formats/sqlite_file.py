"""
Read the sqlite3 files of bags.

rosbags opens them as immutable, which leaves out what a killed recorder had written to the
``-wal`` file beside them; here SQLite reads both.
"""

from collections import Counter
from collections.abc import Collection
from pathlib import Path
import sqlite3

from tdfusion_ros.formats.bag_storage import Channel
from tdfusion_ros.formats.bag_storage import message_type
from tdfusion_ros.formats.bag_storage import Messages
from tdfusion_ros.formats.bag_storage import Warn

MAGIC = b'SQLite format 3\0'


class SqliteFile:
    """An open sqlite3 file, as :class:`McapFile`; ValueError with what is wrong with it."""

    def __init__(self, path: Path, warn: Warn) -> None:
        self._warn = warn
        path = path.resolve()  # SQLite looks for the -wal file beside the real file
        wal, journal = (path.with_name(f'{path.name}{end}') for end in ('-wal', '-journal'))
        if journal.is_file() and journal.stat().st_size:
            raise ValueError(
                f'its last change was not finished: {journal.name} is left beside it; copy both '
                f"and undo that change with: sqlite3 {path.name} 'PRAGMA user_version'"
            )
        has_wal = wal.is_file() and wal.stat().st_size > 0
        mode = 'mode=ro' if has_wal else 'mode=ro&immutable=1'  # immutable: no other files needed
        self._connection = sqlite3.connect(f'{path.as_uri()}?{mode}', uri=True)
        self._connection.text_factory = lambda text: text.decode('utf-8', 'replace')
        try:
            self._connection.execute('PRAGMA writable_schema = ON')  # or a file cut off is refused
            self.channels = self._channels()
            self.counts = self._counts()
        except sqlite3.Error as error:
            self.close()
            files = f'it cannot be read{f" together with {wal.name}" if has_wal else ""}'
            remedy = ': copy both to a folder that you may write' if has_wal else ''
            raise ValueError(f'{files} ({error}){remedy}') from None
        if has_wal:
            self._warn(f'its recorder did not close it: read together with {wal.name}')

    def close(self) -> None:
        self._connection.close()

    def messages(self, ids: Collection[int], at_ns: int | None) -> Messages:
        """Yield channel id, time [ns] and data; what is damaged is left out with a warning."""
        number, last_ns, fault = 0, None, ''
        # Where the index of times is damaged, the table may still be whole.
        for order in ('ORDER BY timestamp, rowid', ''):
            after_ns = last_ns
            try:
                for channel, time_ns, data in self._rows(ids, at_ns, order):
                    if after_ns is None or time_ns > after_ns:
                        number, last_ns = number + 1, time_ns
                        yield channel, time_ns, data
                break
            except sqlite3.Error as error:
                fault = str(error)
        if fault:
            self._warn(f'it is damaged ({fault}): read {number} messages')

    def _rows(self, ids: Collection[int], at_ns: int | None, order: str) -> Messages:
        marks = ','.join('?' * len(ids))
        index = '' if order else 'NOT INDEXED'
        query = f'SELECT topic_id, timestamp, data FROM messages {index}'
        query += f' WHERE topic_id IN ({marks})'
        values = list(ids)
        if at_ns is not None:
            query, values = f'{query} AND timestamp = ?', [*values, at_ns]
        wrong = 0
        for row in self._connection.execute(f'{query} {order}', values):
            if type(row[1]) is int and isinstance(row[2], bytes):
                yield row
            else:
                wrong += 1
        if wrong:
            self._warn(f'{wrong} messages in it have no time or no data and are left out')

    def _channels(self) -> dict[int, Channel]:
        rows = self._connection.execute('SELECT id, name, type, serialization_format FROM topics')
        return {
            number: Channel(topic, message_type(kind), encoding)
            for number, topic, kind, encoding in rows
            if all(isinstance(text, str) for text in (topic, kind, encoding))
        }

    def _counts(self) -> Counter[int]:
        query = 'SELECT topic_id, count(*) FROM messages GROUP BY topic_id'
        try:
            return Counter(dict(self._connection.execute(query)))
        except sqlite3.Error:  # messages() says what is wrong
            return Counter(dict.fromkeys(self.channels, 1))
