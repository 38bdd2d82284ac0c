"""Who may import whom: the table of the architecture, held by reading every module."""

import ast
from pathlib import Path
import sys

import pytest

ROOT = Path(__file__).parents[1]
ROS = {
    'ament_index_python',
    'builtin_interfaces',
    'cv_bridge',
    'diagnostic_msgs',
    'foxglove_msgs',
    'geometry_msgs',
    'launch',
    'launch_ros',
    'lifecycle_msgs',
    'message_filters',
    'rcl_interfaces',
    'rclpy',
    'sensor_msgs',
    'std_msgs',
    'std_srvs',
    'vision_msgs',
}
TORCH = {'torch', 'torchvision', 'torch_tensorrt', 'tensorrt', 'safetensors'}
ENGINES = TORCH | {'onnxruntime', 'onnx'}
# Modules of the backends that are torch throughout; the others import them inside functions.
IN_TORCH = {'network', 'device', 'plan'}
# Run without ROS; messages is ROS-free, too.
OFFLINE = {'build', 'bags', 'offline', 'image_files', 'cli', 'reference', 'plain_yaml'}
OFFLINE_ROOMS = {'bench', 'calibrate', 'commands', 'view'}
DOCTOR = {'doctor'}
SHELL = {
    'annotations',
    'node',
    'worker',
    'inputs',
    'outputs',
    'messages',
    'parameters',
    'diagnostics',
    'judging',
    'qos',
    'approximate',
    'rate',
    'reporter',
    'services',
    'signals',
    'snapshot',
}
# Of these what needs no ROS to be imported.
ROS_FREE = {
    'annotations',
    'messages',
    'diagnostics',
    'judging',
    'worker',
    'approximate',
    'rate',
    'signals',
    'snapshot',
}

COMMON = {'config', 'distributed', 'checkpoint', 'markdown'}
TRAINING = {
    'data': {'config', 'distributed', 'data'},
    'method': {*COMMON, 'data', 'method'},
    'measure': {*COMMON, 'data', 'method', 'measure'},
    'loop': {*COMMON, 'data', 'method', 'measure', 'loop'},
    'bundle': {*COMMON, 'data', 'method', 'measure', 'bundle'},
}
"""What each room of the training may import of the training."""


def names_of(tree):
    """Return the modules that the nodes import, written out in full."""
    names = set()
    for node in tree:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, 'relative import'
            if node.module == 'tdfusion_ros':
                names |= {f'tdfusion_ros.{alias.name}' for alias in node.names}
            else:
                names.add(node.module)
    return names


def parse(module):
    return ast.parse((ROOT / module).read_text(encoding='utf-8'))


def imports(module):
    """Return what a module imports anywhere, functions included."""
    return names_of(ast.walk(parse(module)))


def imports_at_once(module):
    """Return what importing a module imports, functions left out."""
    return names_of(parse(module).body)


def ours(names):
    """Return the parts of the package: core, backends, messages, ..."""
    return {name.split('.')[1] for name in names if name.startswith('tdfusion_ros.')}


def others(names):
    packages = {name.partition('.')[0] for name in names}
    return packages - sys.stdlib_module_names - {'tdfusion_ros'}


def modules(pattern):
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(pattern))


def of(*names):
    found = [m for m in modules('tdfusion_ros/*.py') if Path(m).stem in names]
    assert found
    return found


@pytest.mark.parametrize('module', modules('tdfusion_ros/core/*.py'))
def test_core_imports_numpy_opencv_and_itself_only(module):
    names = imports(module)
    assert ours(names) <= {'core'}
    assert others(names) <= {'numpy', 'cv2'}


@pytest.mark.parametrize('module', modules('tdfusion_ros/core/*.py'))
def test_core_touches_no_files(module):
    assert not imports(module) & {'os', 'os.path', 'pathlib', 'io', 'shutil', 'tempfile', 'glob'}
    tree = list(ast.walk(parse(module)))
    called = {n.attr for n in tree if isinstance(n, ast.Attribute)}
    called |= {n.id for n in tree if isinstance(n, ast.Name)}
    files = {'open', 'imread', 'imwrite', 'VideoCapture', 'fromfile', 'tofile', 'loadtxt', 'save'}
    assert not called & files


