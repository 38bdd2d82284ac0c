"""
Build the demo bag ``demo/m3svd_smoke`` from a clip of the data set M3SVD.

    python -m demo.make_bag --data DIR [--out DIR]

DIR has the videos of both cameras, ``vi/0117_1605.mp4`` and ``ir/0117_1605.mp4``. For developers;
the bag itself is in the repository. The same videos give the same stamps and images: the random
generator has a fixed seed.
"""

import argparse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import CompressionFormat
from rosbags.rosbag2 import CompressionMode
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer

from tdfusion_ros.core.data import Frame
from tdfusion_ros.formats import messages
from tdfusion_ros.formats.bag_topics import IMAGE_TYPES
from tdfusion_ros.formats.bag_topics import INFO_TYPE
from tdfusion_ros.formats.bags import bag_types
from tdfusion_ros.formats.bags import typestore
from tdfusion_ros.formats.image_files import encode_jpeg

CLIP = '0117_1605'
FIRST_FRAME, STEP, COUNT = 117, 3, 82  # every third frame of 30 a second
TOPICS = {'rgb': '/rgb/image_raw/compressed', 'ir': '/ir/image_raw'}
HEIGHT, WIDTH = 480, 640
FOCAL_PX = 554.0  # nominal, 60 degrees wide: the data set has no calibration
JPEG_QUALITY = 92

START_NS = 1_704_067_200 * 10**9  # 2024-01-01 00:00 UTC, arbitrary
PERIOD_MS = 100.0
IR_OFFSET_MS = 8.0
JITTER_MS = {'rgb': 2.0, 'ir': 3.0}
TRANSPORT_MS = {'rgb': 5.0, 'ir': 3.0}
INFO_DELAY_MS = 0.2  # a driver sends the camera info right after the image

TYPES = bag_types()
Record = tuple[int, str, Any]


def read_frames(path: Path) -> list[np.ndarray]:
    """Return the chosen frames of a video, (H, W, 3) uint8, order B, G, R."""
    video, frames = cv2.VideoCapture(str(path)), []
    for number in range(FIRST_FRAME + (COUNT - 1) * STEP + 1):
        good, image = video.read()
        if not good or image.shape[:2] != (HEIGHT, WIDTH):
            raise SystemExit(f'{path}: expected more than {number} frames of {WIDTH}x{HEIGHT}')
        if number >= FIRST_FRAME and (number - FIRST_FRAME) % STEP == 0:
            frames.append(image)
    return frames


def draw_stamps(count: int) -> dict[str, np.ndarray]:
    """Draw stamp and time of arrival of all frames by camera, (count, 2) int64 [ns]."""
    rng = np.random.default_rng(20240101)
    stamps = {}
    for camera, offset_ms in (('rgb', 0.0), ('ir', IR_OFFSET_MS)):
        stamp_ms = np.arange(count) * PERIOD_MS + offset_ms
        stamp_ms += rng.normal(0.0, JITTER_MS[camera], count)
        arrival_ms = stamp_ms + np.maximum(1.0, rng.normal(TRANSPORT_MS[camera], 1.0, count))
        times_ms = np.stack((stamp_ms, arrival_ms), axis=1)
        stamps[camera] = START_NS + np.round(times_ms * 1e6).astype(np.int64)
    return stamps


def camera_info(header: Any) -> Any:
    """Return the nominal camera: no distortion, principal point in the center."""
    k = np.array([[FOCAL_PX, 0, WIDTH / 2 - 0.5], [0, FOCAL_PX, HEIGHT / 2 - 0.5], [0, 0, 1]])
    numbers = {'d': np.zeros(5), 'k': k.ravel(), 'r': np.eye(3).ravel()}
    numbers['p'] = np.hstack((k, np.zeros((3, 1)))).ravel()
    region = TYPES.get('sensor_msgs/msg/RegionOfInterest')(0, 0, 0, 0, False)
    others = {'distortion_model': 'plumb_bob', 'binning_x': 0, 'binning_y': 0, 'roi': region}
    return TYPES.make(INFO_TYPE, header=header, height=HEIGHT, width=WIDTH, **numbers, **others)


def image(camera: str, header: Any, bgr: np.ndarray) -> Any:
    """Return rgb compressed as by image_transport, or ir, whose channels differ by rounding."""
    if camera == 'ir':
        return messages.image(TYPES, header, cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY))
    data, form = encode_jpeg(bgr[..., ::-1], JPEG_QUALITY), 'rgb8; jpeg compressed bgr8'
    return TYPES.make(IMAGE_TYPES[1], header=header, format=form, data=data)


def make_records(data: Path) -> list[Record]:
    """Return (arrival [ns], topic, message) of all messages, in the order of their arrival."""
    stamps, records = draw_stamps(COUNT), []
    for camera, folder in (('rgb', 'vi'), ('ir', 'ir')):
        frames = read_frames(data / folder / f'{CLIP}.mp4')
        for (stamp_ns, received_ns), frame in zip(stamps[camera].tolist(), frames, strict=True):
            header = messages.header(TYPES, Frame(frame, stamp_ns, f'{camera}_optical_frame'))
            info_ns = received_ns + round(INFO_DELAY_MS * 1e6)
            records.append((received_ns, TOPICS[camera], image(camera, header, frame)))
            records.append((info_ns, f'/{camera}/camera_info', camera_info(header)))
    return sorted(records, key=lambda record: record[0])


def write_bag(folder: Path, records: list[Record]) -> None:
    """Write an mcap bag with compressed chunks, which every reader decompresses by itself."""
    # Humble reads metadata of version 8, but only Jazzy and later read version 9.
    writer = Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    store = typestore()
    with writer:
        kinds = {topic: message.__msgtype__ for _, topic, message in records}
        connections = {
            topic: writer.add_connection(topic, kind, typestore=store)
            for topic, kind in kinds.items()
        }
        for received_ns, topic, message in records:
            data = store.serialize_cdr(message, kinds[topic])
            writer.write(connections[topic], received_ns, data)


def main() -> None:
    """Build the bag and print its size."""
    parser = argparse.ArgumentParser(description='Build the demo bag from a clip of M3SVD.')
    parser.add_argument('--data', type=Path, required=True, help='folder with vi/ and ir/')
    parser.add_argument('--out', type=Path, default=Path('demo/m3svd_smoke'))
    args = parser.parse_args()
    write_bag(args.out, make_records(args.data))
    size = sum(path.stat().st_size for path in args.out.iterdir())
    print(f'{args.out}: {COUNT} pairs, {size / 2**20:.1f} MiB')


if __name__ == '__main__':
    main()
