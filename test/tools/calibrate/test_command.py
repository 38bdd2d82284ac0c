"""``tdfusion calibrate`` as people call it: what it writes is what the node reads."""

import copy

import cv2
import numpy as np
import pytest
import yaml

from tdfusion_ros.build import load_calibration
from tdfusion_ros.cli import main
from tdfusion_ros.core.calibration import Camera
from tdfusion_ros.core.calibration import Extrinsics
from tdfusion_ros.core.calibration import Homography
from tdfusion_ros.core.calibration import parse_calibration
from tdfusion_ros.formats.bags import bag_types
from tdfusion_ros.tools.calibrate.output import yaml_text


def calibrate(*arguments):
    return main(['calibrate', *map(str, arguments)])


@pytest.fixture
def points(tmp_path):
    """Return a file of exact points: ir = 0.9 rgb + (10, 20)."""
    path = tmp_path / 'points.csv'
    rows = [(x, y, 0.9 * x + 10, 0.9 * y + 20) for x in (50, 300, 590) for y in (40, 240, 400)]
    path.write_text('\n'.join(','.join(map(str, row)) for row in rows))
    return path


@pytest.fixture
def rig_bag(write_bag, demo_records, tmp_path):
    """Write six pairs of the demo with /tf_static: ir 10 cm to the right of rgb."""

    def write(name='rig', frames=('rgb_optical_frame', 'ir_optical_frame'), change=lambda m: m):
        types = bag_types().get
        geometry = 'geometry_msgs/msg/'
        head = copy.deepcopy(demo_records[0][2].header)
        head.frame_id = frames[0]
        moved = types(geometry + 'TransformStamped')(
            header=head,
            child_frame_id=frames[1],
            transform=types(geometry + 'Transform')(
                translation=types(geometry + 'Vector3')(x=0.1, y=0.0, z=0.0),
                rotation=types(geometry + 'Quaternion')(x=0.0, y=0.0, z=0.0, w=1.0),
            ),
        )
        static = types('tf2_msgs/msg/TFMessage')(transforms=[moved])
        records = [(topic, at, change(copy.copy(m))) for topic, at, m in demo_records]
        return write_bag(tmp_path / name, [('/tf_static', records[0][1], static), *records])

    return write


def test_calibration_from_a_bag_is_written_with_its_picture_and_its_figures(
    demo, tmp_path, capsys
):
    path, rough = tmp_path / 'rig.yaml', tmp_path / 'rough.csv'
    rough.write_text('9,9,2,2\n600,20,606,16\n30,450,36,455\n610,440,600,440\n')
    assert calibrate(demo, '-o', path, '--pairs', 8, '--start', rough) == 0
    said = capsys.readouterr().out
    for words in (
        'matches',
        'inliers',
        'held out',
        'p95',
        'cannot be computed without --focal-px',
    ):
        assert words in said
    found = load_calibration(str(path))
    assert (found.rgb_size_hw, found.ir_size_hw) == ((480, 640), (480, 640))
    # The demo is registered, except for about 4 px of parallax.
    center = cv2.perspectiveTransform(np.array([[[320.0, 240.0]]]), found.matrix).ravel()
    assert np.linalg.norm(center - (320, 240)) < 10
    assert 'held out' in path.read_text().split('mode:')[0]
    picture = cv2.imread(str(tmp_path / 'rig.png'))
    assert picture.shape[1] == 2 * 640
    assert picture.shape[0] > 3 * 480


def test_picked_points_need_no_images(points, tmp_path, capsys):
    path = tmp_path / 'rig.yaml'
    given = ('--focal-px', 768, '--baseline-m', 0.06, '--depth-m', 20)
    assert calibrate('--points', points, '-o', path, *given) == 0
    found = load_calibration(str(path))
    np.testing.assert_allclose(found.matrix, [[0.9, 0, 10], [0, 0.9, 20], [0, 0, 1]], atol=1e-9)
    row = next(line for line in capsys.readouterr().out.splitlines() if 'ir px    ' in line)
    assert row.split()[2:] == ['20.7', '6.9', '2.3', '0.0', '1.4', '2.3']
    assert not (tmp_path / 'rig.png').exists()


