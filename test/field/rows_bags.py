"""Bags as recorders, crashes, converters and other robots leave them."""

from pathlib import Path
import shutil
import sqlite3

from rosbags.rosbag2 import StoragePlugin
from row import Row
from scene import bag
from scene import fuse
from scene import image
from scene import ir8
from scene import packed
from scene import pairs
from scene import rgb8
from scene import STEP
from scene import T0
from scene import tdfusion
import yaml

QOS = """- history: 1
  depth: 10
  reliability: 1
  durability: 2
  deadline: {sec: 9223372036, nsec: 854775807}
  lifespan: {sec: 9223372036, nsec: 854775807}
  liveliness: 1
  liveliness_lease_duration: {sec: 9223372036, nsec: 854775807}
  avoid_ros_namespace_conventions: false"""


def edited(change):
    """Return a bag whose metadata.yaml was changed."""
    path = Path(bag('bag', pairs()), 'metadata.yaml')
    tree = yaml.safe_load(path.read_text())
    change(tree['rosbag2_bagfile_information'])
    path.write_text(yaml.safe_dump(tree))
    return 'bag'


def with_other_qos():
    def change(info):
        for topic in info['topics_with_message_count']:
            topic['topic_metadata']['offered_qos_profiles'] = QOS

    return edited(change)


def with_promise(count):
    def change(info):
        info['topics_with_message_count'][0]['message_count'] = count

    return edited(change)


def killed(share, *, keep_metadata=False):
    """Return a bag of which this share is there."""
    path = Path(bag('bag', pairs(8)))
    if not keep_metadata:
        (path / 'metadata.yaml').unlink()
    file = path / 'bag.mcap'
    data = file.read_bytes()
    file.write_bytes(data[: round(share * len(data))])
    return str(path)


def with_wal():
    """Return a sqlite3 bag whose recorder was killed with half of the messages in the -wal."""
    file = Path(bag('whole', pairs(6), StoragePlugin.SQLITE3), 'whole.db3')
    live = sqlite3.connect(file, isolation_level=None)
    rows = live.execute('SELECT * FROM messages').fetchall()
    live.execute('DELETE FROM messages WHERE id > 6')
    live.execute('PRAGMA journal_mode=WAL')
    live.executemany('INSERT INTO messages VALUES (?, ?, ?, ?)', rows[6:])
    shutil.copytree('whole', 'killed')
    live.close()
    return 'killed'


def rigs(*topics):
    """Return a bag with images on topics of several rigs."""
    records = []
    for i in range(3):
        ns = T0 + i * STEP
        for topic in topics:
            pixels, encoding = (rgb8(i), 'rgb8') if '/rgb/' in topic else (ir8(i), 'mono8')
            message = image(ns, pixels, encoding)
            if topic.endswith('compressed'):
                message = packed(ns, b'\xff\xd8', 'jpeg')
            records.append((topic, ns, message))
    return bag('bag', records)


TWO = ('/cam0/rgb/image_raw', '/cam1/ir/image_raw', '/cam0/ir/image_raw', '/cam1/rgb/image_raw')
MIXED = ('/l/rgb/image_raw/compressed', '/l/ir/image_raw', '/r/rgb/image_raw', '/r/ir/image_raw')


def ros1():
    Path('old.bag').write_bytes(b'#ROSBAG V2.0\n' + bytes(4096))
    return 'old.bag'


def split(missing):
    """Return a bag of three files, one of them missing."""
    Path('bag').mkdir()
    records = pairs(9)
    for part in range(3):
        bag(f'p{part}', records[6 * part : 6 * part + 6])
        if part != missing:
            shutil.copy(f'p{part}/p{part}.mcap', f'bag/bag_{part}.mcap')
    names = [f'bag_{part}.mcap' for part in range(3)]
    info = {'relative_file_paths': names, 'topics_with_message_count': []}
    Path('bag/metadata.yaml').write_text(yaml.safe_dump({'rosbag2_bagfile_information': info}))
    return 'bag'


def moved(ns_to_stamp):
    """Return a bag whose ir stamps are changed by a function."""
    return bag('bag', pairs(8, ir=lambda ns, i: image(ns_to_stamp(ns), ir8(i), 'mono8')))


def unstamped(ir_only=False):
    rgb = {} if ir_only else {'rgb': lambda _, i: image(0, rgb8(i), 'rgb8')}
    return bag('bag', pairs(5, ir=lambda _, i: image(0, ir8(i), 'mono8'), **rgb))


def simulated():
    """Return a bag whose clock starts at 0, with 50 ms of exposure taken off."""
    early = T0 + STEP // 2
    return bag(
        'bag',
        pairs(
            6,
            rgb=lambda ns, i: image(ns - early, rgb8(i), 'rgb8'),
            ir=lambda ns, i: image(ns - early, ir8(i), 'mono8'),
        ),
    )


