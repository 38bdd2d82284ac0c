import cv2
import numpy as np
import pytest

from tdfusion_ros.build import load_calibration
from tdfusion_ros.core.calibration import Camera
from tdfusion_ros.core.calibration import Extrinsics
from tdfusion_ros.core.calibration import Homography
from tdfusion_ros.core.calibration import Identity
from tdfusion_ros.core.errors import CalibrationError
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.registration import check_view
from tdfusion_ros.core.registration import Registration
from tdfusion_ros.core.registration import rgb_to_ir

TILT = np.array([[0.9, 0.05, 12.0], [-0.04, 0.95, 6.0], [1e-4, -5e-5, 1.0]])


def shift(dx, dy):
    return Homography(np.array([[1.0, 0, dx], [0, 1, dy], [0, 0, 1]]))


@pytest.fixture
def ir(demo_pairs):
    """Return a real ir image in [0, 1]."""
    return demo_pairs[0].ir.pixels.astype(np.float32) / 255


def rig(translation_m=(0.1, 0.02, -0.03), turn=(0.02, -0.05, 0.01), depth=8.0, rgb_d=(), ir_d=()):
    """Return two different cameras, as a rig has them."""
    k_rgb = np.array([[900.0, 0, 650], [0, 910, 355], [0, 0, 1]])
    k_ir = np.array([[510.0, 0, 322], [0, 505, 254], [0, 0, 1]])
    return Extrinsics(
        Camera((720, 1280), k_rgb, np.array(rgb_d)),
        Camera((512, 640), k_ir, np.array(ir_d)),
        cv2.Rodrigues(np.array(turn, float))[0],
        np.array(translation_m, float),
        depth,
    )


def register(calibration, ir, rgb_size_hw):
    registered, coverage = Registration(calibration).apply(ir, rgb_size_hw)
    assert not registered[coverage == 0].any()
    return registered, coverage > 0


def test_identity_stretches_an_image_of_another_size(ir):
    small = cv2.resize(ir, (160, 120), interpolation=cv2.INTER_AREA)
    registered, valid = register(Identity(), small, (480, 640))
    assert registered.shape == valid.shape == (480, 640)
    assert valid.all()
    assert np.abs(registered - ir).mean() < 0.05


def test_homography_agrees_with_opencv(ir):
    registered, valid = register(Homography(TILT), ir, (400, 600))
    # warpPerspective takes the map from the output to the input with this flag.
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    wanted = cv2.warpPerspective(ir, TILT, (600, 400), None, flags, cv2.BORDER_REPLICATE)
    np.testing.assert_allclose(registered, np.where(valid, wanted, 0), atol=0.02)
    seen = cv2.warpPerspective(np.ones_like(ir), TILT, (600, 400), flags=flags)
    assert valid[seen == 1].all()
    assert not valid[seen == 0].any()


@pytest.mark.parametrize(('dx', 'dy'), [(-100, 0), (100, 0), (0, -70), (0, 70), (30, -20)])
def test_outside_of_the_ir_image_is_black_and_not_valid(ir, dx, dy):
    registered, valid = register(shift(dx, dy), ir, ir.shape)
    wanted = np.zeros((480 + 200, 640 + 200), np.float32)
    wanted[100:-100, 100:-100] = ir
    inside = np.zeros(wanted.shape, bool)
    inside[100:-100, 100:-100] = True
    there = np.s_[100 + dy : 580 + dy, 100 + dx : 740 + dx]
    np.testing.assert_array_equal(valid, inside[there])
    np.testing.assert_allclose(registered, wanted[there], atol=1e-6)


BARREL = (-0.4, 0.2, 0.001, -0.002, -0.03)
RATIONAL = (0.3, 0.05, -0.001, 0.002, 0.01, 0.6, 0.1, 0.02)


def by_hand(points, k, d):
    """Return pixels of (n, 3) points: the formulas of OpenCV's manual."""
    k1, k2, p1, p2, k3, k4, k5, k6 = (*d, *[0] * (8 - len(d)))
    x, y = points[:, 0] / points[:, 2], points[:, 1] / points[:, 2]
    r2 = x * x + y * y
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return np.stack([k[0, 0] * u + k[0, 2], k[1, 1] * v + k[1, 2]], axis=1)


