#!/usr/bin/env python3
"""
Build the demo bag ``demo/msrs_drive`` from pairs of the MSRS validation split.

For developers; the bag itself is in the repository. Run from the repository root:
``python demo/make_bag.py [--data DIR] [--out DIR]``. The same data give the same stamps and the
same pictures: nothing is random but a generator with a fixed seed.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rosbags.interfaces import Qos
from rosbags.interfaces import QosDurability
from rosbags.interfaces import QosHistory
from rosbags.interfaces import QosLiveliness
from rosbags.interfaces import QosReliability
from rosbags.interfaces import QosTime
from rosbags.rosbag2 import CompressionFormat
from rosbags.rosbag2 import CompressionMode
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer
from rosbags.typesys import get_typestore
from rosbags.typesys import Stores
from rosbags.typesys.store import Typestore

# Pairs of the split with little to see: four by day, four by night, so that 20 of each remain.
LEFT_OUT = frozenset(
    ('00262D', '00270D', '00842N', '00846N', '00854N', '01270N', '01527D', '01551D')
)
MISSING_IR = frozenset((9, 18, 31))  # frames whose infrared picture never arrived
TOPICS = {'rgb': '/rgb/image_raw/compressed', 'ir': '/ir/image_raw'}
HEIGHT, WIDTH = 480, 640
FOCAL_PX = 554.0  # nominal, 60 degrees wide: MSRS ships no calibration
JPEG_QUALITY = 92

START_NS = 1_704_067_200 * 10**9  # 2024-01-01 00:00 UTC, a round number and no recording date
PERIOD_MS = 100.0
IR_OFFSET_MS = 8.0
JITTER_MS = {'rgb': 2.0, 'ir': 3.0}
TRANSPORT_MS = {'rgb': 5.0, 'ir': 3.0}
INFO_DELAY_MS = 0.2  # a driver sends the camera information right behind the picture

QOS = Qos(
    history=QosHistory.KEEP_LAST,
    depth=10,
    reliability=QosReliability.RELIABLE,
    durability=QosDurability.VOLATILE,
    deadline=QosTime(0, 0),
    lifespan=QosTime(0, 0),
    liveliness=QosLiveliness.AUTOMATIC,
    liveliness_lease_duration=QosTime(0, 0),
    avoid_ros_namespace_conventions=False,
)


@dataclass(frozen=True)
class Record:
    """One message of the bag, not yet serialized."""

    received_ns: int
    topic: str
    message: object


def choose_names(data: Path) -> list[str]:
    """Return the names of the pairs in MSRS numbering, which follows the drive."""
    names = (data / 'splits' / 'val.txt').read_text().split()
    if unknown := LEFT_OUT - set(names):
        raise SystemExit(f'{data}: the validation split lacks {", ".join(sorted(unknown))}')
    return sorted(set(names) - LEFT_OUT)


def draw_stamps(count: int) -> dict[str, np.ndarray]:
    """
    Draw the times of all frames.

    :returns: for each camera (count, 2) int64: stamp of the header and time of arrival [ns].
    """
    rng = np.random.default_rng(20240101)
    stamps = {}
    for camera, offset_ms in (('rgb', 0.0), ('ir', IR_OFFSET_MS)):
        stamp_ms = np.arange(count) * PERIOD_MS + offset_ms
        stamp_ms += rng.normal(0.0, JITTER_MS[camera], count)
        arrival_ms = stamp_ms + np.maximum(1.0, rng.normal(TRANSPORT_MS[camera], 1.0, count))
        times_ms = np.stack((stamp_ms, arrival_ms), axis=1)
        stamps[camera] = START_NS + np.round(times_ms * 1e6).astype(np.int64)
    return stamps


def read_picture(path: Path, flags: int) -> np.ndarray:
    """Read a picture and check its size."""
    picture = cv2.imread(str(path), flags)
    if picture is None or picture.shape[:2] != (HEIGHT, WIDTH):
        raise SystemExit(f'{path}: expected a {WIDTH}x{HEIGHT} picture')
    return picture


class MessageMaker:
    """Makes the messages of one frame with the types of one ROS distribution."""

    def __init__(self, typestore: Typestore) -> None:
        self.types = typestore.types

    def header(self, stamp_ns: int, camera: str) -> object:
        """Return the header that a picture and its camera information share."""
        sec, nanosec = divmod(int(stamp_ns), 10**9)
        stamp = self.types['builtin_interfaces/msg/Time'](sec=sec, nanosec=nanosec)
        return self.types['std_msgs/msg/Header'](stamp=stamp, frame_id=f'{camera}_optical_frame')

    def rgb(self, header: object, path: Path) -> object:
        """Return the color picture as image_transport would compress it."""
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        _, data = cv2.imencode('.jpg', read_picture(path, cv2.IMREAD_COLOR), options)
        return self.types['sensor_msgs/msg/CompressedImage'](
            header=header, format='rgb8; jpeg compressed bgr8', data=data.reshape(-1)
        )

    def ir(self, header: object, path: Path) -> object:
        """Return the infrared picture, pixel for pixel."""
        data = read_picture(path, cv2.IMREAD_GRAYSCALE).reshape(-1)
        return self.types['sensor_msgs/msg/Image'](
            header=header,
            height=HEIGHT,
            width=WIDTH,
            encoding='mono8',
            is_bigendian=0,
            step=WIDTH,
            data=data,
        )

    def camera_info(self, header: object) -> object:
        """Return the nominal camera: no distortion, one focal length, center of the picture."""
        k = np.array(
            [[FOCAL_PX, 0, WIDTH / 2 - 0.5], [0, FOCAL_PX, HEIGHT / 2 - 0.5], [0, 0, 1]],
            dtype=np.float64,
        )
        region = self.types['sensor_msgs/msg/RegionOfInterest'](
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        )
        return self.types['sensor_msgs/msg/CameraInfo'](
            header=header,
            height=HEIGHT,
            width=WIDTH,
            distortion_model='plumb_bob',
            d=np.zeros(5),
            k=k.reshape(-1),
            r=np.eye(3).reshape(-1),
            p=np.hstack((k, np.zeros((3, 1)))).reshape(-1),
            binning_x=0,
            binning_y=0,
            roi=region,
        )


def make_records(data: Path, names: list[str], typestore: Typestore) -> list[Record]:
    """Make all messages, in the order of their arrival."""
    maker = MessageMaker(typestore)
    make = {'rgb': maker.rgb, 'ir': maker.ir}
    files = {'rgb': 'vi/{}.webp', 'ir': 'ir/{}.png'}
    stamps = draw_stamps(len(names))
    records = []
    for i, name in enumerate(names):
        for camera in TOPICS:
            if camera == 'ir' and i in MISSING_IR:
                continue
            stamp_ns, received_ns = (int(t) for t in stamps[camera][i])
            header = maker.header(stamp_ns, camera)
            picture = make[camera](header, data / files[camera].format(name))
            info_ns = received_ns + round(INFO_DELAY_MS * 1e6)
            records.append(Record(received_ns, TOPICS[camera], picture))
            records.append(Record(info_ns, f'/{camera}/camera_info', maker.camera_info(header)))
    return sorted(records, key=lambda record: record.received_ns)


def write_bag(out: Path, records: list[Record], typestore: Typestore) -> None:
    """Write an mcap bag whose chunks are compressed, which every reader undoes by itself."""
    # Metadata of version 8 can be read from Humble on, that of version 9 only from Jazzy on.
    writer = Writer(out, version=8, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for record in records:
            kind = record.message.__msgtype__
            if record.topic not in connections:
                connections[record.topic] = writer.add_connection(
                    record.topic, kind, typestore=typestore, offered_qos_profiles=[QOS]
                )
            raw = typestore.serialize_cdr(record.message, kind)
            writer.write(connections[record.topic], record.received_ns, raw)


def main() -> None:
    """Build the bag and say how large it became."""
    parser = argparse.ArgumentParser(description='Build the demo bag from the MSRS pairs.')
    parser.add_argument('--data', type=Path, default=Path('../shared/data/msrs_det'))
    parser.add_argument('--out', type=Path, default=Path('demo/msrs_drive'))
    args = parser.parse_args()
    typestore = get_typestore(Stores.ROS2_HUMBLE)
    names = choose_names(args.data)
    write_bag(args.out, make_records(args.data, names, typestore), typestore)
    size = sum(path.stat().st_size for path in args.out.iterdir())
    print(f'{args.out}: {len(names)} frames, {size / 2**20:.1f} MiB')
    print(' '.join(names))


if __name__ == '__main__':
    main()
