"""What the doctor finds on the machine, without ROS."""

from importlib.metadata import version
from pathlib import Path
import re
import shutil

import pytest

from tdfusion_ros.cli import main
from tdfusion_ros.core.config import from_mapping
from tdfusion_ros.tools.doctor import installation
from tdfusion_ros.tools.doctor import ros_environment
from tdfusion_ros.tools.doctor.finding import FAIL
from tdfusion_ros.tools.doctor.finding import OK
from tdfusion_ros.tools.doctor.finding import WARN

pytest.importorskip('onnxruntime')


def doctor(capsys, *arguments):
    """Run the doctor; return its exit status and what it printed."""
    return main(['doctor', '--no-topics', *arguments]), capsys.readouterr().out


def test_a_machine_that_can_run_the_model_passes_but_no_unreadable_calibration(root, capsys):
    calibration = root / 'config' / 'calibration' / 'homography.yaml'
    status, out = doctor(capsys, '-p', 'backend=cpu', '-p', f'calibration={calibration}')
    assert status == 0, out
    assert f'onnxruntime {version("onnxruntime")}' in out
    assert f'OK    backend cpu: ONNX Runtime {version("onnxruntime")}' in out
    assert "OK    model: 'msrs_rt'" in out
    assert f'OK    calibration: {calibration} can be read' in out
    assert not any(line.startswith('FAIL') for line in out.splitlines())
    status, out = doctor(capsys, '-p', 'backend=cpu', '-p', 'calibration=/no/such.yaml')
    assert status == 1
    line = out.index('FAIL  calibration: calibration /no/such.yaml cannot be read')
    assert out[line:].splitlines()[1].startswith('      -> ')
    assert out.splitlines()[-1].startswith('1 to fix (FAIL)')


@pytest.mark.parametrize('name', ['model.onnx', 'weights.safetensors'])
def test_a_damaged_model_fails(root, tmp_path, name):
    shutil.copytree(root / 'models' / 'msrs_rt', tmp_path / 'bundle')
    content = bytearray((tmp_path / 'bundle' / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / 'bundle' / name).write_bytes(content)
    found = installation.check(from_mapping({'model': str(tmp_path / 'bundle')}), print)
    (finding,) = [finding for finding in found if finding.subject == 'model']
    assert finding.level == FAIL
    assert name in finding.found


def test_a_selected_backend_that_is_missing_fails_and_auto_reports_its_choice(bundle, monkeypatch):
    def no_driver():
        raise installation.FusionError('there is no NVIDIA driver')

    monkeypatch.setattr('tdfusion_ros.backends.gpu.require_driver', no_driver)
    monkeypatch.setattr(installation, 'require_driver', no_driver)
    read = installation.read_bundle(bundle)

    def levels(backend):
        found = installation.check_backends(from_mapping({'backend': backend}), read, print)
        return {finding.subject: finding.level for finding in found}

    assert levels('trt')['backend trt'] == FAIL
    assert levels('auto') == dict.fromkeys(
        ('backend cpu', 'backend trt', 'backend cuda', 'backend auto'), OK
    )


def test_a_folder_that_cannot_be_written_is_found_without_creating_it(tmp_path):
    assert installation.check_folder('cache', tmp_path / 'a' / 'b', 'lost').level == OK
    assert not (tmp_path / 'a').exists()
    (tmp_path / 'file').write_text('')
    assert installation.check_save_folder(from_mapping({})).level == OK
    for finding, remedy in (
        (installation.check_folder('cache', tmp_path / 'file' / 'b', 'lost'), 'XDG_CACHE_HOME'),
        (installation.check_save_folder(from_mapping({'save_folder': 'pairs'})), 'full path'),
    ):
        assert finding.level == WARN
        assert remedy in finding.remedy


@pytest.mark.parametrize(
    ('variables', 'subject', 'level'),
    [
        ({}, 'Fast DDS profile', WARN),
        ({'FASTRTPS_DEFAULT_PROFILES_FILE': __file__}, 'Fast DDS profile', OK),
        ({'FASTDDS_DEFAULT_PROFILES_FILE': '/no/such.xml'}, 'Fast DDS profile', FAIL),
        ({}, 'discovery', OK),
        ({'ROS_LOCALHOST_ONLY': '1'}, 'discovery', WARN),
        ({'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}, 'discovery', WARN),
        ({'ROS_AUTOMATIC_DISCOVERY_RANGE': 'OFF'}, 'discovery', FAIL),
        ({'ROS_DOMAIN_ID': '17'}, 'ROS_DOMAIN_ID', OK),
        ({'ROS_DOMAIN_ID': '200'}, 'ROS_DOMAIN_ID', WARN),
        ({'ROS_DOMAIN_ID': 'mine'}, 'ROS_DOMAIN_ID', WARN),
    ],
)
def test_environment_variables_have_a_level(variables, subject, level):
    found = ros_environment.check_middleware(variables, 'rmw_fastrtps_cpp')
    (finding,) = [finding for finding in found if finding.subject == subject]
    assert finding.level == level
    assert bool(finding.remedy) == (level != OK)
    other = ros_environment.check_middleware(variables, 'rmw_cyclonedds_cpp')
    assert 'Fast DDS profile' not in {finding.subject for finding in other}


def test_the_profile_to_export_is_the_installed_file():
    remedy = ros_environment.check_middleware({}, 'rmw_fastrtps_cpp')[-1].remedy
    assert Path(re.search(r'=(\S+)', remedy)[1]).is_file()


@pytest.mark.parametrize(
    ('missing', 'levels', 'text'),
    [
        ((), [OK, OK], 'foxglove_msgs is installed'),
        (('foxglove_msgs',), [OK, OK], 'apt install ros-$ROS_DISTRO-foxglove-msgs'),
        (('vision_msgs',), [FAIL], 'apt install ros-$ROS_DISTRO-vision-msgs'),
        (('rclpy',), [WARN], 'the node cannot run'),
    ],
)
def test_missing_ros_packages_are_named_with_what_to_do(monkeypatch, missing, levels, text):
    monkeypatch.setattr(ros_environment, 'find_spec', lambda name: name not in missing or None)
    found = ros_environment.check_packages()
    assert [finding.level for finding in found] == levels
    assert text in str(found[-1])