@pytest.mark.parametrize('depth_m', [2.0, 8.0])
@pytest.mark.parametrize(
    ('rgb_d', 'ir_d'),
    [((), ()), (BARREL, ()), ((), BARREL), (BARREL, BARREL), (RATIONAL, BARREL)],
    ids=['pinholes', 'rgb distorted', 'ir distorted', 'both', 'rational rgb'],
)
def test_point_of_the_plane_is_mapped_to_where_both_cameras_see_it(rgb_d, ir_d, depth_m):
    calibration = rig(depth=depth_m, rgb_d=rgb_d, ir_d=ir_d)
    x, y = np.meshgrid(np.linspace(-0.7, 0.7, 9), np.linspace(-0.375, 0.375, 7))
    world = depth_m * np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=1)
    there = world @ calibration.rotation.T + calibration.translation_m
    origin = np.zeros(3)
    oracle, _ = cv2.projectPoints(world, origin, origin, calibration.rgb.k, calibration.rgb.d)
    pixels = by_hand(world, calibration.rgb.k, rgb_d)
    np.testing.assert_allclose(pixels, oracle.reshape(-1, 2), atol=1e-6)
    mapped = rgb_to_ir(calibration, pixels, (720, 1280), (512, 640))
    np.testing.assert_allclose(mapped, by_hand(there, calibration.ir.k, ir_d), atol=1e-3)


@pytest.mark.parametrize('count', [12, 14])
def test_lens_with_a_thin_prism_and_a_tilted_sensor_is_mapped_as_opencv_does(count):
    d = (*RATIONAL, 0.002, -0.001, 0.003, 0.001, 0.01, -0.02)[:count]
    calibration = rig(rgb_d=d, ir_d=d)
    x, y = np.meshgrid(np.linspace(-0.6, 0.6, 9), np.linspace(-0.3, 0.3, 7))
    world = 8 * np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=1)
    turn, rgb, ir = cv2.Rodrigues(calibration.rotation)[0], calibration.rgb, calibration.ir
    pixels, _ = cv2.projectPoints(world, np.zeros(3), np.zeros(3), rgb.k, rgb.d)
    wanted, _ = cv2.projectPoints(world, turn, calibration.translation_m, ir.k, ir.d)
    mapped = rgb_to_ir(calibration, pixels, rgb.size_hw, ir.size_hw)
    np.testing.assert_allclose(mapped, wanted, atol=1e-3)


@pytest.mark.parametrize('calibration', [Identity(), shift(3, 4), rig()])
def test_no_points_are_mapped_to_no_points(calibration):
    mapped = rgb_to_ir(calibration, np.zeros((0, 5, 2)), (720, 1280), (512, 640))
    assert mapped.shape == (0, 5, 2)


def test_points_far_outside_of_a_distorted_ir_image_are_not_mapped_into_it():
    wide = Camera((480, 640), np.array([[210.0, 0, 320], [0, 210, 240], [0, 0, 1]]), np.zeros(0))
    k = np.array([[700.0, 0, 320], [0, 700, 256], [0, 0, 1]])
    bent = Camera((512, 640), k, np.array([-0.4, 0, 0, 0, 0]))
    calibration = Extrinsics(wide, bent, np.eye(3), np.zeros(3), 20.0)
    _, valid = register(calibration, np.zeros((512, 640), np.float32), (480, 640))
    # x (1 - 0.4 x²) = 320 / 700 at x = 0.512: farther out nothing may be valid.
    rows, columns = np.nonzero(valid)
    assert np.abs(columns - 320).max() <= 0.6 * 210
    assert np.abs(rows - 240).max() <= 0.6 * 210


def test_rgb_pixels_that_no_ray_reaches_are_not_valid():
    k = np.array([[250.0, 0, 320], [0, 250, 240], [0, 0, 1]])
    bent = Camera((480, 640), k, np.array([-0.4, 0, 0, 0, 0]))  # reaches 0.609 · 250 px
    plain = Camera((480, 640), k, np.zeros(0))
    calibration = Extrinsics(bent, plain, np.eye(3), np.zeros(3), 20.0)
    _, valid = register(calibration, np.zeros((480, 640), np.float32), (480, 640))
    y, x = np.mgrid[0:480, 0:640]
    assert not valid[np.hypot(x - 320, y - 240) > 0.62 * 250].any()
    assert valid[np.hypot(x - 320, y - 240) < 0.55 * 250].all()


