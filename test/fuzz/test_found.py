"""What fuzzing found, each as small as it goes."""

from argparse import Namespace
import struct
import zlib

import cv2
from hypothesis import given
from hypothesis import strategies
import numpy as np
import pytest
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
from tdfusion_ros.tools.options import config_of

LAUGHS = 'a0: &a0 [1, 2]\n' + ''.join(
    f'a{n}: &a{n} [{", ".join([f"*a{n - 1}"] * 9)}]\n' for n in range(1, 10)
)
WORD = strategies.integers(0, 2**32 - 1) | strategies.integers(0, 40)


def refusal(data, monkeypatch):
    """Return the cause for which an image is refused before OpenCV sees it."""

    def unreached(*_):
        raise AssertionError('OpenCV was called')

    monkeypatch.setattr(cv2, 'imdecode', unreached)
    with pytest.raises(FrameError) as caught:
        decode_image(np.frombuffer(data, np.uint8))
    return caught.value.cause


def png(width, height):
    """Return a PNG that is right in all but the number of its pixels."""

    def chunk(name, data):
        return (
            struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
        )

    size = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    body = chunk(b'IHDR', size) + chunk(b'IDAT', zlib.compress(bytes(5))) + chunk(b'IEND', b'')
    return b'\x89PNG\r\n\x1a\n' + body


@pytest.mark.parametrize(
    ('size_wh', 'cause'), [((60000, 60000), 'bad_size'), ((8192, 8192), 'truncated')]
)
def test_tiny_png_of_a_huge_image_is_refused_before_memory_is_taken(size_wh, cause, monkeypatch):
    assert refusal(png(*size_wh), monkeypatch) == cause


def test_png_chunk_that_says_two_gigabytes_is_refused_before_they_are_taken(monkeypatch):
    data = bytearray(png(2, 2))
    data[33] = 0x7F  # the length of IDAT
    assert refusal(bytes(data), monkeypatch) == 'truncated'


def test_tiny_jpeg_of_a_huge_image_is_refused_before_memory_is_taken(monkeypatch):
    data = cv2.imencode('.jpg', np.zeros((16, 16), np.uint8))[1].tobytes()
    at = data.find(b'\xff\xc0') + 5
    data = data[:at] + struct.pack('>HH', 8192, 8192) + data[at + 4 :]
    assert refusal(data, monkeypatch) == 'truncated'


def test_size_of_a_jpeg_cannot_hide_behind_a_mark_that_stands_alone(monkeypatch):
    good = cv2.imencode('.jpg', np.zeros((16, 16), np.uint8))[1].tobytes()
    at = good.find(b'\xff\xc0') + 5
    large = good[:at] + b'\xff\xff\xff\xff' + good[at + 4 :]
    # Taken for segments, FF D0 leads into the first comment's end and that into the second one.
    first = b'\xff\xfe\xff\xff' + bytes(65530) + b'\xff\xe0\x00'
    small = b'\xff\xc0\x00\x0b\x08\x00\x10\x00\x10\x01\x00\x11\x00'
    second = b'\xff\xfe\x03\xe8' + bytes(250) + small
    data = b'\xff\xd8\xff\xd0' + first + second.ljust(1002, b'\0') + large[2:]
    assert data[65538:65540] == b'\xff\xe0'
    assert data[65795:65797] == b'\xff\xc0'
    assert refusal(data, monkeypatch) == 'bad_size'


def test_jpeg_of_nothing_but_fill_bytes_is_refused_at_once(monkeypatch):
    data = b'\xff\xd8' + b'\xff' * 5_000_000 + b'\xff\xd9'
    assert refusal(data, monkeypatch) == 'truncated'


@given(WORD, WORD, WORD, strategies.booleans(), strategies.binary(max_size=600))
def test_raw_image_never_shows_bytes_that_are_not_its_own(height, width, step, big, data):
    for encoding in ('mono8', 'mono16', 'rgb8', 'bgra8'):
        layout = Layout(height, width, encoding, step, big)
        try:
            pixels = decode_raw(layout, np.frombuffer(data, np.uint8))
        except FrameError:
            continue
        assert pixels.shape[:2] == (height, width)
        first = pixels.reshape(height, width, -1)[0, 0]
        raw = data[:1] if pixels.itemsize == 1 else data[:2]
        value = int.from_bytes(raw, 'big' if big else 'little')
        assert value in (int(v) for v in first) or encoding == 'bgra8'


@pytest.mark.parametrize(
    'text',
    [
        LAUGHS,
        'a: &a {<<: *a}',
        '[' * 5000,
        '{' * 3000,
        '- ' * 5000,
        f'a: {"9" * 5000}',
        'a: 2001-99-99',
        'a: 0b_',
        '!!python/object/apply:os.system ["false"]',
        'x' * 300_000,
    ],
)
def test_hostile_yaml_is_a_yaml_error(text):
    with pytest.raises(yaml.YAMLError):
        read_yaml(text)


