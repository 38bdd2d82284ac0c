"""Bags as recorders, crashes and tools leave them: what is there is read, the rest is named."""

from pathlib import Path
import shutil

import pytest
from rosbags.rosbag2 import CompressionMode
from rosbags.rosbag2 import StoragePlugin
import yaml

from tdfusion_ros.core.errors import BagError
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.bags import MAX_WARNINGS

MCAP, SQLITE3 = StoragePlugin.MCAP, StoragePlugin.SQLITE3
by_plugin = pytest.mark.parametrize('plugin', [MCAP, SQLITE3], ids=lambda p: p.name)


def edit_metadata(bag, change):
    path = bag / 'metadata.yaml'
    tree = yaml.safe_load(path.read_text())
    change(tree['rosbag2_bagfile_information'])
    path.write_text(yaml.safe_dump(tree))


def names(info):
    return info['relative_file_paths']


@by_plugin
def test_bag_without_metadata_is_read_and_named(make_bag, read, file_of, plugin):
    bag = make_bag(plugin)
    whole = read(bag)
    assert whole[1] == ''
    (bag / 'metadata.yaml').unlink()
    _, said, messages = read(bag)
    assert messages == whole[2]
    assert f'no metadata.yaml, as after a power failure: read {file_of(bag).name}' in said


@pytest.mark.parametrize('text', ['', 'a: [1,\n2', 'a: 1', 'a: &b [*b]', '[' * 5000, '\0', '7'])
def test_damaged_metadata_is_named_and_the_files_are_read(make_bag, read, text):
    bag = make_bag()
    (bag / 'metadata.yaml').write_text(text)
    count, said, _ = read(bag)
    assert count == 24
    assert 'its metadata.yaml is damaged (' in said


@by_plugin
@pytest.mark.parametrize(
    'change',
    [
        lambda info: info.update(version=10, storage_identifier='my_plugin'),
        lambda info: info.update(relative_file_paths=['C:\\bags\\bag\\' + n for n in names(info)]),
        lambda info: info.update(relative_file_paths=['bag/' + n for n in names(info)]),
        lambda info: [info.pop(name) for name in ('files', 'custom_data', 'ros_distro')],
        lambda info: info.update(compression_mode=None, compression_format=None),
        lambda info: [
            topic['topic_metadata'].update(offered_qos_profiles='- history: 1\n  depth: 10')
            for topic in info['topics_with_message_count']
        ],
    ],
    ids=['future', 'windows', 'old paths', 'little', 'null', 'other QoS'],
)
def test_odd_but_valid_metadata_changes_nothing(make_bag, read, change, plugin):
    bag = make_bag(plugin)
    edit_metadata(bag, change)
    assert read(bag)[:2] == (24, '')


def test_fewer_messages_than_promised_are_said(make_bag, read):
    bag = make_bag()
    edit_metadata(bag, lambda info: info['topics_with_message_count'][0].update(message_count=99))
    count, said, _ = read(bag)
    assert count == 24
    assert 'fewer messages than expected: 6 of 99 on /rgb/' in said


def test_parts_are_read_in_order_or_named(read, file_of, write_bag, demo_records, tmp_path):
    bag = tmp_path / 'bag'
    bag.mkdir()
    for part in range(3):
        one = write_bag(tmp_path / f'part{part}', demo_records[8 * part : 8 * part + 8])
        shutil.copy(file_of(one), bag / f'bag_{9 + part}.mcap')
    count, said, messages = read(bag)
    assert [at for _, at, _ in messages] == [at for _, at, _ in demo_records]
    assert 'read bag_9.mcap, bag_10.mcap, bag_11.mcap' in said
    files = [f'bag_{n}.mcap' for n in (9, 10, 11)]
    info = {'relative_file_paths': files, 'topics_with_message_count': []}
    text = yaml.safe_dump({'rosbag2_bagfile_information': info})
    (bag / 'metadata.yaml').write_text(text)
    assert read(bag)[:2] == (24, '')
    assert read(bag / 'metadata.yaml')[:2] == (24, '')
    assert read(bag / 'bag_10.mcap')[:2] == (8, '')
    neither = 'it is neither an MCAP nor a sqlite3 file'
    for damage, words in ((b'', 'it is empty'), (b'none', neither)):
        (bag / 'bag_10.mcap').write_bytes(damage)
        count, said, _ = read(bag)
        assert count == 16
        assert f'bag_10.mcap cannot be opened and is left out: {words}' in said
    (bag / 'bag_10.mcap').unlink()
    count, said, _ = read(bag)
    assert count == 16
    assert 'bag_10.mcap of metadata.yaml is missing: read bag_9.mcap, bag_11.mcap' in said


