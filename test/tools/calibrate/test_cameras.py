"""camera_info, TF and distances: what is read, what is refused, and the error by distance."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import yaml

from tdfusion_ros.core.calibration import Camera
from tdfusion_ros.core.calibration import cropped_camera
from tdfusion_ros.core.calibration import cropped_size
from tdfusion_ros.core.calibration import Extrinsics
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.formats import camera_info
from tdfusion_ros.formats import transforms
from tdfusion_ros.formats.camera_info import describes
from tdfusion_ros.formats.camera_info import region_of
from tdfusion_ros.tools.calibrate import cameras
from tdfusion_ros.tools.calibrate.geometry import DISTANCES_M
from tdfusion_ros.tools.calibrate.geometry import errors_by_distance_px
from tdfusion_ros.tools.calibrate.geometry import parallax_by_distance_px

K = [[554.0, 0, 319.5], [0, 555.0, 239.5], [0, 0, 1]]
D = [-0.3, 0.1, 0.001, -0.002, 0.0]


def info(size_hw=(480, 640), k=K, d=D, model='plumb_bob', roi=(0, 0, 0, 0), binning=0):
    """Return a camera_info message, as far as it is read; roi: left, top, width, height."""
    names = ('x_offset', 'y_offset', 'width', 'height')
    return SimpleNamespace(
        height=size_hw[0],
        width=size_hw[1],
        k=np.ravel(k),
        d=np.array(d, float),
        distortion_model=model,
        roi=SimpleNamespace(**dict(zip(names, roi, strict=True))),
        binning_x=binning,
        binning_y=binning,
    )


def ros_yaml(path, without=''):
    raw = {
        'image_width': 640,
        'image_height': 480,
        'camera_matrix': {'rows': 3, 'cols': 3, 'data': np.ravel(K).tolist()},
        'distortion_model': 'plumb_bob',
        'distortion_coefficients': {'rows': 1, 'cols': 5, 'data': D},
    }
    raw.pop(without, None)
    path.write_text(yaml.safe_dump(raw))
    return path


def test_camera_is_the_same_from_a_message_and_a_file(tmp_path):
    one = camera_info.camera_from_message(info(), 'ir', (480, 640))
    two = cameras.camera_from_file(ros_yaml(tmp_path / 'ir.yaml'), 'ir', (480, 640))
    assert one.size_hw == two.size_hw == (480, 640)
    np.testing.assert_array_equal(one.k, two.k)
    np.testing.assert_array_equal(one.d, two.d)


def test_camera_info_of_the_full_sensor_and_any_zero_distortion_are_used():
    k = np.array([[1108, 0, 639.5], [0, 1110, 479.5], [0, 0, 1]])
    full = camera_info.camera_from_message(info((960, 1280), k), 'rgb', (480, 640))
    assert full.size_hw == (480, 640)
    np.testing.assert_allclose(full.k, K)
    for model in ('fancy', '', 'plumb_bob'):
        camera = camera_info.camera_from_message(info(d=[0.0] * 14, model=model), 'rgb')
        assert camera.d.shape == (0,)


@pytest.mark.parametrize('is_given', [True, False])
@pytest.mark.parametrize('binning_xy', [(0, 0), (1, 1), (2, 2), (2, 1)])
def test_roi_is_cropped_from_the_full_image_and_binning_scales_it(binning_xy, is_given):
    """A pixel of the crop lies where it lies in the full image."""
    given = info(roi=(100, 160, 320, 200))
    given.binning_x, given.binning_y = binning_xy
    columns, rows = np.maximum(binning_xy, 1)
    sent_hw = (200 // rows, 320 // columns)
    cropped = camera_info.camera_from_message(given, 'ir', *([sent_hw] if is_given else []))
    assert cropped.size_hw == sent_hw
    np.testing.assert_array_equal(cropped.d, D)
    ray = np.array([[[0.1, -0.05, 1.0]]])
    whole, part = (
        cv2.projectPoints(ray, np.zeros(3), np.zeros(3), k, np.array(D))[0].reshape(2)
        for k in (np.array(K), cropped.k)
    )
    np.testing.assert_allclose((part + 0.5) * (columns, rows) - 0.5, whole - (100, 160))


@pytest.mark.parametrize(
    ('cut', 'info_hw'),
    [
        ((0, 240, 0, 0), (480, 640)),  # two pictures in one
        ((60, 60, 80, 80), (480, 640)),  # the same proportions as before
        ((60, 60, 80, 80), (960, 1280)),  # camera_info of the whole sensor
        ((2, 0, 0, 0), (478, 640)),  # it does not count the telemetry
    ],
)
def test_camera_info_of_whole_images_follows_what_is_cut_off(cut, info_hw):
    zoom = info_hw[1] / 640
    k = np.diag((zoom, zoom, 1)) @ K
    k[:2, 2] = [(info_hw[1] - 1) / 2, (info_hw[0] - 1) / 2]
    left_hw = cropped_size((480, 640), cut)
    camera = camera_info.camera_from_message(info(info_hw, k), 'ir', (480, 640), left_hw)
    camera = cropped_camera(camera, (480, 640), cut)
    moved = (0, 0) if info_hw == left_hw else (cut[2], cut[0])
    whole_hw = left_hw if info_hw == left_hw else (480, 640)
    assert camera.size_hw == left_hw
    np.testing.assert_allclose(camera.k[:2, :2], np.diag((554, 555)))
    np.testing.assert_allclose(
        camera.k[:2, 2], [(whole_hw[1] - 1) / 2 - moved[0], (whole_hw[0] - 1) / 2 - moved[1]]
    )


def test_camera_info_belongs_to_the_images_that_are_sent():
    cropped = info(roi=(100, 160, 320, 200), binning=2)
    assert region_of(cropped).sent_size_hw == (100, 160)
    assert describes(cropped, (100, 160))
    assert describes(info(binning=2), (240, 320))
    assert describes(info(binning=2), (480, 640))  # as some drivers write it
    assert not describes(info(), (240, 320))


@pytest.mark.parametrize(
    ('given', 'reason'),
    [
        ({'k': np.zeros((3, 3))}, r'not calibrated: its K has the focal length 0; calibrate it'),
        ({'k': np.full((3, 3), np.nan)}, 'not calibrated'),
        ({'size_hw': (0, 0)}, 'has the size 0x0'),
        ({'size_hw': (512, 640)}, 'is for 640x512, but the images are 640x480'),
        ({'roi': (0, 0, 320, 240)}, r'a roi of 320x240 at \(0, 0\) .*the images are 640x480'),
        ({'roi': (400, 0, 320, 240)}, 'does not lie in its size 640x480'),
        ({'size_hw': (960, 1280), 'binning': 2}, 'seems to belong to the binned image, 640x480'),
        ({'size_hw': (240, 320)}, 'does not fit its size 320x240: the principal point is at 100%'),
        ({'k': [[9e4, 0, 320], [0, 9e4, 240], [0, 0, 1]]}, 'the focal length is 90000 px'),
        ({'d': [0.0] * 4, 'model': 'equidistant'}, "'equidistant', which is no pinhole"),
        ({'d': [], 'model': 'double_sphere'}, "'double_sphere', which is no pinhole"),
        ({'d': [0.1] * 4, 'model': 'thin_prism'}, "'thin_prism' with 4 numbers, expected"),
        ({'d': [0.1] * 13, 'model': 'rational_polynomial'}, 'with 13 numbers'),
    ],
)
def test_camera_info_that_cannot_be_used_is_refused_with_the_reason(given, reason):
    with pytest.raises(CalibrationError, match=f'ir camera_info .*{reason}'):
        camera_info.camera_from_message(info(**given), 'ir', (480, 640))


@pytest.mark.parametrize('key', ['image_width', 'camera_matrix', 'distortion_coefficients'])
def test_a_file_without_a_required_key_is_refused_with_its_name(tmp_path, key):
    path = ros_yaml(tmp_path / 'ir.yaml', key)
    with pytest.raises(CalibrationError, match=rf'ir\.yaml is not .*{key}'):
        cameras.camera_from_file(path, 'ir')


def tf(parent, child, turn=(0, 0, 0), t=(0, 0, 0)):
    """Return a transform: X_parent = R(turn) X_child + t."""
    angle = np.linalg.norm(turn)
    xyz = np.array(turn) / (angle or 1) * np.sin(angle / 2)
    moved, turned = dict(zip('xyz', t, strict=True)), dict(zip('xyz', xyz, strict=True))
    rotation = SimpleNamespace(**turned, w=np.cos(angle / 2))
    transform = SimpleNamespace(translation=SimpleNamespace(**moved), rotation=rotation)
    head = SimpleNamespace(frame_id=parent)
    return SimpleNamespace(header=head, child_frame_id=child, transform=transform)


def matrix(turn, t):
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = cv2.Rodrigues(np.array(turn, float))[0], t
    return out


def test_pose_from_tf_equals_the_product_of_matrices():
    base_rgb = (0.1, -0.2, 0.3), (0.5, 0.1, 0.2)
    base_mast = (0, 0, 1.0), (0.0, 0.0, 1.0)
    mast_ir = (-0.05, 0.02, 0.4), (0.02, 0.03, -0.01)
    first = [tf('base', 'rgb', *base_rgb), tf('odd', 'other')]
    second = [tf('base', 'mast', *base_mast), tf('/mast', 'ir', *mast_ir)]
    messages = [SimpleNamespace(transforms=items) for items in (first, second)]
    found = transforms.pose_from_tf(messages, 'rgb', '/ir')
    wanted = np.linalg.inv(matrix(*base_mast) @ matrix(*mast_ir)) @ matrix(*base_rgb)
    np.testing.assert_allclose(found, wanted, atol=1e-12)


@pytest.mark.parametrize(
    ('parent', 'w', 'reason'),
    [
        ('base', 1.0, r"connect the rgb frame 'rgb' .* 'ir'; .* base, ir"),
        ('rgb', 0.0, r"'ir' has a quaternion of length 0\.000"),
    ],
)
def test_tf_that_gives_no_pose_is_refused(parent, w, reason):
    item = tf(parent, 'ir')
    item.transform.rotation.w = w
    with pytest.raises(CalibrationError, match=reason):
        transforms.pose_from_tf([SimpleNamespace(transforms=[item])], 'rgb', 'ir')


def test_pose_is_read_from_a_file_in_both_forms(tmp_path):
    path = tmp_path / 'pose.yaml'
    path.write_text('quaternion_xyzw: [0, 0, 0.7071068, 0.7071068]\ntranslation_m: [1, 2, 3]\n')
    turned = cameras.pose_from_file(path)
    np.testing.assert_allclose(turned[:3, :3], [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-6)
    path.write_text(f'rotation: {turned[:3, :3].tolist()}\ntranslation_m: [1, 2, 3]\n')
    np.testing.assert_array_equal(cameras.pose_from_file(path), turned)
    path.write_text('rotation: [1, 2]\ntranslation_m: [1, 2, 3]\n')
    with pytest.raises(CalibrationError, match=r'pose\.yaml must have'):
        cameras.pose_from_file(path)


def test_error_by_distance_of_parallel_cameras_is_focal_length_times_baseline():
    one = Camera((480, 640), np.array(K), np.zeros(0))
    two = Camera((480, 640), np.array([[768.0, 0, 320], [0, 768, 240], [0, 0, 1]]), np.zeros(0))
    made = Extrinsics(one, two, np.eye(3), np.array([0.06, 0, 0]), 20.0)
    wanted = [abs(768 * 0.06 * (1 / d - 1 / 20)) for d in DISTANCES_M]
    np.testing.assert_allclose(errors_by_distance_px(made), wanted, atol=1e-3)
    np.testing.assert_allclose(parallax_by_distance_px(768, 0.06, 20.0), wanted)
    assert errors_by_distance_px(made)[DISTANCES_M.index(20.0)] == 0