def test_camera_info_and_tf_of_a_bag_give_extrinsics(rig_bag, tmp_path, capsys):
    path = tmp_path / 'rig.yaml'
    assert calibrate(rig_bag(), '--cameras', '--depth-m', 10, '-o', path) == 0
    found = load_calibration(str(path))
    assert isinstance(found, Extrinsics)
    assert found.assumed_depth_m == 10
    # ir is to the right of rgb, so a point of rgb's frame lies farther left in ir's.
    np.testing.assert_allclose(found.translation_m, [-0.1, 0, 0], atol=1e-12)
    said = capsys.readouterr().out
    assert 'ir is 0.100 m from rgb' in said
    assert 'infinity' in said
    assert (tmp_path / 'rig.png').exists()


def uncalibrated(message):
    if hasattr(message, 'distortion_model'):
        message.k = np.zeros(9)
    return message


def other_mode(message):
    if hasattr(message, 'distortion_model'):
        message.height = 360
    return message


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'change': uncalibrated}, 'rgb camera_info is not calibrated'),
        ({'change': other_mode}, 'is for 640x360, but the images are 640x480'),
        ({'frames': ('base', 'ir_optical_frame')}, 'does not connect the rgb frame'),
    ],
)
def test_a_bag_whose_cameras_cannot_be_used_is_refused_in_one_sentence(
    rig_bag, tmp_path, capsys, change, words
):
    path = tmp_path / 'rig.yaml'
    assert calibrate(rig_bag(**change), '--cameras', '--depth-m', 10, '-o', path) == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert words in sentence
    assert not path.exists()


WRONG = {
    'give a bag, two folders': (),
    'cannot be written': ('--points', 'points', '-o', '/nowhere/rig.yaml'),
    'does not exist': ('/nowhere',),
    'choose one': ('--points', 'points', '--cameras'),
    'give the distance': ('demo', '--cameras'),
    'does not connect': ('demo', '--cameras', '--depth-m', '5'),
    '--pairs must be at least 1': ('demo', '--pairs', '0'),
    'the camera_info of ir is missing': ('--rgb-info', 'info', '--depth-m', '5'),
    'must be above 0': (
        *('--points', 'points', '--focal-px', '-1'),
        *('--baseline-m', '1', '--depth-m', '1'),
    ),
}


@pytest.mark.parametrize('words', WRONG)
def test_what_is_wrong_is_said_in_one_sentence(words, points, demo, tmp_path, capsys):
    info = tmp_path / 'info.yaml'
    info.write_text(
        'image_width: 640\nimage_height: 480\ndistortion_model: plumb_bob\n'
        'camera_matrix: {data: [554.0, 0, 319.5, 0, 554.0, 239.5, 0, 0, 1]}\n'
        'distortion_coefficients: {data: [0, 0, 0, 0, 0]}\n'
    )
    places = {'points': points, 'demo': demo, 'info': info}
    given = ['-o', tmp_path / 'rig.yaml', *(places.get(word, word) for word in WRONG[words])]
    assert calibrate(*given) == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert words in sentence
    assert not (tmp_path / 'rig.yaml').exists()


@pytest.mark.parametrize('kind', ['homography', 'homography without sizes', 'extrinsics'])
def test_what_is_written_is_read_again_to_the_last_bit(kind):
    rng = np.random.default_rng(0)
    matrix = np.eye(3) + rng.normal(0, 1e-5, (3, 3))
    k = np.array([[554.1, 0, 319.7], [0, 555.3, 1e2], [0, 0, 1]])
    camera = Camera((480, 640), k, rng.normal(size=5))
    made = {
        'homography': Homography(matrix, (480, 640), (512, 640)),
        'homography without sizes': Homography(matrix),
        'extrinsics': Extrinsics(
            camera, camera, cv2.Rodrigues(np.array([1e-6, 0.1, 0]))[0], np.array([1e-7, 0, 1]), 7.5
        ),
    }[kind]
    text = yaml_text(made, ['a long remark ' * 20, 'median 0.5 px: [x] #1'])
    again = parse_calibration(yaml.safe_load(text))
    assert type(again) is type(made)
    if kind == 'extrinsics':
        for name in ('rotation', 'translation_m', 'assumed_depth_m'):
            np.testing.assert_array_equal(getattr(again, name), getattr(made, name))
        np.testing.assert_array_equal(again.rgb.k, camera.k)
        np.testing.assert_array_equal(again.ir.d, camera.d)
    else:
        np.testing.assert_array_equal(again.matrix, made.matrix)
        assert (again.rgb_size_hw, again.ir_size_hw) == (made.rgb_size_hw, made.ir_size_hw)
