"""MCAP files that are not finished, damaged in parts, or not only of ROS 2."""

import shutil
import struct

import numpy as np
import pytest
from rosbags.rosbag2 import CompressionMode
from rosbags.rosbag2 import StoragePlugin

from tdfusion_ros.core.errors import BagError
from tdfusion_ros.formats.bags import BagReader

MCAP = StoragePlugin.MCAP
CHUNK = 6  # opcode


def chunks_of(data):
    """Yield where each chunk's content begins, and its length."""
    at = 8
    while at < len(data) - 8:
        opcode, length = struct.unpack_from('<BQ', data, at)
        if opcode == CHUNK:
            yield at + 9, length
        at += 9 + length


def test_mcap_file_is_read_up_to_where_it_breaks_off(make_bag, read, file_of):
    bag = make_bag()
    file = file_of(bag)
    data = file.read_bytes()
    whole = read(bag)[2]
    counts = []
    for end in (len(data) - 20, len(data) - 400, len(data) * 6 // 10, len(data) // 4, 9, 8):
        file.write_bytes(data[:end])
        count, said, messages = read(bag)
        assert 'it ends after' in said
        assert messages == whole[:count]
        assert ('messages than expected' in said or 'has none of' in said) == (count < len(whole))
        counts.append(count)
    assert counts[0] == counts[1] == len(whole)
    assert len(whole) > counts[2] > counts[3] > 0
    assert counts[-1] == 0


@pytest.mark.parametrize('compressed', [False, True])
def test_damaged_chunk_costs_its_own(read, file_of, write_bag, compressed, demo_records, tmp_path):
    mode = CompressionMode.STORAGE if compressed else None
    bag = write_bag(tmp_path / 'bag', demo_records * 3, MCAP, mode)
    file = file_of(bag)
    data = bytearray(file.read_bytes())
    chunks = list(chunks_of(data))
    at = chunks[1][0]
    if compressed:
        assert data[at + 44 : at + 48] == b'\x28\xb5\x2f\xfd'  # zstd
        data[at + 44 + 4 : at + 44 + 12] = b'\xff' * 8
    else:
        crc = bytes(4)
        assert data[at + 24 : at + 28] == crc
        data[at + 24 : at + 28] = b'\1\2\3\4'
    file.write_bytes(data)
    count, said, _ = read(bag)
    assert len(chunks) > 2
    assert 0 < count < 3 * len(demo_records)
    assert f'the chunk at byte {at} is damaged: ' in said
    lost = 3 * len(demo_records) - count
    assert f'its {lost} messages are left out' in said


def test_overwritten_part_of_an_mcap_file_is_skipped_by_its_index(read, demo, tmp_path):
    bag = shutil.copytree(demo, tmp_path / 'bag')
    whole = read(bag)[2]
    file = bag / 'm3svd_smoke.mcap'
    data = bytearray(file.read_bytes())
    half = len(data) // 2
    data[half : half + 1_000_000] = bytes(1_000_000)
    file.write_bytes(data)
    count, said, messages = read(bag)
    assert messages[0] == whole[0]
    assert messages[-1] == whole[-1]
    assert len(whole) - 60 < count < len(whole)
    assert 'are damaged and left out' in said
    assert 'fewer messages than expected: ' in said


def test_other_encodings_are_left_out(make_bag, read, file_of, tmp_path):
    file = file_of(make_bag())
    data = file.read_bytes()
    text = b''.join(struct.pack('<I', len(part)) + part for part in (b'/web', b'json'))
    content = struct.pack('<HH', 77, 0) + text + struct.pack('<I', 0)
    foreign = struct.pack('<BQ', 4, len(content)) + content
    content = struct.pack('<HIQQ', 77, 0, 5, 5) + b'{}'
    foreign += struct.pack('<BQ', 5, len(content)) + content
    header_end = 8 + 9 + struct.unpack_from('<Q', data, 9)[0]
    alone = tmp_path / 'mixed.mcap'
    alone.write_bytes(data[:header_end] + foreign + data[header_end:])
    assert read(alone)[0] == 24
    alone.write_bytes(data[:header_end] + foreign)
    with (
        BagReader(alone) as reader,
        pytest.raises(BagError, match=r'1 topics are not of ROS 2 \(encoding json\): /web'),
    ):
        reader.find()


def test_messages_without_chunks_are_sorted(make_bag, read, file_of, demo_records, tmp_path):
    data = file_of(make_bag()).read_bytes()
    header_end = 8 + 9 + struct.unpack_from('<Q', data, 9)[0]
    records = []
    for begin, length in chunks_of(data):
        at = begin + 40
        while at < begin + length:
            opcode, size = struct.unpack_from('<BQ', data, at)
            records.append((opcode, data[at : at + 9 + size]))
            at += 9 + size
    messages = [record for opcode, record in records if opcode == 5]
    order = np.random.default_rng(0).permutation(len(messages))
    alone = tmp_path / 'fast.mcap'
    alone.write_bytes(
        data[:header_end]
        + b''.join(record for opcode, record in records if opcode != 5)
        + b''.join(messages[i] for i in order)
    )
    _, said, got = read(alone)
    assert 'it ends after' in said
    assert [at for _, at, _ in got] == sorted(at for _, at, _ in demo_records)


def test_chunk_that_unpacks_to_more_than_the_limit_is_left_out(make_bag, read, file_of):
    file = file_of(make_bag())
    data = bytearray(file.read_bytes())
    at, _ = next(iter(chunks_of(data)))
    struct.pack_into('<Q', data, at + 16, 1 << 40)
    file.write_bytes(data)
    count, said, _ = read(file.parent)
    assert 0 < count < 24
    assert f'it unpacks to {1 << 40} bytes' in said
