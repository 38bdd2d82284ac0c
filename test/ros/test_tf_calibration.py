"""``calibration: tf``: the node registers with camera_info and TF, and follows their changes."""

from geometry_msgs.msg import TransformStamped
import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile
from rig import pictures
from rig.lifecycle import Manager

from tdfusion_ros.core.calibration import Camera
from tdfusion_ros.core.calibration import cropped
from tdfusion_ros.core.calibration import Extrinsics
from tdfusion_ros.core.registration import Registration

tf2 = pytest.importorskip('tf2_msgs.msg', reason='run pip_ros/build_messages.py')
HEIGHT, WIDTH = pictures.SMALL_HW
DEPTH_M = 2.0


def expected(scale, shift_m, below):
    """
    Return the registered ir image.

    :param scale: of the focal length; ``shift_m``: of ir to the right; ``below``: rows cut off.
    """
    info = pictures.camera_info(pictures.header(1, ''))
    k = np.array(info.k).reshape(3, 3)
    k[[0, 1], [0, 1]] *= scale
    camera = Camera((HEIGHT, WIDTH), k, np.array(info.d))
    rig = Extrinsics(camera, camera, np.eye(3), np.array([-shift_m, 0, 0]), DEPTH_M)
    ir = pictures.scene(0)[1][: HEIGHT - below].astype(np.float32) / 65535
    cut = cropped(rig, (HEIGHT, WIDTH), (0, below, 0, 0))
    return Registration(cut).apply(ir, (HEIGHT, WIDTH))[0]


def test_the_node_follows_camera_info_and_tf(stage):
    process = stage.start_node(
        {'calibration': 'tf', 'calibration_depth_m': DEPTH_M, 'ir.normalization': 'passthrough'}
    )
    client = stage.client()
    client.process = process
    client.offer('rgb', 'ir', 'rgb_info', 'ir_info')
    client.listen('ir_registered/image_raw')
    profile = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    static = client.node.create_publisher(tf2.TFMessage, '/tf_static', profile)
    state = {'scale': 1.0}

    def put_ir(shift_m):
        moved = TransformStamped(header=pictures.header(1, 'rgb_optical_frame'))
        moved.child_frame_id = 'ir_optical_frame'
        moved.transform.translation.x = shift_m
        moved.transform.rotation.w = 1.0
        static.publish(tf2.TFMessage(transforms=[moved]))

    def make_pair(stamp_ns):
        for stream in ('rgb', 'ir'):
            info = pictures.camera_info(pictures.header(stamp_ns, stream))
            scale = state['scale']
            info.k = [info.k[0] * scale, 0.0, info.k[2], 0.0, info.k[4] * scale, *info.k[5:]]
            client.send(f'{stream}_info', info)
        return pictures.pair(stamp_ns, seed=0)

    def shows(shift_m, below=0):
        """Send pairs until the registered image is the expected one."""
        wanted = np.round(expected(state['scale'], shift_m, below) * 255)

        def is_right():
            found = client.received['ir_registered/image_raw']
            return bool(found) and np.abs(pictures.pixels(found[-1]) - wanted).max() <= 1

        client.drive(is_right, make_pair)

    client.connect()
    client.drive(lambda: 'TF does not connect' in process.log(), make_pair)
    assert not client.received['ir_registered/image_raw']
    put_ir(0.0)
    shows(0.0)
    put_ir(0.05)
    shows(0.05)
    state['scale'] = 1.5
    shows(0.05)
    assert not Manager(client).set('ir.crop', f'0, {HEIGHT // 2}, 0, 0')
    shows(0.05, HEIGHT // 2)
