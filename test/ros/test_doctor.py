"""``tdfusion doctor`` with real publishers over DDS."""

from pathlib import Path
import subprocess
import sys
from time import sleep
from time import time_ns

import pytest
from rig import pictures
from rig.stage import ROOT
from rig.stage import run_module
from std_msgs.msg import String


def examine(client, send, *arguments):
    """Run the doctor while two cameras send; return its exit status and output."""
    doctor = subprocess.Popen(
        [sys.executable, '-m', 'tdfusion_ros.cli', 'doctor', '--seconds', '3', *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        client.wait_until(
            lambda: send() or sleep(0.03) or doctor.poll() is not None, 'the end of the doctor'
        )
    finally:
        doctor.kill()
    return doctor.returncode, doctor.communicate()[0]


def test_good_cameras_pass_and_are_described(stage):
    client = stage.client()
    client.offer('rgb', 'ir', 'rgb_info', 'ir_info')

    def send():
        now = time_ns()
        rgb, ir = pictures.pair(now, skew_ns=4_000_000)
        for stream, message in zip(('rgb', 'ir'), (rgb, ir), strict=True):
            client.send(stream, message)
            client.send(f'{stream}_info', pictures.camera_info(message.header))

    status, output = examine(client, send)
    assert status == 0, output
    lines = [line for line in output.splitlines() if line.startswith('OK    rgb: /rgb/image_raw')]
    assert 'Image, reliable' in lines[0]
    assert 'rgb8 128x96, from /client' in lines[0]
    assert 'OK    skew: 100%' in output
    assert 'the skew is 4.0 ms' in output
    assert 'OK    ir camera_info: calibrated, focal length 554.0 px' in output
    assert 'OK    Fast DDS profile' in output
    assert f'{Path(sys.executable)}' in output


def test_problems_of_cameras_are_named(stage):
    client = stage.client()
    client.offer('ir', reliable=False)
    client.node.create_publisher(String, 'rgb/image_raw', 10)

    def send():
        ir = pictures.image(pictures.scene()[0], 'rggb14', pictures.header(0, 'ir'))
        client.send('ir', ir)

    status, output = examine(client, send, '-p', 'input_qos=RELIABLE')
    assert status == 1
    for text in (
        'FAIL  ir QoS: the publisher offers best effort',
        "FAIL  ir encoding: encoding 'rggb14' cannot be read",
        'stamps are zero',
        'WARN  ir camera_info: none received',
        'FAIL  rgb: /rgb/image_raw is of type std_msgs/msg/String, expected',
    ):
        assert text in output, output


@pytest.mark.parametrize('arguments', [('--namespace', 'a b'), ('--ir-topic', 'ir image')])
def test_an_invalid_ros_name_is_one_error_line(arguments):
    done = run_module('tdfusion_ros.cli', 'doctor', *arguments)
    assert done.returncode == 1
    assert 'is not a valid ROS name' in done.stderr
    assert 'Traceback' not in done.stderr
