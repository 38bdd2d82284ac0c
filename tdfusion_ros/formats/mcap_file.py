"""
Read MCAP files, also those that were never finished or are damaged in parts.

The file is scanned from record to record, so the index at its end is needed only to find the next
chunk after a damaged record. rosbags and mcap refuse a file without its end, and a file with one
channel that is not from ROS 2. Source: https://mcap.dev/spec
"""

from binascii import crc32
from collections import Counter
from collections.abc import Collection
import heapq
from pathlib import Path
import struct
from typing import NamedTuple

from lz4.frame import LZ4FrameDecompressor

from tdfusion_ros.formats.bag_storage import Channel
from tdfusion_ros.formats.bag_storage import MAX_UNPACKED
from tdfusion_ros.formats.bag_storage import message_type
from tdfusion_ros.formats.bag_storage import Messages
from tdfusion_ros.formats.bag_storage import unpack_zstd
from tdfusion_ros.formats.bag_storage import Warn

MAGIC = b'\x89MCAP0\r\n'
FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, MESSAGE_INDEX, CHUNK_INDEX = 2, 3, 4, 5, 6, 7, 8
RECORD = struct.Struct('<BQ')  # opcode, length
MESSAGE_HEAD = struct.Struct('<HIqq')  # channel, sequence, time of recording, of publishing
CHUNK_HEAD = struct.Struct('<qqQII')  # begin, end, size, checksum, length of compression
END_BYTES = RECORD.size + 20 + len(MAGIC)  # footer
MAX_DEFINITION = 1 << 24  # bytes of a schema or channel


class _Block(NamedTuple):
    """
    A chunk, or a message outside of chunks: where its content begins and how much is there.

    :param counts: messages by channel id; None: not indexed.
    :param whole: False if the file ends within it.
    """

    opcode: int
    at: int
    length: int
    begin_ns: int
    counts: Counter[int] | None
    whole: bool = True