def test_calibrations_apply_to_images_of_another_size():
    calibration = rig()
    full = rgb_to_ir(calibration, np.array([[640.0, 360.0]]), (720, 1280), (512, 640))
    # The same place in images of half the size; pixel centers lie at whole numbers.
    half = rgb_to_ir(calibration, np.array([[319.75, 179.75]]), (360, 640), (256, 320))
    np.testing.assert_allclose(half, (full + 0.5) / 2 - 0.5, atol=1e-9)
    matrix = shift(dx=10, dy=4).matrix
    sized = Homography(matrix, (480, 640), (480, 640))
    mapped = rgb_to_ir(sized, np.array([[99.5, 49.5]]), (960, 1280), (240, 320))
    np.testing.assert_allclose(mapped, [[99.5 / 4 - 0.375 + 5, 49.5 / 4 - 0.375 + 2]])


def test_maps_follow_when_an_image_size_changes(ir):
    registration = Registration(shift(dx=0, dy=0))
    registration.apply(ir, ir.shape)
    registered, coverage = registration.apply(ir, (100, 200))
    assert coverage.shape == (100, 200)
    np.testing.assert_allclose(registered, ir[:100, :200], atol=1e-6)


def test_calibration_that_sees_nothing_says_what_to_check(ir):
    with pytest.raises(CalibrationError, match='direction'):
        Registration(shift(dx=5000, dy=0)).apply(ir, ir.shape)
    backward = rig(translation_m=(0, 0, 0), turn=(0, np.pi, 0))
    with pytest.raises(CalibrationError, match='maps no pixel'):
        Registration(backward).apply(np.zeros((64, 80), np.float32), (90, 160))


@pytest.mark.parametrize(
    ('calibration', 'rgb_hw', 'ir_hw', 'stream'),
    [
        (rig(), (1280, 720), (512, 640), 'rgb'),  # width and height interchanged, or rotated
        (rig(), (480, 640), (512, 640), 'rgb'),  # a webcam crops for another mode
        (rig(), (720, 1280), (480, 640), 'ir'),
        (Homography(np.eye(3), None, (512, 640)), (480, 640), (640, 512), 'ir'),
    ],
)
def test_calibration_of_another_part_of_the_view_is_refused(calibration, rgb_hw, ir_hw, stream):
    with pytest.raises(FrameError, match=f'is for {stream} images.*height, width') as caught:
        Registration(calibration).apply(np.zeros(ir_hw, np.float32), rgb_hw)
    assert caught.value.cause == 'calibration'  # a camera may change its mode for some frames


def test_calibration_that_hardly_covers_the_image_is_refused_where_sizes_are_known():
    covers = r'covers \d\.\d% of the rgb image'
    maps = [Homography(shift(dx, 0).matrix, (480, 640), (480, 640)) for dx in (0, -600, -630, 900)]
    for calibration in (*maps[:2], shift(5000, 0), rig()):
        check_view(calibration)
    for calibration, words in zip(
        (*maps[2:], rig(turn=(0, np.pi / 2, 0))), (covers, covers, 'frames'), strict=True
    ):
        with pytest.raises(CalibrationError, match=words):
            check_view(calibration)


@pytest.mark.parametrize('name', ['extrinsics', 'homography'])
def test_border_pixels_are_neither_darkened_nor_left_outside(root, name):
    calibration = load_calibration(str(root / 'config' / 'calibration' / f'{name}.yaml'))
    for rgb_hw, ir_hw in (((480, 640), (256, 320)), ((960, 1280), (512, 640))):
        registered, coverage = Registration(calibration).apply(np.ones(ir_hw, np.float32), rgb_hw)
        assert 0.1 < (coverage > 0).mean() <= 1
        np.testing.assert_array_equal(registered, coverage > 0)