@pytest.mark.parametrize('name', ['50% #1?.db3', 'é\u202e.mcap'])
def test_odd_names_of_files_and_folders_are_read(make_bag, read, file_of, name, tmp_path):
    plugin = SQLITE3 if name.endswith('db3') else MCAP
    file = file_of(make_bag(plugin))
    (tmp_path / 'a b%20?').mkdir()
    target = shutil.copy(file, tmp_path / 'a b%20?' / name)
    assert read(Path(target))[:2] == (24, '')


@by_plugin
@pytest.mark.parametrize('mode', [CompressionMode.MESSAGE, CompressionMode.FILE])
def test_compressed_bags_are_read_with_and_without_metadata(make_bag, read, file_of, mode, plugin):
    bag = make_bag(plugin, mode)
    count, said, _ = read(bag)
    assert (count, said) == (24, '')
    (bag / 'metadata.yaml').unlink()
    assert read(bag)[0] == 24
    assert read(file_of(bag))[:2] == (24, '')
    with BagReader(bag) as reader:
        for _, _, message in reader.messages(*reader.topics()):
            assert message.header.frame_id
    if mode == CompressionMode.FILE:
        file = file_of(bag)
        file.write_bytes(file.read_bytes()[:-5000])
        said = read(bag)[1]
        assert 'compressed data are damaged' in said


def test_unknown_compression_is_refused(make_bag, read):
    bag = make_bag()
    edit_metadata(bag, lambda info: info.update(compression_mode='FILE', compression_format='lz4'))
    with pytest.raises(BagError, match="is compressed with 'lz4', expected zstd"):
        read(bag)


def test_bags_of_ros_1_are_refused_naming_the_converter(read, tmp_path):
    old = tmp_path / 'old.bag'
    old.write_bytes(b'#ROSBAG V2.0\n' + bytes(4096))
    for path in (old, tmp_path):
        with pytest.raises(BagError, match=f'rosbags-convert --src {old} --dst'):
            read(path)


def test_folder_of_bags_and_link_to_nothing_are_named(read, write_bag, demo_records, tmp_path):
    for name in ('one', 'two'):
        write_bag(tmp_path / 'bags' / name, demo_records[:2])
    with pytest.raises(BagError, match='name one of the bags in it: one, two'):
        read(tmp_path / 'bags')
    (tmp_path / 'bag').symlink_to(tmp_path / 'usb')
    with pytest.raises(BagError, match=f'does not exist, it is a link to {tmp_path}/usb'):
        read(tmp_path / 'bag')


def test_many_warnings_say_there_are_more(read, file_of, write_bag, demo_records, tmp_path):
    bag = tmp_path / 'bag'
    bag.mkdir()
    shutil.copy(file_of(write_bag(tmp_path / 'good', demo_records)), bag / 'good.mcap')
    for number in range(2 * MAX_WARNINGS):
        (bag / f'bad_{number}.mcap').touch()
    count, said, _ = read(bag)
    assert count == 24
    assert said.count(' | ') == MAX_WARNINGS
    assert said.endswith('further warnings are left out')
