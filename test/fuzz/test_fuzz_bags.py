"""Bags: the container, its metadata, the messages in it, and the report of it."""

import json
import shutil

from damage import damaged
from damage import document
from damage import LISTS
from damage import MERGES
from damage import unsigned
from hypothesis import strategies as st
import numpy as np
import pytest
from test_fuzz_images import check_frame
import yaml

pytest.importorskip('rosbags')

from rosbags.rosbag2 import CompressionFormat
from rosbags.rosbag2 import CompressionMode
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer

from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.data import Detections
from tdfusion_ros.core.data import Frame
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.formats import camera_info
from tdfusion_ros.formats import messages
from tdfusion_ros.formats import transforms
from tdfusion_ros.formats.bag_topics import IMAGE_TYPES
from tdfusion_ros.formats.bag_topics import INFO_TYPE
from tdfusion_ros.formats.bags import bag_types
from tdfusion_ros.formats.bags import BagReader
from tdfusion_ros.formats.bags import typestore
from tdfusion_ros.formats.sources import BagSource
from tdfusion_ros.tools.calibrate import cameras
from tdfusion_ros.tools.view.report import render_report
from tdfusion_ros.tools.view.result_folder import ResultFolder

TYPES = bag_types()
MCAP, SQLITE3 = StoragePlugin.MCAP, StoragePlugin.SQLITE3


def make(kind, *values):
    return TYPES.get(kind.replace('/', '/msg/'))(*values)


def make_records():
    """Return (topic, type, time [ns], CDR) of the messages of a small rig with results."""
    rng = np.random.default_rng(0)
    box, score = np.array([[1, 2, 8, 9]], np.float32), np.array([0.5], np.float32)
    k = np.array([15.0, 0, 8, 0, 15.0, 6, 0, 0, 1])
    roi = make('sensor_msgs/RegionOfInterest', 0, 0, 0, 0, False)
    info = (12, 16, 'plumb_bob', np.zeros(5), k, np.eye(3).ravel(), np.zeros(12), 0, 0, roi)
    values = {'latency_ms_p50': '20', 'latency_ms_p95': '30', 'dropped.rgb.truncated': '1'}
    pairs = [make('diagnostic_msgs/KeyValue', *pair) for pair in values.items()]
    status = (1, '/tdfusion: fusion', 'late', 'msrs_rt', pairs)
    turn = make('geometry_msgs/Quaternion', 0.0, 0.0, 0.0, 1.0)
    pose = make('geometry_msgs/Transform', make('geometry_msgs/Vector3', 0.1, 0.0, 0.0), turn)
    records = []
    for at_ns in range(1_700_000_000 * 10**9, 1_700_000_000 * 10**9 + 4 * 10**8, 10**8):
        rgb = rng.integers(0, 256, (12, 16, 3), np.uint8)
        ir = rng.integers(0, 9999, (12, 16)).astype(np.uint16)
        head = messages.header(TYPES, Frame(rgb, at_ns, 'rgb'))
        found = Detections(box, score, np.array([0]))
        for topic, message in {
            '/rgb/image_raw': messages.image(TYPES, head, rgb),
            '/ir/image_raw': messages.image(TYPES, head, ir),
            '/fused/image_raw': messages.image(TYPES, head, rgb),
            '/detections': messages.detection_array(TYPES, head, found, ('person',)),
            '/label_info': messages.label_info(TYPES, head, ('person', 'car'), 0.3),
            '/rgb/camera_info': make('sensor_msgs/CameraInfo', head, *info),
            '/diagnostics': make(
                'diagnostic_msgs/DiagnosticArray',
                head,
                [make('diagnostic_msgs/DiagnosticStatus', *status)],
            ),
            '/tf_static': make(
                'tf2_msgs/TFMessage', [make('geometry_msgs/TransformStamped', head, 'ir', pose)]
            ),
        }.items():
            kind = message.__msgtype__
            records.append((topic, kind, at_ns, bytes(typestore().serialize_cdr(message, kind))))
    return records


RECORDS = make_records()


def write(folder, records, plugin=MCAP, *, compressed=False):
    shutil.rmtree(folder, ignore_errors=True)
    connections, store = {}, typestore()
    writer = Writer(folder, version=8, storage_plugin=plugin)
    if compressed:
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        for topic, kind, time_ns, data in records:
            if (topic, kind) not in connections:
                connections[topic, kind] = writer.add_connection(topic, kind, typestore=store)
            writer.write(connections[topic, kind], time_ns, data)
    (file,) = (path for path in folder.iterdir() if path.suffix != '.yaml')
    return file


def check_frames(frames):
    for frame in frames:
        check_frame(frame)