def repeated():
    return bag('bag', pairs(6, rgb=lambda ns, i: image(T0 + i // 2 * 2 * STEP, rgb8(i), 'rgb8')))


HOUR, TAI = 3600 * 10**9, 37 * 10**9
SET_TAI = ('-p', 'sync.ir_time_offset_ms=-37000')
RECORDER, CLOCK = 'ros2/rosbag2 #2133, #1619, #253', 'avt_vimba_camera PR 41, ouster-ros PR 53'
ROWS = [
    Row(
        'QoS in metadata.yaml differs from the file',
        'ros2 bag convert',
        lambda: fuse(with_other_qos()),
        r'(?s)^(?!warning).*\n3 pairs',
    ),
    Row(
        'fewer messages than promised',
        'ros2/rosbag2 samples',
        lambda: fuse(with_promise(150)),
        r'(?s)fewer messages than it says: 3 of 150 on /rgb/image_raw.*3 pairs',
    ),
    Row(
        'no metadata.yaml',
        RECORDER,
        lambda: fuse(killed(1)),
        r'(?s)no metadata\.yaml.*read bag\.mcap.*8 pairs',
    ),
    Row(
        'mcap without its end',
        RECORDER,
        lambda: fuse(killed(0.999)),
        r'(?s)breaks off after.*8 pairs',
    ),
    Row(
        'mcap cut in the middle',
        RECORDER,
        lambda: fuse(killed(0.6, keep_metadata=True)),
        r'(?s)breaks off after.*fewer messages than it says: [45] of 8 on .*[45] pairs',
    ),
    Row(
        'report of an mcap cut in the middle',
        RECORDER,
        lambda: tdfusion('view', killed(0.6)) + Path('report.html').read_text(),
        r'(?s)exit status 0.*Warning: bag bag: bag\.mcap: it breaks off',
    ),
    Row(
        'sqlite3 with a -wal file',
        'ros2/rosbag2 #521, #901, #1029',
        lambda: fuse(with_wal()),
        r'(?s)read together with whole\.db3-wal.*6 pairs',
    ),
    Row('bag of ROS 1', 'rosbag', lambda: fuse(ros1()), 'rosbags-convert --src old.bag'),
    Row(
        'split bag with a missing part',
        'ros2/rosbag2',
        lambda: fuse(split(1)),
        r'(?s)bag_1\.mcap of metadata\.yaml is missing: read bag_0\.mcap, bag_2\.mcap.*6 pairs',
    ),
    Row('two rigs in one bag', 'two cameras each', lambda: fuse(rigs(*TWO)), 'of several rigs'),
    Row(
        'two rigs, one compressed',
        'two cameras each',
        lambda: fuse(rigs(*MIXED)),
        r'of several rigs \(/l/ir/image_raw, /l/rgb/image_raw/compressed, /r/ir/image_raw',
    ),
    Row(
        'two rigs, one chosen by one topic',
        'two cameras each',
        lambda: fuse(rigs(*TWO), '--ir-topic', '/cam1/ir/image_raw'),
        r'(?s)read rgb from /cam1/rgb/image_raw \(3 messages\), ir from /cam1/ir.*3 pairs',
    ),
    Row(
        'PTP stamps in TAI beside UTC',
        CLOCK,
        lambda: fuse(moved(lambda ns: ns + TAI)),
        r'ir stamps are 37\.000 s ahead of the rgb .*sync\.ir_time_offset_ms=-37000\.0',
    ),
    Row(
        'PTP stamps in TAI, offset set',
        CLOCK,
        lambda: fuse(moved(lambda ns: ns + TAI), *SET_TAI),
        r'(?s)8 pairs.*pairs: median 0\.0 ms, largest 0\.0 ms',
    ),
    Row(
        'camera clock hours behind',
        'cameras without NTP',
        lambda: fuse(moved(lambda ns: ns - 5 * HOUR)),
        r'18000\.000 s behind .*sync\.ir_time_offset_ms=18000000\.0',
    ),
    Row(
        'camera clock since switching on',
        'cameras without NTP',
        lambda: fuse(
            moved(lambda ns: ns - T0 + HOUR), '-p', f'sync.ir_time_offset_ms={1.7e12 - 3.6e6}'
        ),
        '8 pairs',
    ),
    Row(
        'no driver stamps',
        'ros_comm #60, ensenso #59',
        lambda: fuse(unstamped()),
        'all 5 stamps of rgb are 0: make the driver stamp.* ir are 0.*--times recorded',
    ),
    Row(
        'the ir driver does not stamp',
        'ros_comm #60',
        lambda: fuse(unstamped(ir_only=True)),
        'no pair was fused: all 5 stamps of ir are 0',
    ),
    Row(
        'times of recording for a bag without stamps',
        'ros_comm #60',
        lambda: fuse(unstamped(), '--times', 'recorded'),
        '5 pairs',
    ),
    Row(
        'stamps below 0 in simulation',
        'Gazebo',
        lambda: fuse(simulated()),
        r'(?s)5 pairs.*dropped: 1 ir\.negative_stamp, 1 rgb\.negative_stamp.*exit status 0',
    ),
    Row(
        'each stamp is sent twice',
        'usb_cam',
        lambda: fuse(repeated()),
        r'3 of 6 stamps of rgb repeat the one before',
    ),
]