class McapFile:
    """An open MCAP file, as :class:`SqliteFile`; OSError if it cannot be read."""

    def __init__(self, path: Path, warn: Warn) -> None:
        self.channels: dict[int, Channel] = {}
        self.counts: Counter[int] = Counter()
        self._warn = warn
        self._schemas: dict[int, str] = {}
        self._blocks: list[_Block] = []
        self._size = path.stat().st_size
        self._file = path.open('rb')
        try:
            self._scan()
            self._read_unindexed()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        self._file.close()

    def messages(self, ids: Collection[int], at_ns: int | None) -> Messages:
        """Yield channel id, time [ns] and data; a damaged chunk is left out with a warning."""
        waiting: list[tuple[int, int, int, bytes]] = []  # chunks may overlap in time
        number = 0
        for block in sorted(self._blocks, key=lambda block: block.begin_ns):
            if block.counts is not None and not any(block.counts[i] for i in ids):
                continue
            while waiting and waiting[0][0] < block.begin_ns:
                time_ns, _, channel, data = heapq.heappop(waiting)
                yield channel, time_ns, data
            if at_ns is not None and block.begin_ns > at_ns:
                break
            for channel, time_ns, data in self._read(block):
                if channel in ids and (at_ns is None or time_ns == at_ns):
                    heapq.heappush(waiting, (time_ns, number, channel, data))
                    number += 1
        while waiting:
            time_ns, _, channel, data = heapq.heappop(waiting)
            yield channel, time_ns, data

    def _scan(self) -> None:
        """Find all chunks, messages, schemas and channels."""
        at = len(MAGIC)
        while True:
            head = self._bytes(at, RECORD.size)
            opcode, length = RECORD.unpack(head) if len(head) == RECORD.size else (0, 0)
            content = at + RECORD.size
            whole = content + length <= self._size
            if opcode and (whole or opcode == CHUNK):
                self._add(opcode, content, length if whole else self._size - content, whole)
            if opcode == FOOTER and whole:
                return
            if opcode and whole:
                at = content + length
            elif resume := self._next_chunk(at):
                self._warn(f'bytes {at} to {resume} are damaged and left out')
                at = resume
            else:
                what = f'it ends after {self._size} bytes, as after a power failure'
                self._warn(f'{what}: read what is there')
                return

    def _next_chunk(self, at: int) -> int:
        """Return where the next chunk or the index begins, from the index; 0 if it is missing."""
        end = self._bytes(self._size - END_BYTES, END_BYTES)
        if len(end) < END_BYTES or not end.endswith(MAGIC) or end[0] != FOOTER:
            return 0
        index = struct.unpack_from('<Q', end, RECORD.size)[0]
        begins, place = [index], index
        while at < place < self._size - END_BYTES:
            opcode, length = RECORD.unpack(self._bytes(place, RECORD.size))
            if opcode == CHUNK_INDEX and length >= 24:
                begins += struct.unpack('<Q', self._bytes(place + RECORD.size + 16, 8))
            place += RECORD.size + length
        return min((begin for begin in begins if at < begin < self._size), default=0)

    def _add(self, opcode: int, at: int, length: int, whole: bool) -> None:
        """Take note of a record outside of chunks."""
        if opcode in (SCHEMA, CHANNEL) and length <= MAX_DEFINITION:
            self._define(opcode, self._bytes(at, length))
        elif opcode == MESSAGE and length >= MESSAGE_HEAD.size:
            channel, _, time_ns, _ = MESSAGE_HEAD.unpack(self._bytes(at, MESSAGE_HEAD.size))
            self._blocks.append(_Block(opcode, at, length, time_ns, Counter((channel,))))
            self.counts[channel] += 1
        elif opcode == CHUNK and length >= CHUNK_HEAD.size:
            begin_ns = CHUNK_HEAD.unpack(self._bytes(at, CHUNK_HEAD.size))[0]
            self._blocks.append(_Block(opcode, at, length, begin_ns, None, whole))
        elif opcode == MESSAGE_INDEX and length >= 6 and self._blocks:
            channel, size = struct.unpack('<HI', self._bytes(at, 6))
            block = self._blocks[-1]
            if block.opcode == CHUNK and size:
                counts = Counter(block.counts or {})
                counts[channel] += size // 16
                self._blocks[-1] = block._replace(counts=counts)
                self.counts[channel] += size // 16

    def _read_unindexed(self) -> None:
        """Read the chunks without an index, and those whose channels are defined inside."""
        for place, block in enumerate(self._blocks):
            if block.counts is None:
                found = Counter(channel for channel, _, _ in self._read(block))
                self._blocks[place] = block._replace(counts=found)
                self.counts += found
            elif block.opcode == CHUNK and not block.counts.keys() <= self.channels.keys():
                list(self._read(block))

    def _define(self, opcode: int, data: bytes) -> None:
        """Record a schema or channel; skip a damaged one."""
        try:
            if opcode == SCHEMA:
                name, _ = _text(data, 2)
                self._schemas[struct.unpack_from('<H', data)[0]] = message_type(name)
            else:
                channel, schema = struct.unpack_from('<HH', data)
                topic, at = _text(data, 4)
                encoding, _ = _text(data, at)
                kind = self._schemas.get(schema, '')
                self.channels.setdefault(channel, Channel(topic, kind, encoding))
        except (struct.error, UnicodeDecodeError):
            self._warn('the definition of a channel in it is damaged')

    def _read(self, block: _Block) -> Messages:
        """Yield channel id, time [ns] and data of the messages of a block."""
        data = self._bytes(block.at, min(block.length, MAX_UNPACKED))
        if block.opcode == MESSAGE:
            channel, _, time_ns, _ = MESSAGE_HEAD.unpack_from(data)
            yield channel, time_ns, data[MESSAGE_HEAD.size :]
            return
        try:
            data = _unpack(data, block.whole)
        except (ValueError, RuntimeError) as error:  # lz4 raises RuntimeError
            lost = f'its {block.counts.total()} messages' if block.counts else 'its messages'
            self._warn(f'the chunk at byte {block.at} is damaged: {error}; {lost} are left out')
            return
        at, size = 0, len(data)
        while at + RECORD.size <= size:
            opcode, length = RECORD.unpack_from(data, at)
            content = at + RECORD.size
            at = content + length
            if at > size:
                break
            if opcode in (SCHEMA, CHANNEL):
                self._define(opcode, data[content:at])
            elif opcode == MESSAGE and length >= MESSAGE_HEAD.size:
                channel, _, time_ns, _ = MESSAGE_HEAD.unpack_from(data, content)
                yield channel, time_ns, data[content + MESSAGE_HEAD.size : at]
        if at != size and block.whole:
            self._warn(f'the chunk at byte {block.at} is damaged after byte {min(at, size)} in it')

    def _bytes(self, at: int, length: int) -> bytes:
        if at < 0:
            return b''
        self._file.seek(at)
        return self._file.read(length)


def _text(data: bytes, at: int) -> tuple[str, int]:
    """Return a string of a record and where it ends."""
    end = at + 4 + struct.unpack_from('<I', data, at)[0]
    if end > len(data):
        raise struct.error
    return data[at + 4 : end].decode(), end


def _unpack(chunk: bytes, whole: bool) -> bytes:
    """Return the records in a chunk, those there are if not ``whole``, or raise ValueError."""
    _, _, size, checksum, name_length = CHUNK_HEAD.unpack_from(chunk)
    at = CHUNK_HEAD.size + name_length
    if at + 8 > len(chunk):
        raise ValueError('its beginning is damaged')
    compression = chunk[CHUNK_HEAD.size : at].decode('ascii', 'replace')
    packed = chunk[at + 8 : at + 8 + struct.unpack_from('<Q', chunk, at)[0]]
    if size > MAX_UNPACKED:
        raise ValueError(f'it unpacks to {size} bytes, expected at most {MAX_UNPACKED}')
    if compression == 'zstd':
        data, _ = unpack_zstd(packed, size + 1)
    elif compression == 'lz4':
        data = LZ4FrameDecompressor().decompress(packed, size + 1)
    elif not compression:
        data = packed
    else:
        raise ValueError(f"it is compressed with '{compression[:32]}', expected zstd or lz4")
    if whole and len(data) != size:
        raise ValueError(f'it has {len(data)} bytes, expected {size}')
    if len(data) == size and checksum and crc32(data) != checksum:
        raise ValueError('its checksum is wrong')
    return data
