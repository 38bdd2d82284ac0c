"""Text that people write and other tools make: YAML, JSON, CSV, parameters, transforms."""

from argparse import Namespace
import json
from pathlib import Path
from types import SimpleNamespace

from damage import anything
from damage import document
from damage import floats
from damage import HOSTILE_YAML
from damage import LISTS
from damage import to_yaml
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
import yaml

from tdfusion_ros.build import load_calibration
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.contract import parse_contract
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.registration import Registration
from tdfusion_ros.formats.plain_yaml import read_yaml
from tdfusion_ros.formats.transforms import pose_from_tf
from tdfusion_ros.tools.calibrate import cameras
from tdfusion_ros.tools.calibrate import picked_points
from tdfusion_ros.tools.calibrate.plausibility import check_transform
from tdfusion_ros.tools.options import config_of
from tdfusion_ros.tools.params import parameter_yaml

ROOT = Path(__file__).parents[2]
KEYS = st.text('abc', min_size=1)


def test_calibration_file(fuzz, tmp_path):
    path, folder = tmp_path / 'calibration.yaml', ROOT / 'config' / 'calibration'
    samples = [(folder / f'{name}.yaml').read_text() for name in ('extrinsics', 'homography')]

    def read(data):
        path.write_bytes(data)
        calibration = load_calibration(str(path))
        for rgb_hw, ir_hw in (((12, 16), (12, 15)), ((24, 32), (8, 10)), ((24, 30), (9, 7))):
            try:
                ir, coverage = Registration(calibration).apply(np.ones(ir_hw, np.float32), rgb_hw)
            except (CalibrationError, FrameError):
                continue
            assert ir.shape == coverage.shape == rgb_hw
            assert ((ir >= 0) & (ir <= 1) & (coverage >= 0) & (coverage <= 1)).all()

    documents = [document(yaml.safe_load(text)) for text in samples]
    sample = yaml.safe_load(samples[0])
    overflows = (
        {'rotation': [[1e200, 1e200, 0], [-1e200, 1e200, 0], [0, 0, 1]]},
        {'rgb': {**sample['rgb'], 'size_hw': [480, 1e300]}},
        {'ir': {**sample['ir'], 'size_hw': [480, 2**40]}},
    )
    found = [f'{LISTS}\nmode: homography\nhomography: *a9\n'.encode()]
    found += [json.dumps(sample | overflow).encode() for overflow in overflows]
    fuzz(st.one_of(documents), read, 2, good=samples[0].encode(), found=found)


def test_camera_info_file(fuzz, tmp_path):
    path = tmp_path / 'ir.yaml'
    sample = {
        'image_width': 640,
        'image_height': 480,
        'camera_name': 'ir',
        'camera_matrix': {'rows': 3, 'cols': 3, 'data': [554.0, 0, 320, 0, 554.0, 240, 0, 0, 1]},
        'distortion_model': 'plumb_bob',
        'distortion_coefficients': {'rows': 1, 'cols': 5, 'data': [-0.3, 0.1, 0.0, 0.0, 0.0]},
    }

    def read(data):
        path.write_bytes(data)
        camera = cameras.camera_from_file(path, 'ir', (480, 640))
        assert np.isfinite(camera.k).all()
        assert np.isfinite(camera.d).all()

    fuzz(document(sample), read, 2, good=json.dumps(sample).encode())


def check_pose(pose):
    """Check that a (4, 4) pose is finite, with a rotation."""
    assert np.isfinite(pose).all()
    assert np.abs(pose[:3, :3] @ pose[:3, :3].T - np.eye(3)).max() < 1e-2


def test_extrinsics_file(fuzz, tmp_path):
    path = tmp_path / 'extrinsics.yaml'
    quaternion = {'translation_m': [-0.06, 0.0, 0.0], 'quaternion_xyzw': [0.0, 0.0, 0.0, 1.0]}
    matrix = {'translation_m': [-0.06, 0, 0], 'rotation': np.eye(3).tolist()}

    def read(data):
        path.write_bytes(data)
        check_pose(cameras.pose_from_file(path))

    changes = [{'translation_m': [float('nan'), 0, 0]}, {'translation_m': [10**400, 0, 0]}]
    changes += [{'rotation': [[1, 0, 0], [0, 1, 0], [0, 0, n]]} for n in (float('nan'), 9)]
    good, *found = [to_yaml(matrix | change).encode() for change in ({}, *changes)]
    fuzz(document(quaternion) | document(matrix), read, 1.5, good, found)


