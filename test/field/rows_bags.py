"""Bags as recorders, crashes, converters and other robots leave them."""

from pathlib import Path

from scene import bag
from scene import fuse
from scene import image
from scene import ir8
from scene import pairs
from scene import rgb8
from scene import STEP
from scene import T0
from scene import tdfusion


def killed(share, *, keep_metadata=False):
    """Return a bag whose file is cut off after this share of its bytes."""
    path = Path(bag('bag', pairs(8)))
    if not keep_metadata:
        (path / 'metadata.yaml').unlink()
    file = path / 'bag.mcap'
    data = file.read_bytes()
    file.write_bytes(data[: round(share * len(data))])
    return str(path)


def two_rigs():
    """Return a bag of two rigs with two cameras each."""
    left, right = (
        pairs(rgb_topic=f'/{rig}/rgb/image_raw', ir_topic=f'/{rig}/ir/image_raw')
        for rig in ('cam0', 'cam1')
    )
    return bag('bag', sorted(left + right, key=lambda record: record[1]))


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
ROWS = {
    'mcap cut in the middle (ros2/rosbag2 #2133, #1619, #253)': (
        lambda: fuse(killed(0.6, keep_metadata=True)),
        r'(?s)it ends after.*fewer messages than expected: [45] of 8 on .*[45] pairs',
    ),
    'report of an mcap cut in the middle (ros2/rosbag2 #2133, #1619, #253)': (
        lambda: tdfusion('view', killed(0.6)) + Path('report.html').read_text(),
        r'(?s)exit status 0.*Warning: bag bag: bag\.mcap: it ends after',
    ),
    'two rigs, one chosen by one topic (two cameras each)': (
        lambda: fuse(two_rigs(), '--ir-topic', '/cam1/ir/image_raw'),
        r'(?s)read rgb from /cam1/rgb/image_raw \(3 messages\), ir from /cam1/ir.*3 pairs',
    ),
    'PTP stamps in TAI beside UTC (avt_vimba_camera PR 41, ouster-ros PR 53)': (
        lambda: fuse(moved(lambda ns: ns + TAI)),
        r'ir stamps are 37\.000 s ahead of the rgb .*sync\.ir_time_offset_ms=-37000\.0',
    ),
    'PTP stamps in TAI, offset set (avt_vimba_camera PR 41, ouster-ros PR 53)': (
        lambda: fuse(moved(lambda ns: ns + TAI), *SET_TAI),
        r'(?s)8 pairs.*pairs: median 0\.0 ms, largest 0\.0 ms',
    ),
    'camera clock since switching on (cameras without NTP)': (
        lambda: fuse(
            moved(lambda ns: ns - T0 + HOUR), '-p', f'sync.ir_time_offset_ms={1.7e12 - 3.6e6}'
        ),
        '8 pairs',
    ),
    'no driver stamps (ros_comm #60, ensenso #59)': (
        lambda: fuse(unstamped()),
        'all 5 stamps of rgb are 0: make the driver stamp.* ir are 0.*--times recorded',
    ),
    'the ir driver does not stamp (ros_comm #60)': (
        lambda: fuse(unstamped(ir_only=True)),
        'no pair was fused: all 5 stamps of ir are 0',
    ),
    'times of recording for a bag without stamps (ros_comm #60)': (
        lambda: fuse(unstamped(), '--times', 'recorded'),
        '5 pairs',
    ),
    'stamps below 0 in simulation (Gazebo)': (
        lambda: fuse(simulated()),
        r'(?s)5 pairs.*dropped: 1 ir\.negative_stamp, 1 rgb\.negative_stamp.*exit status 0',
    ),
    'each stamp is sent twice (usb_cam)': (
        lambda: fuse(repeated()),
        r'3 of 6 stamps of rgb repeat the one before',
    ),
}
