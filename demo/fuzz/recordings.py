"""Bags: the container, the messages in it, and the report of it."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
import shutil
from typing import Any

import numpy as np
from rosbags.rosbag2 import CompressionFormat
from rosbags.rosbag2 import CompressionMode
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer
import yaml

from demo.fuzz import files
from demo.fuzz import mutate
from demo.fuzz.images import check_frame
from demo.fuzz.target import Case
from demo.fuzz.target import Draw
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.formats import messages
from tdfusion_ros.formats.bags import bag_types
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.bags import IMAGE_TYPES
from tdfusion_ros.formats.bags import INFO_TYPE
from tdfusion_ros.formats.bags import typestore
from tdfusion_ros.formats.sources import BagSource
from tdfusion_ros.tools.calibrate import cameras
from tdfusion_ros.tools.view.report import render_report

TYPES = bag_types()
BEGIN_NS = 1_700_000_000 * 10**9
Record = tuple[str, str, int, bytes]  # topic, type, time of recording [ns], CDR


def records() -> list[Record]:
    """Return some messages of a small rig with results."""
    rng = np.random.default_rng(0)
    out = []
    for number in range(4):
        at = BEGIN_NS + number * 10**8
        rgb, ir = rng.integers(0, 256, (12, 16, 3), np.uint8), rng.integers(0, 9999, (12, 16))
        head = messages.header(TYPES, Frame(rgb, at, 'rgb'))
        box = np.array([[1, 2, 8, 9]], np.float32)
        found = Detections(box, np.array([0.5], np.float32), np.array([0]))
        said = [
            ('/rgb/image_raw', messages.image(TYPES, head, rgb)),
            ('/ir/image_raw', messages.image(TYPES, head, ir.astype(np.uint16))),
            ('/fused/image_raw', messages.image(TYPES, head, rgb)),
            ('/detections', messages.detection_array(TYPES, head, found, ('person',))),
            ('/label_info', messages.label_info(TYPES, head, ('person', 'car'), 0.3)),
            ('/rgb/camera_info', _info(head)),
            ('/diagnostics', _status(head)),
            ('/tf_static', _transforms(head)),
        ]
        for topic, message in said:
            kind = message.__msgtype__
            out.append((topic, kind, at, bytes(typestore().serialize_cdr(message, kind))))
    return out


def _info(head: Any) -> Any:
    roi = TYPES.get('sensor_msgs/msg/RegionOfInterest')(0, 0, 0, 0, False)
    k = np.array([15.0, 0, 8, 0, 15.0, 6, 0, 0, 1])
    return TYPES.get(INFO_TYPE)(
        head, 12, 16, 'plumb_bob', np.zeros(5), k, np.eye(3).ravel(), np.zeros(12), 0, 0, roi
    )


def _status(head: Any) -> Any:
    values = {'latency_ms_p50': '20', 'latency_ms_p95': '30', 'dropped.rgb.truncated': '1'}
    pairs = [TYPES.get('diagnostic_msgs/msg/KeyValue')(k, v) for k, v in values.items()]
    status = TYPES.get('diagnostic_msgs/msg/DiagnosticStatus')
    one = status(1, '/tdfusion: fusion', 'late', 'msrs_rt', pairs)
    return TYPES.get('diagnostic_msgs/msg/DiagnosticArray')(head, [one])


def _transforms(head: Any) -> Any:
    turn = TYPES.get('geometry_msgs/msg/Quaternion')(0.0, 0.0, 0.0, 1.0)
    move = TYPES.get('geometry_msgs/msg/Vector3')(0.1, 0.0, 0.0)
    transform = TYPES.get('geometry_msgs/msg/Transform')(move, turn)
    one = TYPES.get('geometry_msgs/msg/TransformStamped')(head, 'ir', transform)
    return TYPES.get('tf2_msgs/msg/TFMessage')([one])


def write(
    folder: Path, said: list[Record], plugin: StoragePlugin, *, squeezed: bool = False
) -> None:
    """Write a bag anew."""
    shutil.rmtree(folder, ignore_errors=True)
    connections: dict[tuple[str, str], Any] = {}
    writer = Writer(folder, version=8, storage_plugin=plugin)
    if squeezed:
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        for topic, kind, time_ns, data in said:
            if (topic, kind) not in connections:
                connections[topic, kind] = writer.add_connection(
                    topic, kind, typestore=typestore()
                )
            writer.write(connections[topic, kind], time_ns, data)


def each(reader: BagReader, topic: str) -> Iterator[Any]:
    """Yield the messages of a topic up to the first that is damaged, whose error is raised."""
    for _, _, message in reader.messages(topic):
        yield message


def use(reader: BagReader, kinds: tuple[str, ...] | None = None) -> None:
    """
    Do with a bag what ``fuse`` and ``calibrate`` do with it.

    :raises FusionError: the first thing that is wrong, after all has been tried.
    """
    errors: list[FusionError] = []

    def attempt(what: Any) -> None:
        try:
            what()
        except FusionError as error:
            errors.append(error)

    def pairs() -> None:
        for match in BagSource(reader, reader.find(), FusionConfig()):
            for frame in (match.rgb, match.ir):
                if frame is not None:
                    check_frame(frame)

    def images(topic: str) -> None:
        for message in each(reader, topic):
            try:
                check_frame(messages.to_frame(message))
            except FrameError as error:
                errors.append(error)

    attempt(pairs)
    for topic, kind in reader.topics().items():
        reader.count(topic)
        if kind in IMAGE_TYPES:
            attempt(lambda topic=topic: images(topic))
        elif kind == INFO_TYPE:
            attempt(
                lambda topic=topic: [
                    cameras.camera_from_message(m, 'rgb', (12, 16)) for m in each(reader, topic)
                ]
            )
    attempt(lambda: cameras.pose_from_tf(cameras.static_transforms(reader), 'rgb', 'ir'))
    if errors:
        raise errors[0]


def _container(place: Path, plugin: StoragePlugin) -> Draw:
    write(place / 'good', records(), plugin)
    (file,) = (p for p in (place / 'good').iterdir() if p.suffix != '.yaml')
    samples = [file.read_bytes()]
    if plugin == StoragePlugin.MCAP:
        write(place / 'good', records(), plugin, squeezed=True)
        samples.append(file.read_bytes())

    def draw(rng: Random) -> Case:
        broken = mutate.mangle(rng, rng.choice(samples), samples)
        if rng.random() < 0.3:  # with the metadata beside it
            file.write_bytes(broken)
            return lambda: _open(place / 'good')
        path = place / file.name
        path.write_bytes(broken)
        return lambda: _open(path)

    return draw


def _open(path: Path) -> None:
    with BagReader(path) as reader:
        use(reader)


def mcap(place: Path) -> Draw:
    """Fuzz the bytes of an mcap file."""
    return _container(place, StoragePlugin.MCAP)


def sqlite3(place: Path) -> Draw:
    """Fuzz the bytes of a sqlite3 file."""
    return _container(place, StoragePlugin.SQLITE3)


def metadata(place: Path) -> Draw:
    """Fuzz ``metadata.yaml``."""
    write(place / 'bag', records(), StoragePlugin.MCAP)
    path = place / 'bag' / 'metadata.yaml'
    text = path.read_text()
    sample = yaml.safe_load(text)

    def draw(rng: Random) -> Case:
        content = files.document(rng, sample, text, files.of_yaml)
        act = rng.random()
        if act < 0.02:  # the parser's own load, in front of what is right
            content = f'{rng.choice((files.LAUGHS, files.MERGES))}\n{text}'.encode()
        elif act < 0.04:
            said = text.replace('name: /ir/image_raw', 'name: *a9').replace('message_count:', 'x:')
            content = f'{files.LAUGHS}\n{said}'.encode()
        path.write_bytes(content)
        return lambda: _open(place / 'bag')

    return draw


def _garbled(rng: Random, good: list[Record]) -> list[Record]:
    """Return messages of which some have wrong bytes, another's type, or wild times."""
    out, kinds = [], sorted({kind for _, kind, _, _ in good})
    for topic, kind, time_ns, data in good:
        act = rng.random()
        if act < 0.15:
            data = mutate.mangle(rng, data)
        elif act < 0.18:
            kind = rng.choice(kinds)
        elif act < 0.2:
            time_ns = mutate.unsigned(rng, 64)
        out.append((topic, kind, time_ns, data))
    return out


def garbled(place: Path) -> Draw:
    """Fuzz the messages within a bag that is whole."""
    good = records()

    def draw(rng: Random) -> Case:
        write(place / 'bag', _garbled(rng, good[:8]), StoragePlugin.MCAP)
        return lambda: _open(place / 'bag')

    return draw


def viewed(place: Path) -> Draw:
    """Fuzz ``tdfusion view``: wrong messages, wild times, and a container with faults."""
    good = records()

    def draw(rng: Random) -> Case:
        write(place / 'bag', _garbled(rng, good), StoragePlugin.MCAP)
        if rng.random() < 0.3:
            (file,) = (place / 'bag').glob('*.mcap')
            file.write_bytes(mutate.mangle(rng, file.read_bytes()))

        def read() -> None:
            with BagReader(place / 'bag') as reader:
                render_report(reader, moments=2)

        return read

    return draw