def readings(reader):
    """Yield functions that read a bag as ``fuse`` and ``calibrate`` do."""
    yield lambda: check_frames(
        frame
        for pair in BagSource(reader, reader.find(), FusionConfig())
        for frame in (pair.rgb, pair.ir)
        if frame is not None
    )
    for topic, kind in reader.topics().items():
        reader.count(topic)
        values = (message for _, _, message in reader.messages(topic))
        if kind in IMAGE_TYPES:
            yield lambda values=values: check_frames(map(messages.to_frame, values))
        elif kind == INFO_TYPE:
            yield lambda values=values: [
                camera_info.camera_from_message(value, 'rgb', (12, 16)) for value in values
            ]
    yield lambda: transforms.pose_from_tf(cameras.static_transforms(reader), 'rgb', 'ir')


def read_bag(path):
    """Read all of a bag; raise the last error or the first warning after trying everything."""
    failed: FusionError | None = None
    with BagReader(path, lambda _: None) as reader:
        for reading in readings(reader):
            try:
                reading()
            except FusionError as error:
                failed = error
    if reader.warnings:
        raise FusionError(reader.warnings[0])
    if failed:
        raise failed


@pytest.mark.parametrize(('plugin', 'share'), [(MCAP, 1.5), (SQLITE3, 1)], ids=['mcap', 'sqlite3'])
def test_bag_bytes(fuzz, tmp_path, plugin, share):
    file = write(tmp_path / 'bag', RECORDS, plugin)
    good = [file.read_bytes()]
    if plugin == MCAP:
        good.append(write(tmp_path / 'bag', RECORDS, plugin, compressed=True).read_bytes())
    alone = tmp_path / file.name

    def read(value):
        data, path = value
        (file if path.is_dir() else path).write_bytes(data)
        read_bag(path)

    paths = st.sampled_from((file.parent, alone))
    fuzz(st.tuples(damaged(*good), paths), read, share, good=(good[-1], file.parent))


def test_bag_metadata(fuzz, tmp_path):
    path = write(tmp_path / 'bag', RECORDS).with_name('metadata.yaml')
    text = path.read_text()
    aliased = text.replace('name: /ir/image_raw', 'name: *a9').replace('message_count:', 'x:')
    bombs = [f'{LISTS}\n{text}', f'{MERGES}\n{text}', f'{LISTS}\n{aliased}']
    bombs.append(text.replace('name: /ir/image_raw', 'name: 7'))
    bombs.append(text.replace('message_count: 4', 'message_count: many'))

    def read(data):
        path.write_bytes(data)
        read_bag(path.parent)

    inputs = st.one_of(
        *[document(yaml.safe_load(text))] * 9, st.sampled_from(bombs).map(str.encode)
    )
    fuzz(inputs, read, 0.8, good=text.encode(), found=map(str.encode, bombs))


def with_faults(records):
    """Return lists of messages, some with damaged bytes, another type, or an absurd time."""
    kinds = st.sampled_from(sorted({kind for _, kind, _, _ in records}))

    def one(record):
        topic, kind, time_ns, data = map(st.just, record)
        damaged_data = st.tuples(topic, kind, time_ns, damaged(record[3]))
        wrong = st.tuples(topic, kinds, time_ns, data), st.tuples(topic, kind, unsigned(64), data)
        return st.one_of(*[st.just(record)] * 9, *[damaged_data] * 3, *wrong)

    return st.tuples(*map(one, records))


def test_messages_in_a_bag(fuzz, tmp_path):
    def read(records):
        read_bag(write(tmp_path / 'bag', records).parent)

    topic, kind, _, data = RECORDS[0]
    found = [[(topic, kind, 2**63 + 5, data)]]
    fuzz(with_faults(RECORDS[:8]), read, 1, good=RECORDS[:8], found=found)


def test_report_of_a_bag(fuzz, tmp_path):
    def read(value):
        records, cut = value
        file = write(tmp_path / 'bag', records)
        data = file.read_bytes()
        file.write_bytes(data[: round(cut * len(data))] if cut else data)
        with BagReader(file.parent) as reader:
            render_report(reader, moments=2)

    cuts = st.just(0) | st.just(0) | st.floats(0.01, 1)
    fuzz(st.tuples(with_faults(RECORDS), cuts), read, 0.5, good=(RECORDS, 0))


def test_result_folder(fuzz, tmp_path):
    row = {'class': 'person', 'score': 0.5, 'box_xyxy': [1, 2, 3, 4]}
    sample = {'000': [row, row], '001': []}
    good = json.dumps(sample).encode()

    def read(data):
        for name in ('detections.json', 'stalled.json', 'skipped.json'):
            (tmp_path / name).write_bytes(data)
        render_report(ResultFolder(tmp_path), moments=1)

    found = [b'[]', b'{"a": [{}]}', b'{"\\u0000": []}', b'{"\\ud800": []}']
    fuzz(document(sample, json.dumps), read, 1, good=good, found=found)
