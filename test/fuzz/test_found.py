"""Inputs that once did harm, each as small as possible."""

from argparse import Namespace
import json
import struct
from types import SimpleNamespace

import cv2
from damage import HOSTILE_YAML
from damage import LISTS
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from test_fuzz_images import chunk
import yaml

from tdfusion_ros.build import load_calibration
from tdfusion_ros.core.calibration import parse_calibration
from tdfusion_ros.core.contract import parse_contract
from tdfusion_ros.core.errors import BagError
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.errors import ModelError
from tdfusion_ros.formats.decode import decode_image
from tdfusion_ros.formats.decode import decode_raw
from tdfusion_ros.formats.decode import Layout
from tdfusion_ros.formats.plain_yaml import read_yaml
from tdfusion_ros.tools.calibrate import cameras
from tdfusion_ros.tools.calibrate import picked_points
from tdfusion_ros.tools.options import config_of

JPEG = cv2.imencode('.jpg', np.zeros((16, 16), np.uint8))[1].tobytes()
SIZE_AT = JPEG.find(b'\xff\xc0') + 5


def png(width, height):
    """Return a PNG that is right except for the number of its pixels."""
    body = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0))
    return b'\x89PNG\r\n\x1a\n' + body + chunk(b'IDAT', bytes(9)) + chunk(b'IEND', b'')


def with_huge_chunk():
    data = bytearray(png(2, 2))
    data[33] = 0x7F  # the length of IDAT
    return bytes(data)


def with_size(height, width):
    return JPEG[:SIZE_AT] + struct.pack('>HH', height, width) + JPEG[SIZE_AT + 4 :]


def with_hidden_size():
    """Return a huge JPEG that seems small if the lone mark FF D0 is taken for a segment."""
    first = b'\xff\xfe\xff\xff' + bytes(65530) + b'\xff\xe0\x00'  # ends in a second comment
    small = b'\xff\xc0\x00\x0b\x08\x00\x10\x00\x10\x01\x00\x11\x00'
    second = (b'\xff\xfe\x03\xe8' + bytes(250) + small).ljust(1002, b'\0')
    return b'\xff\xd8\xff\xd0' + first + second + with_size(65535, 65535)[2:]


@pytest.mark.parametrize(
    ('data', 'cause'),
    [
        (png(60000, 60000), 'bad_size'),
        (png(8192, 8192), 'truncated'),
        (with_huge_chunk(), 'truncated'),
        (with_size(8192, 8192), 'truncated'),
        (with_hidden_size(), 'bad_size'),
        (b'\xff\xd8' + b'\xff' * 5_000_000 + b'\xff\xd9', 'truncated'),
    ],
    ids=['png', 'png within limits', 'png chunk', 'jpeg', 'hidden size', 'fill bytes'],
)
def test_tiny_file_of_a_huge_image_is_refused_before_opencv_allocates_it(data, cause, monkeypatch):
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('OpenCV was called'))
    with pytest.raises(FrameError) as caught:
        decode_image(np.frombuffer(data, np.uint8))
    assert caught.value.cause == cause


WORD = st.integers(0, 2**32 - 1) | st.integers(0, 40)


@given(WORD, WORD, WORD, st.booleans(), st.binary(max_size=600))
def test_raw_image_never_shows_bytes_that_are_not_its_own(height, width, step, big, data):
    for encoding in ('mono8', 'mono16', 'rgb8', 'bgra8'):
        try:
            layout = Layout(height, width, encoding, step, big)
            pixels = decode_raw(layout, np.frombuffer(data, np.uint8))
        except FrameError:
            continue
        assert pixels.shape[:2] == (height, width)
        first = pixels.reshape(height, width, -1)[0, 0]
        value = int.from_bytes(data[: pixels.itemsize], 'big' if big else 'little')
        assert value in (int(v) for v in first) or encoding == 'bgra8'


@pytest.mark.parametrize('text', [*HOSTILE_YAML, 'x' * 300_000], ids=lambda text: text[:20])
def test_hostile_yaml_is_a_yaml_error(text):
    with pytest.raises(yaml.YAMLError):
        read_yaml(text)


SCALARS = st.none() | st.booleans() | st.integers() | st.text('abc ')
KEYS = st.text('abc', min_size=1)


@given(
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
        max_leaves=20,
    )
)
def test_plain_yaml_is_read_as_by_the_safe_loader(value):
    text = yaml.safe_dump(value)
    if '*' not in text:
        assert read_yaml(text) == yaml.safe_load(text) == value


@pytest.mark.parametrize(
    ('text', 'param', 'message'),
    [
        (f'{LISTS}/**: *a9\n', None, 'aliases'),
        (None, f'score_threshold={10**400}', 'score_threshold'),
        (None, 'model=0b_', 'not YAML'),
    ],
)
def test_hostile_parameters_are_refused(text, param, message, tmp_path):
    path = tmp_path / 'x.yaml'
    path.write_text(text or '')
    with pytest.raises(ConfigError, match=message):
        config_of(Namespace(config=path if text else None, param=[param] if param else []))


def test_error_is_a_line_that_a_terminal_and_a_log_can_show():
    text = str(FusionError('got ' + '\x1b[2J\x00\ud800\u202e' + 'x' * 100_000 + ' expected y'))
    assert text.isprintable()
    assert len(text) < 2100
    assert text.startswith('got \\x1b[2J\\x00\\ud800\\u202e')
    assert text.endswith('expected y')


