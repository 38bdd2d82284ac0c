"""Who may import whom: the table in CONTRIBUTING.md, checked by reading every module."""

import ast
from pathlib import Path
import sys

import pytest

ROOT = Path(__file__).parents[1]
ROS = {
    *('ament_index_python', 'builtin_interfaces', 'cv_bridge', 'diagnostic_msgs', 'foxglove_msgs'),
    *('geometry_msgs', 'launch', 'launch_ros', 'lifecycle_msgs', 'message_filters'),
    *('rcl_interfaces', 'rclpy', 'sensor_msgs', 'std_msgs', 'std_srvs', 'tf2_msgs', 'vision_msgs'),
}
TORCH = {'torch', 'torchvision', 'torch_tensorrt', 'tensorrt', 'safetensors'}
ENGINES = TORCH | {'onnxruntime', 'onnx', 'tensorrt_rtx_bindings'}
IN_TORCH = {'torch_network', 'cuda_graph', 'trt_plan'}
"""Modules of the backends that import torch at once; the others do so inside functions."""
ENGINE_OF = dict.fromkeys(IN_TORCH, TORCH) | {'rtx_compiler': {'onnx', 'tensorrt_rtx_bindings'}}

ROOMS = {
    'core': {'core'},
    'nets': {'nets'},
    'backends': {'core', 'backends', 'atomic'},
    'formats': {'core', 'formats', 'atomic'},
    'node': {'core', 'formats', 'build', 'node'},
    'compose': {'core', 'backends', 'compose', 'atomic'},
    'tools': {'core', 'backends', 'compose', 'formats', 'build', 'tools', 'atomic'},
}
"""What each folder of the package may import of the package."""
FILES = {
    'atomic': {'core'},
    'build': {'core', 'backends', 'formats'},
    'cli': {'core', 'tools'},
    'library': {'build', 'core'},
    '__init__': {'core', 'library'},
}
"""What the modules next to the folders may import of the package."""
OTHERS = {
    'core': {'numpy', 'cv2'},
    'nets': {'torch'},
    'backends': ENGINES | {'numpy'},
    'compose': {'numpy', 'onnx', 'onnxruntime'},
    'node': ROS | {'numpy', 'cv2'},
}
"""What the folders with a fixed list may import of others."""

COMMON = {'config', 'checkpoint'}
TRAINING = {
    'data': {'config', 'data'},
    'method': {*COMMON, 'data', 'method'},
    'measure': {*COMMON, 'data', 'method', 'measure'},
    'loop': {*COMMON, 'data', 'method', 'measure', 'loop'},
    'bundle': {*COMMON, 'data', 'method', 'measure', 'bundle'},
}
"""What each folder of the training may import of the training."""


def names_of(nodes):
    """Return the modules that the syntax nodes import, written out in full."""
    names = set()
    for node in nodes:
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
    """Return the parts of the package: core, backends, formats, ..."""
    return {name.split('.')[1] for name in names if name.startswith('tdfusion_ros.')}


def others(names):
    packages = {name.partition('.')[0] for name in names}
    return packages - sys.stdlib_module_names - {'tdfusion_ros'}


def modules(pattern):
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(pattern))


def room_of(module):
    return Path(module).parts[1].removesuffix('.py')


def in_rooms(*rooms):
    return [m for m in modules('tdfusion_ros/**/*.py') if room_of(m) in rooms]


@pytest.mark.parametrize('module', modules('tdfusion_ros/**/*.py'))
def test_each_module_imports_what_its_room_may_and_never_the_training(module):
    allowed = (ROOMS | FILES)[room_of(module)]
    if Path(module).stem in IN_TORCH:
        allowed = allowed | {'nets'}
    assert ours(imports(module)) <= allowed
    assert others(imports(module)) <= OTHERS.get(room_of(module), others(imports(module)))
    assert 'training' not in others(imports(module))


@pytest.mark.parametrize('module', in_rooms('core'))
def test_core_touches_no_files(module):
    assert not imports(module) & {'os', 'os.path', 'pathlib', 'io', 'shutil', 'tempfile', 'glob'}
    tree = list(ast.walk(parse(module)))
    called = {n.attr for n in tree if isinstance(n, ast.Attribute)}
    called |= {n.id for n in tree if isinstance(n, ast.Name)}
    files = {'open', 'imread', 'imwrite', 'VideoCapture', 'fromfile', 'tofile', 'loadtxt', 'save'}
    assert not called & files


@pytest.mark.parametrize('module', in_rooms('backends'))
def test_backends_load_their_engine_only_when_used(module):
    engines = ENGINE_OF.get(Path(module).stem, set())
    assert others(imports_at_once(module)) <= {'numpy'} | engines
    if not engines:
        heavy = {f'tdfusion_ros.backends.{stem}' for stem in ENGINE_OF}
        assert not imports_at_once(module) & heavy


@pytest.mark.parametrize(
    'module', in_rooms('__init__', 'atomic', 'build', 'cli', 'formats', 'library', 'tools')
)
def test_what_runs_without_ros_imports_neither_ros_nor_engines(module):
    assert not others(imports_at_once(module)) & ROS
    assert not others(imports(module)) & ENGINES
    if Path(module).stem != 'received_topics':
        assert not others(imports(module)) & ROS


@pytest.mark.parametrize('module', modules('training/**/*.py'))
def test_training_knows_neither_ros_nor_the_node(module):
    assert ours(imports(module)) <= {*ROOMS['compose'], 'nets', 'formats', 'build'}
    assert not others(imports(module)) & ROS


@pytest.mark.parametrize('module', modules('training/*/*.py'))
def test_folders_of_the_training_import_in_one_direction(module):
    names = {name for name in imports(module) if name.startswith('training.')}
    assert {name.split('.')[1] for name in names} <= TRAINING[Path(module).parent.name]