@given(
    strategies.recursive(
        strategies.none()
        | strategies.booleans()
        | strategies.integers()
        | strategies.text('abc '),
        lambda inner: (
            strategies.lists(inner, max_size=4)
            | strategies.dictionaries(strategies.text('abc', min_size=1), inner, max_size=4)
        ),
        max_leaves=20,
    )
)
def test_plain_yaml_is_read_as_by_the_safe_loader(value):
    text = yaml.safe_dump(value)
    if '*' not in text:
        assert read_yaml(text) == yaml.safe_load(text) == value


def test_hostile_calibration_and_parameters_are_refused_in_one_line(tmp_path):
    path = tmp_path / 'x.yaml'
    path.write_text(f'{LAUGHS}mode: homography\nhomography: *a9\n')
    with pytest.raises(CalibrationError, match='aliases'):
        load_calibration(str(path))
    with pytest.raises(ConfigError, match='aliases'):
        config_of(Namespace(config=path, param=[]))
    with pytest.raises(ConfigError, match='score_threshold'):
        config_of(Namespace(config=None, param=[f'score_threshold={10**400}']))
    with pytest.raises(ConfigError, match='not YAML'):
        config_of(Namespace(config=None, param=['model=0b_']))


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
    from types import SimpleNamespace

    from tdfusion_ros.tools.calibrate.cameras import camera_from_message

    info = SimpleNamespace(height=480, width=640, k=[500, 0, 320, 0, 500, 240, 0, 0, 1])
    info.distortion_model, info.d = 'plumb_bob', [0.1, 0, 0, 0, 0]
    camera_from_message(info, 'ir', None)
    info.d[4] = float('nan')
    with pytest.raises(CalibrationError, match='not all numbers'):
        camera_from_message(info, 'ir', None)


@pytest.mark.parametrize(
    'text',
    [
        'translation_m: [.nan, 0, 0]\nquaternion_xyzw: [0, 0, 0, 1]',
        'translation_m: [0, 0, 0]\nrotation: [[1, 0, 0], [0, 1, 0], [0, 0, .nan]]',
        'translation_m: [0, 0, 0]\nrotation: [[1, 0, 0], [0, 1, 0], [0, 0, 9]]',
        f'translation_m: [{"9" * 400}, 0, 0]\nquaternion_xyzw: [0, 0, 0, 1]',
    ],
)
def test_extrinsics_that_are_no_pose_are_refused(text, tmp_path):
    from tdfusion_ros.tools.calibrate.cameras import pose_from_file

    (tmp_path / 'x.yaml').write_text(text)
    with pytest.raises(CalibrationError):
        pose_from_file(tmp_path / 'x.yaml')


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('x.json', '[' * 100_000),
        ('x.json', f'{{"rgb_xy": [[{"9" * 5000}, 1]]}}'),
        ('x.csv', '1,2,3,' + '9' * 200_000),
        ('x.csv', '1,2,3,4\n' * 5000),
        ('x.json', f'{{"rgb_xy": [], "ir_xy": [], "ir_size_hw": [1, {10**400}]}}'),
    ],
)
def test_points_file_that_is_too_much_is_refused(name, text, tmp_path):
    from tdfusion_ros.tools.calibrate.picked_points import read_points

    (tmp_path / name).write_text(text)
    with pytest.raises(CalibrationError):
        read_points(tmp_path / name)


@pytest.mark.parametrize('name', ['\ud800', 'a\x00b', 'a\nb', '\u202e'])
def test_class_name_that_no_message_could_carry_is_refused(name, bundle):
    import json

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
    path.write_text((LAUGHS if '*' in wrong else '') + text.replace(right, wrong))
    with pytest.raises(BagError):
        BagReader(tmp_path / 'bag').find()


def test_time_of_recording_beyond_64_bits_is_a_bag_error(write_bag, demo_records, tmp_path):
    from tdfusion_ros.formats.bags import BagReader
    from tdfusion_ros.tools.view.report import render_report

    topic, _, message = demo_records[0]
    bag = write_bag(tmp_path / 'bag', [(topic, 2**63 + 5, message)])
    with BagReader(bag) as reader:
        assert 'Everything after the damage' in render_report(reader)


@pytest.mark.torch
@pytest.mark.parametrize(
    ('setting', 'value'), [('width', 4096), ('depth', 10**9), ('width', 1e300), ('width', -1)]
)
def test_architecture_that_the_weights_cannot_be_of_takes_no_memory(setting, value, bundle):
    pytest.importorskip('torch')
    from tdfusion_ros.backends.bundle import read_bundle
    from tdfusion_ros.backends.torch_network import load_network

    good = read_bundle(bundle)
    wrong = {**good.architecture, 'fusion': {**good.architecture['fusion'], setting: value}}
    with pytest.raises(ModelError, match='do not fit'):
        load_network(wrong, good.weights())