@st.composite
def transforms(draw):
    """Return transforms: parent, child, translation and quaternion, some numbers wrong."""
    frames, made = st.sampled_from(('rgb', 'ir', 'base', '/rgb', '', 'é' * 50)), []
    for _ in range(draw(st.integers(1, 7))):
        numbers = [0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
        for _ in range(draw(st.sampled_from((0, 0, 1, 2)))):
            numbers[draw(st.integers(0, 6))] = draw(floats)
        made.append((draw(frames), draw(frames), numbers))
    return made


def test_tf_static(fuzz):
    def message(parent, child, numbers):
        translation = SimpleNamespace(**dict(zip('xyz', numbers[:3], strict=True)))
        rotation = SimpleNamespace(**dict(zip('xyzw', numbers[3:], strict=True)))
        return SimpleNamespace(
            header=SimpleNamespace(frame_id=parent),
            child_frame_id=child,
            transform=SimpleNamespace(translation=translation, rotation=rotation),
        )

    def read(values):
        found = SimpleNamespace(transforms=[message(*value) for value in values])
        check_pose(pose_from_tf([found], 'rgb', 'ir'))

    fuzz(transforms(), read, 2, good=[('rgb', 'ir', [0.1, 0, 0, 0, 0, 0, 1])])


def to_csv(rows):
    """Return rows as CSV, whatever they are."""
    if not isinstance(rows, list):
        return str(rows)[:5000]
    return '\n'.join(
        ','.join(str(v)[:200_000] for v in row) if isinstance(row, list) else str(row)[:5000]
        for row in rows
    )


def test_picked_points_file(fuzz, tmp_path):
    rng = np.random.default_rng(0)
    rgb = (rng.random((8, 2)) * (640, 480)).round(1)
    ir = (rgb * 0.9 + 20 + rng.normal(0, 0.5, (8, 2))).round(1)
    sample = {'rgb_xy': rgb.tolist(), 'ir_xy': ir.tolist()}
    sample |= {'rgb_size_hw': [480, 640], 'ir_size_hw': [480, 640]}
    rows = [['rgb_x', 'rgb_y', 'ir_x', 'ir_y'], *np.hstack([rgb, ir]).tolist()]

    def read(value):
        suffix, data = value
        path = tmp_path / f'points.{suffix}'
        path.write_bytes(data)
        points = picked_points.read_points(path)
        fitted = picked_points.fit_points(points)
        assert np.isfinite(fitted.matrix).all()
        if points.rgb_size_hw and points.ir_size_hw:
            check_transform(fitted.matrix, points.rgb_size_hw, points.ir_size_hw)

    forms = {
        'yaml': document(sample),
        'json': document(sample, json.dumps),
        'csv': document(rows, to_csv),
    }
    inputs = [st.tuples(st.just(suffix), form) for suffix, form in forms.items()]
    found = [('json', b'[' * 100_000), ('csv', b'1,2,3,' + b'9' * 200_000)]
    found += [('csv', b'1,2,3,4\n' * 5000), ('json', b'{"rgb_xy": [[' + b'9' * 5000 + b', 1]]}')]
    found += [('json', f'{{"rgb_xy": [], "ir_xy": [], "ir_size_hw": [1, {10**400}]}}'.encode())]
    fuzz(st.one_of(inputs), read, 1.5, ('json', json.dumps(sample).encode()), found)


def test_parameters(fuzz, tmp_path):
    path = tmp_path / 'fusion.yaml'
    small = {'/**': {'ros__parameters': {'model': 'msrs_rt', 'ir': {'invert': True}}}}
    names = ('score_threshold', 'ir.smoothing', 'class_filter', 'model', 'nonsense', '')

    def read(value):
        if isinstance(value, bytes):
            path.write_bytes(value)
            options = Namespace(config=path, node='', param=[])
        else:
            options = Namespace(config=None, param=[''.join(value)])
        assert isinstance(config_of(options), FusionConfig)

    values = anything.map(str) | st.sampled_from(HOSTILE_YAML)
    parameters = st.tuples(st.sampled_from(names), st.sampled_from(('=', '=', '')), values)
    whole = document(yaml.safe_load(parameter_yaml()))
    several = {'/**': small['/**'], '/a': {'tdfusion': small['/**']}, 'camera/*': small['/**']}
    inputs = st.one_of(document(small), document(several), whole, parameters)
    found = [f'{LISTS}\n/**: *a9\n'.encode(), ('score_threshold', '=', str(10**400))]
    found.append(('model', '=', '0b_'))
    fuzz(inputs, read, 2, good=json.dumps(small).encode(), found=found)


def test_model_contract(fuzz):
    full = json.loads((ROOT / 'models' / 'msrs_rt' / 'model.json').read_text())
    sample = {k: v for k, v in full.items() if k not in ('training', 'cost', 'measured')}

    def read(data):
        contract = parse_contract(data.decode('utf-8', 'replace'))
        ', '.join((contract.name, *contract.classes)).encode()  # as a message would carry them
        assert 1 <= contract.size_multiple <= 256

    names = ('\ud800', 'a\x00b', 'a\nb', '\u202e')  # no message could carry them
    changes = ({}, *({'classes': [name]} for name in names))
    good, *found = [json.dumps(sample | change).encode() for change in changes]
    fuzz(document(sample, json.dumps), read, 4, good, found)


@pytest.mark.parametrize('text', [*HOSTILE_YAML, 'x' * 300_000], ids=lambda text: text[:20])
def test_hostile_yaml_is_a_yaml_error(text):
    with pytest.raises(yaml.YAMLError):
        read_yaml(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text('abc '),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
        max_leaves=20,
    )
)
def test_plain_yaml_is_read_as_by_the_safe_loader(value):
    text = yaml.safe_dump(value)
    if '*' not in text:
        assert read_yaml(text) == yaml.safe_load(text) == value


def test_error_is_a_line_that_a_terminal_and_a_log_can_show():
    text = str(FusionError('got ' + '\x1b[2J\x00\ud800\u202e' + 'x' * 100_000 + ' expected y'))
    assert text.isprintable()
    assert len(text) < 2100
    assert text.startswith('got \\x1b[2J\\x00\\ud800\\u202e')
    assert text.endswith('expected y')