EXTRINSICS = {
    'mode': 'extrinsics',
    **{
        name: {'size_hw': [480, 640], 'k': [[500, 0, 320], [0, 500, 240], [0, 0, 1]], 'd': []}
        for name in ('rgb', 'ir')
    },
    'rotation': np.eye(3).tolist(),
    'translation_m': [0.1, 0, 0],
}


@pytest.mark.parametrize(
    'wrong',
    [
        {'rotation': [[1e200, 1e200, 0], [-1e200, 1e200, 0], [0, 0, 1]]},
        {'rgb': {**EXTRINSICS['rgb'], 'size_hw': [480, 1e300]}},
        {'ir': {**EXTRINSICS['ir'], 'size_hw': [480, 2**40]}},
    ],
)
def test_calibration_whose_numbers_overflow_is_refused(wrong):
    parse_calibration(EXTRINSICS)
    with np.errstate(all='ignore'), pytest.raises(CalibrationError):
        parse_calibration(EXTRINSICS | wrong)


def test_camera_info_with_nan_in_d_is_refused():
    info = SimpleNamespace(height=480, width=640, k=[500, 0, 320, 0, 500, 240, 0, 0, 1])
    info.distortion_model, info.d = 'plumb_bob', [0.1, 0, 0, 0, 0]
    cameras.camera_from_message(info, 'ir', None)
    info.d[4] = float('nan')
    with pytest.raises(CalibrationError):
        cameras.camera_from_message(info, 'ir', None)


def pose(first='0', last='1'):
    return f'translation_m: [{first}, 0, 0]\nrotation: [[1, 0, 0], [0, 1, 0], [0, 0, {last}]]'


FILES = (
    (load_calibration, 'yaml', f'{LISTS}\nhomography: *a9\n'),
    (cameras.pose_from_file, 'yaml', pose('.nan')),
    (cameras.pose_from_file, 'yaml', pose('9' * 400)),
    (cameras.pose_from_file, 'yaml', pose(last='.nan')),
    (cameras.pose_from_file, 'yaml', pose(last='9')),
    (picked_points.read_points, 'json', '[' * 100_000),
    (picked_points.read_points, 'json', f'{{"rgb_xy": [[{"9" * 5000}, 1]]}}'),
    (
        picked_points.read_points,
        'json',
        f'{{"rgb_xy": [], "ir_xy": [], "ir_size_hw": [1, {10**400}]}}',
    ),
    (picked_points.read_points, 'csv', '1,2,3,' + '9' * 200_000),
    (picked_points.read_points, 'csv', '1,2,3,4\n' * 5000),
)


@pytest.mark.parametrize(('read', 'suffix', 'text'), FILES, ids=range(len(FILES)))
def test_hostile_file_of_a_calibration_is_refused(read, suffix, text, tmp_path):
    path = tmp_path / f'x.{suffix}'
    path.write_text(text)
    with pytest.raises(CalibrationError):
        read(str(path) if read is load_calibration else path)


@pytest.mark.parametrize('name', ['\ud800', 'a\x00b', 'a\nb', '\u202e'])
def test_class_name_that_no_message_could_carry_is_refused(name, bundle):
    raw = json.loads((bundle / 'model.json').read_text())
    parse_contract(json.dumps(raw))
    with pytest.raises(ModelError, match='classes'):
        parse_contract(json.dumps(raw | {'classes': [name]}))


@pytest.mark.parametrize(
    ('right', 'wrong'),
    [
        ('name: /ir/image_raw', 'name: 7'),
        ('name: /ir/image_raw', 'name: *a9'),
        ('message_count: 6', 'message_count: many'),
    ],
)
def test_hostile_metadata_of_a_bag_is_a_bag_error(right, wrong, write_bag, demo_records, tmp_path):
    from tdfusion_ros.formats.bags import BagReader

    path = write_bag(tmp_path / 'bag', demo_records) / 'metadata.yaml'
    text = path.read_text()
    assert right in text
    path.write_text((f'{LISTS}\n' if '*' in wrong else '') + text.replace(right, wrong))
    with pytest.raises(BagError):
        BagReader(tmp_path / 'bag').find()


def test_time_of_recording_beyond_64_bits_is_a_bag_error(write_bag, demo_records, tmp_path):
    from tdfusion_ros.formats.bags import BagReader

    topic, _, message = demo_records[0]
    bag = write_bag(tmp_path / 'bag', [(topic, 2**63 + 5, message)])
    with BagReader(bag) as reader, pytest.raises(BagError):
        list(reader.messages(topic))


@pytest.mark.torch
@pytest.mark.parametrize(
    ('setting', 'value'), [('width', 4096), ('depth', 10**9), ('width', 1e300), ('width', -1)]
)
def test_architecture_that_does_not_match_the_weights_takes_no_memory(setting, value, bundle):
    pytest.importorskip('torch')
    from tdfusion_ros.backends.bundle import read_bundle
    from tdfusion_ros.backends.torch_network import load_network

    good = read_bundle(bundle)
    wrong = {**good.architecture, 'fusion': {**good.architecture['fusion'], setting: value}}
    with pytest.raises(ModelError, match='do not fit'):
        load_network(wrong, good.weights())
