"""Bags without ROS: what is written can be read, and damage is an error of one line."""

from itertools import pairwise

import numpy as np
import pytest
from rosbags.interfaces import QosDurability
from rosbags.rosbag2 import Reader
from rosbags.rosbag2 import StoragePlugin

from tdfusion_ros.core.errors import BagError
from tdfusion_ros.formats.bag_topics import ImageTopics
from tdfusion_ros.formats.bag_writer import BagWriter
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.bags import typestore
from tdfusion_ros.formats.messages import stamp_ns

PLUGINS = [StoragePlugin.MCAP, StoragePlugin.SQLITE3]


def read(path):
    with BagReader(path) as reader:
        return list(reader.messages(*reader.topics()))


@pytest.mark.parametrize('plugin', PLUGINS, ids=lambda p: p.name)
def test_messages_of_a_bag_come_back_in_the_order_of_recording(make_bag, demo_records, plugin):
    got = read(make_bag(plugin))
    assert [(topic, at) for topic, at, _ in got] == [(topic, at) for topic, at, _ in demo_records]
    assert all(a[1] <= b[1] for a, b in pairwise(got))
    for (_, _, message), (_, _, wanted) in zip(got, demo_records, strict=True):
        assert stamp_ns(message.header) == stamp_ns(wanted.header)
        if hasattr(wanted, 'data'):
            np.testing.assert_array_equal(message.data, wanted.data)


def test_bag_is_named_by_its_folder_or_file_and_topics_are_found_by_their_ends(demo):
    for path in (demo, demo / 'm3svd_smoke.mcap', demo / 'metadata.yaml'):
        with BagReader(path) as reader:
            assert reader.count('/rgb/image_raw/compressed') == 82
            assert reader.count('/ir/image_raw') == 82
            assert reader.count('/nothing') == 0
    with BagReader(demo) as reader:
        assert reader.find() == ImageTopics(
            '/rgb/image_raw/compressed', '/ir/image_raw', '/rgb/camera_info'
        )


def test_topics_are_found_in_a_namespace_or_by_their_names(write_bag, demo_records, tmp_path):
    records = [(f'/rig{topic.replace("/ir/", "/t/")}', *rest) for topic, *rest in demo_records]
    with BagReader(write_bag(tmp_path / 'bag', records)) as reader:
        assert reader.find(ir='/rig/t/image_raw') == ImageTopics(
            '/rig/rgb/image_raw/compressed', '/rig/t/image_raw', '/rig/rgb/camera_info'
        )
        with pytest.raises(BagError, match=r'no ir topic .*image topics are .*--ir-topic'):
            reader.find()
        with pytest.raises(BagError, match='no rgb topic /rig/t/camera_info'):
            reader.find(rgb='/rig/t/camera_info')


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('nowhere', 'does not exist'),
        ('empty', r'is not a bag: expected metadata.yaml, \.mcap or \.db3 files in it'),
        ('notes.txt', 'cannot be opened: it is neither an MCAP nor a sqlite3 file'),
        ('notes.mcap', 'cannot be opened: it is neither an MCAP nor a sqlite3 file'),
    ],
)
def test_what_is_not_a_bag_is_refused_in_one_line(name, words, tmp_path):
    (tmp_path / 'empty').mkdir()
    for suffix in ('txt', 'mcap'):
        (tmp_path / f'notes.{suffix}').write_text('not a bag')
    with pytest.raises(BagError, match=f'{name} {words}') as caught:
        BagReader(tmp_path / name)
    assert '\n' not in str(caught.value)


def test_latched_messages_have_durable_qos(demo_records, tmp_path):
    with BagWriter(tmp_path / 'bag') as writer:
        for latched, (topic, at, message) in zip((True, False), demo_records, strict=False):
            writer.write(topic, message.__msgtype__, at, message, latched=latched)
    with Reader(tmp_path / 'bag') as reader:
        (first, second) = (c.ext.offered_qos_profiles[0] for c in reader.connections)
    assert first.durability == QosDurability.TRANSIENT_LOCAL
    assert second.durability == QosDurability.VOLATILE


def test_messages_of_another_type_are_left_out_and_said(write_bag, demo_records, tmp_path):
    said, text = [], typestore().types['std_msgs/msg/String'](data='x')
    write_bag(tmp_path / 'bag', (*demo_records, *[('/ir/image_raw', 1, text)] * 9))
    with BagReader(tmp_path / 'bag', said.append) as reader:
        assert reader.count('/ir/image_raw') == 6
        assert len(list(reader.messages(*reader.topics()))) == len(demo_records)
    (line,) = said
    assert 'on /ir/image_raw, 6 messages are sensor_msgs/msg/Image; left out: 9 std_msgs' in line
