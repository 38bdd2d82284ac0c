"""What installs the software says the same everywhere: package.xml, setup.py, docker/."""

import ast
from pathlib import Path
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

from packaging.requirements import Requirement
import pytest
import yaml

import tdfusion_ros

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / 'docker'
DOCKERFILES = sorted(DOCKER.glob('*.Dockerfile'))
MANIFEST = ET.parse(ROOT / 'package.xml').getroot()
# A ROS package that is imported, or started by a launch file, by its own name.
ROS = re.compile(
    r'rclpy|rcl_interfaces|builtin_interfaces|\w+_msgs|std_srvs|cv_bridge|message_filters|'
    r'launch|launch_ros|ament_index_python'
)


def keys(kind):
    return {element.text for element in MANIFEST.findall(f'{kind}_depend')}


def setup_keywords():
    """Return the literal arguments of setup(); the others are left out."""
    (call,) = (
        node
        for node in ast.walk(ast.parse((ROOT / 'setup.py').read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'setup'
    )
    found = {}
    for keyword in call.keywords:
        try:
            found[keyword.arg] = ast.literal_eval(keyword.value)
        except ValueError:
            continue
    return found


def imported():
    """Return the packages that the robot's code imports, or whose messages it names."""
    names = set()
    for folder in ('tdfusion_ros', 'launch'):
        for path in (ROOT / folder).rglob('*.py'):
            for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
                if isinstance(node, ast.Import):
                    names |= {alias.name.partition('.')[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    names.add(node.module.partition('.')[0])
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    names |= set(re.findall(r'^(\w+)/msg/', node.value))
    return names - {'foxglove_msgs'}  # of bags alone


def instructions(dockerfile):
    """Return (name, rest) of every instruction; continued lines are joined."""
    text = re.sub(r'^#.*\n', '', dockerfile.read_text(), flags=re.MULTILINE)
    lines = re.sub(r'\\\n', ' ', text).splitlines()
    return [tuple(line.split(None, 1)) for line in lines if line.strip()]


def requirements(path):
    lines = (line.partition('#')[0].strip() for line in path.read_text().splitlines())
    return [Requirement(line) for line in lines if line]


def test_every_ros_package_that_is_imported_is_in_package_xml():
    needed = {name for name in imported() if ROS.fullmatch(name)}
    assert {'rclpy', 'vision_msgs', 'launch_ros'} <= needed
    assert needed <= keys('exec')


def test_pip_and_rosdep_bring_what_is_imported_without_ros():
    """The names of apt and PyPI for each module that the code without ROS and torch imports."""
    names = {
        'PIL': ('Pillow', 'python3-pil'),
        'cv2': ('opencv-python-headless', 'python3-opencv'),
        'jinja2': ('Jinja2', 'python3-jinja2'),
        'matplotlib': ('matplotlib', 'python3-matplotlib'),
        'numpy': ('numpy', 'python3-numpy'),
        'onnxruntime': ('onnxruntime', 'python3-onnxruntime-pip'),
        'rosbags': ('rosbags', 'python3-rosbags-pip'),
        'tqdm': ('tqdm', 'python3-tqdm'),
        'yaml': ('PyYAML', 'python3-yaml'),
    }
    optional = {'torch', 'torch_tensorrt', 'tensorrt', 'safetensors', 'onnx'}
    optional |= {'tensorrt_rtx_bindings'}
    optional |= {'lz4', 'compression', 'backports'}  # rosbags brings what the Python version lacks
    others = {n for n in imported() if n not in sys.stdlib_module_names and not ROS.fullmatch(n)}
    assert others - optional - {'tdfusion_ros'} <= names.keys()
    assert {pip for pip, _ in names.values()} == {
        Requirement(line).name for line in setup_keywords()['install_requires']
    }
    assert {rosdep for _, rosdep in names.values()} <= keys('exec')


def test_package_xml_brings_no_torch_and_no_tensorrt():
    every = ' '.join(keys('exec') | keys('test')).lower()
    assert not re.search('torch|tensorrt|cuda', every)


def test_package_manifest_setup_py_citation_and_changelog_state_one_version():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    changes = (ROOT / 'CHANGELOG.rst').read_text()
    released = re.search(r'^(\d+\.\d+\.\d+) \(\d{4}-\d\d-\d\d\)$', changes, re.MULTILINE)
    stated = {
        released.group(1),
        MANIFEST.findtext('version'),
        setup_keywords()['version'],
        citation['version'],
    }
    assert stated == {tdfusion_ros.__version__}


@pytest.mark.parametrize('path', sorted(DOCKER.glob('requirements*.txt')), ids=lambda p: p.stem)
def test_every_pin_of_an_image_is_one_that_setup_py_allows(path):
    allowed = {}
    setup = setup_keywords()
    extras = setup['extras_require']
    for lines in (setup['install_requires'], extras['cuda'], extras['trt']):
        for line in lines:
            allowed.setdefault(Requirement(line).name, []).append(Requirement(line).specifier)
    for pin in requirements(path):
        ((operator, version),) = ((s.operator, s.version) for s in pin.specifier)
        assert operator == '==', pin
        for specifier in allowed[pin.name]:
            assert specifier.contains(version), f'{pin}, but setup.py says {specifier}'


def test_numpy_below_2_is_one_that_setup_py_allows():
    (limit,) = requirements(DOCKER / 'constraints.txt')
    (wanted,) = (
        r for r in map(Requirement, setup_keywords()['install_requires']) if r.name == limit.name
    )
    assert limit.specifier.contains('1.26.4')
    assert wanted.specifier.contains('1.26.4')


def test_torch_and_torch_tensorrt_of_an_image_are_of_one_minor():
    for name in ('requirements-cuda.txt', 'requirements-jetson.txt'):
        pins = {r.name: next(iter(r.specifier)).version for r in requirements(DOCKER / name)}
        assert pins['torch'].split('.')[:2] == pins['torch-tensorrt'].split('.')[:2]


@pytest.mark.parametrize('dockerfile', DOCKERFILES, ids=lambda path: path.stem)
class TestDockerfile:
    def test_everything_that_is_copied_exists_and_is_let_through(self, dockerfile):
        lines = (ROOT / '.dockerignore').read_text().splitlines()
        let_through = {line[1:] for line in lines if line.startswith('!')}
        sources = [
            source
            for name, rest in instructions(dockerfile)
            if name == 'COPY'
            for source in rest.split()[:-1]
        ]
        assert 'package.xml' in sources
        for source in sources:
            assert (ROOT / source).exists(), source
            assert source.partition('/')[0] in let_through, source

    def test_everything_that_setup_py_installs_is_copied(self, dockerfile):
        copied = ' '.join(rest for name, rest in instructions(dockerfile) if name == 'COPY')
        installed = set(re.findall(r"tree\('(\w+)'\)", (ROOT / 'setup.py').read_text()))
        assert installed == {'launch', 'config', 'models'}
        for name in (*installed, 'resource', 'tdfusion_ros', 'setup.cfg', 'README.md'):
            assert f'{name} ' in copied

    def test_image_has_a_pinned_base_a_user_and_the_signal_that_ends_the_node(self, dockerfile):
        assert [rest for name, rest in instructions(dockerfile) if name == 'USER'] == ['robot']
        assert ('STOPSIGNAL', 'SIGINT') in instructions(dockerfile)
        text = dockerfile.read_text()
        base = re.search(r'^FROM (\S+)', text, re.MULTILINE).group(1)
        for name, value in re.findall(r'^ARG (\w+)=(\S+)', text, re.MULTILINE):
            base = base.replace(f'${{{name}}}', value)
        assert re.fullmatch(r'[\w./-]+:[\w.-]+', base), base

    def test_dds_profile_is_where_colcon_puts_it(self, dockerfile):
        share = '/opt/ws/install/tdfusion_ros/share/tdfusion_ros/'
        places = re.findall(rf'{share}(\S+)', dockerfile.read_text())
        assert places
        for place in places:
            assert (ROOT / place).is_file()


def test_entrypoint_is_executable_and_hands_its_command_on(tmp_path):
    path = DOCKER / 'entrypoint.sh'
    assert path.stat().st_mode & 0o111
    assert subprocess.run(['bash', '-n', path], check=False).returncode == 0
    script = (DOCKER / 'entrypoint.sh').read_text()
    for name in ('opt/ros/jazzy', 'opt/ws/install'):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / 'setup.bash').write_text(f'seen="$seen {name} $#"; export seen')
    moved = script.replace('/opt/', f'{tmp_path}/opt/')
    command = ['bash', '-c', moved, 'entrypoint', 'bash', '-c', 'echo "$seen: $0 $1"', 'a b', 'c']
    environment = {'ROS_DISTRO': 'jazzy', 'PATH': '/usr/bin:/bin'}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == ' opt/ros/jazzy 1 opt/ws/install 1: a b c\n'