@pytest.mark.parametrize('module', modules('tdfusion_ros/nets/*.py'))
def test_nets_import_torch_and_themselves_only(module):
    names = imports(module)
    assert ours(names) <= {'nets'}
    assert others(names) <= {'torch'}


@pytest.mark.parametrize('module', modules('tdfusion_ros/backends/*.py'))
def test_backends_import_core_and_load_their_engine_only_when_used(module):
    names = imports(module)
    in_torch = Path(module).stem in IN_TORCH
    assert ours(names) <= {'core', 'backends'} | ({'nets'} if in_torch else set())
    assert others(names) <= ENGINES | {'numpy'}
    assert others(imports_at_once(module)) <= {'numpy'} | (TORCH if in_torch else set())
    if not in_torch:
        heavy = {f'tdfusion_ros.backends.{stem}' for stem in IN_TORCH}
        assert not imports_at_once(module) & heavy


@pytest.mark.parametrize(
    'module',
    [
        *of(*OFFLINE),
        *(m for room in sorted(OFFLINE_ROOMS) for m in modules(f'tdfusion_ros/{room}/*.py')),
    ],
)
def test_what_runs_without_ros_never_imports_it_nor_torch(module):
    names = imports(module)
    shared = {'core', 'backends', 'messages', 'annotations'}
    assert ours(names) <= shared | OFFLINE | OFFLINE_ROOMS | DOCTOR
    assert not others(names) & (ROS | ENGINES)


@pytest.mark.parametrize('module', modules('tdfusion_ros/calibrate/*.py'))
def test_calibration_reads_bags_and_folders_and_knows_no_command_nor_engine(module):
    names = imports(module)
    assert ours(names) <= {'core', 'calibrate', 'bags', 'offline', 'plain_yaml'}
    assert others(names) <= {'numpy', 'cv2', 'yaml'}


@pytest.mark.parametrize('module', modules('tdfusion_ros/doctor/*.py'))
def test_doctor_imports_ros_only_to_listen_and_no_engine(module):
    names = imports(module)
    assert ours(names) <= {'core', 'backends', 'messages', 'build'} | DOCTOR
    assert others(names) <= ROS | {'numpy', 'cv2'}
    assert not others(imports_at_once(module)) & ROS
    if Path(module).stem != 'listen':
        assert not others(names) & ROS


@pytest.mark.parametrize('module', of(*SHELL))
def test_shell_imports_core_build_itself_and_no_engine(module):
    names = imports(module)
    assert ours(names) <= {'core', 'build'} | SHELL
    assert not others(names) & ENGINES
    assert others(names) <= ROS | {'numpy', 'cv2'}


@pytest.mark.parametrize('module', of(*ROS_FREE))
def test_these_modules_of_the_shell_import_no_ros_by_themselves(module):
    assert not others(imports_at_once(module)) & ROS


@pytest.mark.parametrize('module', modules('training/**/*.py'))
def test_training_knows_neither_ros_nor_the_shell(module):
    names = imports(module)
    assert ours(names) <= {'core', 'nets', 'backends', 'build'}
    assert not others(names) & ROS


@pytest.mark.parametrize('module', modules('training/*/*.py'))
def test_rooms_of_the_training_import_in_one_direction(module):
    names = {name for name in imports(module) if name.startswith('training.')}
    rooms = {name.split('.')[1] for name in names}
    assert rooms <= TRAINING[Path(module).parent.name]


@pytest.mark.parametrize('module', modules('tdfusion_ros/**/*.py'))
def test_nothing_on_the_robot_imports_training(module):
    assert 'training' not in others(imports(module))


def test_table_covers_every_module_of_the_package():
    known = SHELL | OFFLINE | {'__init__'}
    assert {Path(m).stem for m in modules('tdfusion_ros/*.py')} <= known
    folders = {Path(m).parts[1] for m in modules('tdfusion_ros/*/*.py')}
    assert folders <= {'core', 'nets', 'backends'} | OFFLINE_ROOMS | DOCTOR
