"""``tdfusion calibrate`` as a command: the node reads what it writes."""

from dataclasses import replace

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
from tdfusion_ros.tools.calibrate.output import to_mapping
from tdfusion_ros.tools.calibrate.output import yaml_text


def calibrate(*arguments):
    return main(['calibrate', *map(str, arguments)])


def transform_of_ir(header):
    """Return a message of /tf_static: ir 10 cm to the right of rgb."""
    names = ('Vector3', 'Quaternion', 'Transform', 'TransformStamped')
    vector, quaternion, transform, stamped = (
        bag_types().get(f'geometry_msgs/msg/{name}') for name in names
    )
    moved = transform(vector(0.1, 0.0, 0.0), quaternion(0.0, 0.0, 0.0, 1.0))
    head = replace(header, frame_id='rgb_optical_frame')
    return bag_types().get('tf2_msgs/msg/TFMessage')([stamped(head, 'ir_optical_frame', moved)])


def test_calibration_from_a_bag_is_written_with_picture_and_figures(demo, tmp_path, capsys):
    path, rough = tmp_path / 'rig.yaml', tmp_path / 'rough.csv'
    rough.write_text('9,9,2,2\n600,20,606,16\n30,450,36,455\n610,440,600,440\n')
    assert calibrate(demo, '-o', path, '--pairs', 8, '--start', rough) == 0
    printed = capsys.readouterr().out
    for text in ('matches', 'inliers', 'held out', 'p95', 'computed without --focal-px'):
        assert text in printed
    found = load_calibration(str(path))
    assert (found.rgb_size_hw, found.ir_size_hw) == ((480, 640), (480, 640))
    # The demo is registered, except for about 4 px of parallax.
    center = cv2.perspectiveTransform(np.array([[[320.0, 240.0]]]), found.matrix).ravel()
    assert np.linalg.norm(center - (320, 240)) < 10
    assert 'held out' in path.read_text().split('mode:')[0]
    picture = cv2.imread(str(tmp_path / 'rig.png'))
    assert picture.shape[1] == 2 * 640
    assert picture.shape[0] > 3 * 480


def test_picked_points_need_no_images(tmp_path, capsys):
    path, points = tmp_path / 'rig.yaml', tmp_path / 'points.csv'
    rows = [(x, y, 0.9 * x + 10, 0.9 * y + 20) for x in (50, 300, 590) for y in (40, 240, 400)]
    points.write_text('\n'.join(','.join(map(str, row)) for row in rows))
    numbers = ('--focal-px', 768, '--baseline-m', 0.06, '--depth-m', 20)
    assert calibrate('--points', points, '-o', path, *numbers) == 0
    found = load_calibration(str(path))
    np.testing.assert_allclose(found.matrix, [[0.9, 0, 10], [0, 0.9, 20], [0, 0, 1]], atol=1e-9)
    row = next(line for line in capsys.readouterr().out.splitlines() if 'ir px    ' in line)
    assert row.split()[2:] == ['20.7', '6.9', '2.3', '0.0', '1.4', '2.3']
    assert not (tmp_path / 'rig.png').exists()


def test_camera_info_and_tf_of_a_bag_give_extrinsics(write_bag, demo_records, tmp_path, capsys):
    path, moved = tmp_path / 'rig.yaml', transform_of_ir(demo_records[0][2].header)
    rig_bag = write_bag(
        tmp_path / 'rig', [('/tf_static', demo_records[0][1], moved), *demo_records]
    )
    assert calibrate(rig_bag, '--cameras', '--depth-m', 10, '-o', path) == 0
    found = load_calibration(str(path))
    assert isinstance(found, Extrinsics)
    assert found.assumed_depth_m == 10
    # ir is to the right of rgb, so a point of rgb's frame lies farther left in ir's.
    np.testing.assert_allclose(found.translation_m, [-0.1, 0, 0], atol=1e-12)
    printed = capsys.readouterr().out
    assert 'ir is 0.100 m from rgb' in printed
    assert 'infinity' in printed
    assert (tmp_path / 'rig.png').exists()
    cut = tmp_path / 'cut.yaml'
    crop = '-p', 'ir.crop=100, 0, 20, 0'
    assert calibrate(rig_bag, '--cameras', '--depth-m', 10, '-o', cut, *crop) == 0
    left, (height, width) = load_calibration(str(cut)).ir, found.ir.size_hw
    assert left.size_hw == (height - 100, width - 20)
    np.testing.assert_allclose(found.ir.k - left.k, [[0, 0, 20], [0, 0, 100], [0, 0, 0]])


CAMERA = Camera(
    (480, 640), np.array([[554.1, 0, 319.7], [0, 555.3, 1e2], [0, 0, 1]]), 1 / np.arange(3, 8)
)
OTHER = Camera((512, 640), np.diag((1.5, 1.5, 1)) @ CAMERA.k, np.zeros(0))
MATRIX = np.eye(3) + np.random.default_rng(0).normal(0, 1e-5, (3, 3))
ROTATION = cv2.Rodrigues(np.array([1e-6, 0.1, 0]))[0]


@pytest.mark.parametrize(
    'calibration',
    [
        Homography(MATRIX, (480, 640), (512, 640)),
        Homography(MATRIX),
        Extrinsics(CAMERA, OTHER, ROTATION, np.array([1e-7, 0, 1]), 7.5),
    ],
    ids=['homography', 'homography without sizes', 'extrinsics'],
)
def test_a_written_calibration_is_read_again_exactly(calibration):
    text = yaml_text(calibration, ['a long remark ' * 20, 'median 0.5 px: [x] #1'])
    again = parse_calibration(yaml.safe_load(text))
    assert type(again) is type(calibration)
    assert to_mapping(again) == to_mapping(calibration)
