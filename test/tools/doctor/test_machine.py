"""What the doctor says of the machine, without ROS."""

from importlib.metadata import version
import shutil
import subprocess
import sys

import pytest

from tdfusion_ros.core.config import from_mapping
from tdfusion_ros.tools.doctor import installation as machine
from tdfusion_ros.tools.doctor import ros_environment as environment
from tdfusion_ros.tools.doctor.finding import FAIL
from tdfusion_ros.tools.doctor.finding import OK
from tdfusion_ros.tools.doctor.finding import WARN

pytest.importorskip('onnxruntime')


def doctor(root, *arguments):
    return subprocess.run(
        [sys.executable, '-m', 'tdfusion_ros.cli', 'doctor', '--no-topics', *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_machine_that_can_run_the_model_passes(root):
    done = doctor(root, '-p', 'backend=cpu')
    assert done.returncode == 0, done.stdout
    assert f'onnxruntime {version("onnxruntime")}' in done.stdout
    assert f'OK    backend cpu: ONNX Runtime {version("onnxruntime")}' in done.stdout
    assert "OK    model: 'msrs_rt'" in done.stdout
    assert 'FAIL' not in done.stdout


def test_a_calibration_that_cannot_be_read_fails_with_a_remedy(root):
    done = doctor(root, '-p', 'calibration=/no/such.yaml')
    assert done.returncode == 1
    line = done.stdout.index('FAIL  calibration: calibration /no/such.yaml cannot be read')
    assert done.stdout[line:].splitlines()[1].startswith('      -> ')
    assert done.stdout.splitlines()[-1].startswith('1 to be put right')


def test_a_calibration_that_can_be_read_passes(root):
    file = root / 'config' / 'calibration' / 'homography.yaml'
    assert machine.calibration(from_mapping({'calibration': str(file)})).level == OK


@pytest.mark.parametrize('name', ['model.onnx', 'weights.safetensors'])
def test_a_damaged_model_fails(root, tmp_path, name):
    shutil.copytree(root / 'models' / 'msrs_rt', tmp_path / 'bundle')
    content = bytearray((tmp_path / 'bundle' / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / 'bundle' / name).write_bytes(content)
    findings = machine.examine(from_mapping({'model': str(tmp_path / 'bundle')}), print)
    (finding,) = [f for f in findings if f.subject == 'model']
    assert finding.level == FAIL
    assert name in finding.sentence


def test_a_named_backend_that_is_not_there_fails_and_auto_says_what_it_takes(bundle, monkeypatch):
    def none():
        raise machine.FusionError('there is no NVIDIA driver')

    monkeypatch.setattr('tdfusion_ros.backends.gpu.require_driver', none)
    monkeypatch.setattr(machine, 'require_driver', none)
    read = machine.read_bundle(bundle)

    def levels(backend):
        found = machine.engines(from_mapping({'backend': backend}), read, print)
        return {f.subject: f.level for f in found}

    assert levels('trt')['backend trt'] == FAIL
    assert levels('auto') == dict.fromkeys(
        ('backend cpu', 'backend trt', 'backend cuda', 'backend auto'), OK
    )


def test_a_place_that_cannot_be_written_is_told_without_making_it(tmp_path, monkeypatch):
    assert machine.place('cache', tmp_path / 'a' / 'b', 'lost').level == OK
    assert not (tmp_path / 'a').exists()
    (tmp_path / 'file').write_text('')
    finding = machine.place('cache', tmp_path / 'file' / 'b', 'lost')
    assert finding.level == WARN
    assert 'XDG_CACHE_HOME' in finding.remedy


def test_a_save_folder_that_is_not_absolute_is_told():
    assert machine.save_folder(from_mapping({})).level == OK
    finding = machine.save_folder(from_mapping({'save_folder': 'pairs'}))
    assert finding.level == WARN
    assert 'full path' in finding.remedy


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
def test_environment_is_judged(variables, subject, level):
    found = {f.subject: f for f in environment.middleware(variables, 'rmw_fastrtps_cpp')}
    assert found[subject].level == level
    assert bool(found[subject].remedy) == (level != OK)


def test_a_profile_matters_to_fast_dds_only():
    subjects = {f.subject for f in environment.middleware({}, 'rmw_cyclonedds_cpp')}
    assert 'Fast DDS profile' not in subjects


@pytest.mark.parametrize('there', [True, False])
def test_missing_foxglove_msgs_are_named_with_what_to_do_and_are_no_fault(monkeypatch, there):
    def find_spec(name):
        return object() if there or name != 'foxglove_msgs' else None

    monkeypatch.setattr(environment.importlib.util, 'find_spec', find_spec)
    ros, foxglove = environment.installation()
    assert ros.level == foxglove.level == OK
    assert ('apt install ros-$ROS_DISTRO-foxglove-msgs' in foxglove.sentence) is not there
