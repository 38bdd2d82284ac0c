"""The built wheel works alone: in any folder, without the repository and without ROS."""

from importlib.util import find_spec
import os
from pathlib import Path
import shutil
import subprocess
import sys

import cv2
import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ('tdfusion_ros', 'launch', 'config', 'models', 'resource')
SOURCES += ('setup.py', 'setup.cfg', 'pyproject.toml', 'package.xml', 'README.md')
LIBRARY = """
import sys
import cv2
import tdfusion_ros
assert tdfusion_ros.__file__.startswith(sys.argv[1])
rgb, ir = cv2.imread(sys.argv[2])[..., ::-1], cv2.imread(sys.argv[3], cv2.IMREAD_UNCHANGED)
fuse = tdfusion_ros.load('msrs_rt')
result = fuse(rgb, ir)
cv2.imwrite('library.png', result.image[..., ::-1])
"""


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """Return a folder with the installed wheel, next to which only its dependencies are found."""
    if not any(map(find_spec, ('setuptools.command.bdist_wheel', 'wheel'))):
        pytest.skip('needs setuptools 70.1, or wheel')
    source, wheels, target = (tmp_path_factory.mktemp(n) for n in ('source', 'wheels', 'target'))
    for name in SOURCES:  # a copy: setuptools writes into the tree that it builds
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, source / name)
    pip('wheel', '--no-deps', '--no-build-isolation', '--no-index', '-q', '-w', wheels, source)
    (wheel,) = wheels.glob('*.whl')
    pip('install', '--no-deps', '--no-index', '-q', '--target', target, wheel)
    shutil.rmtree(source)
    return target


def pip(*arguments):
    command = [sys.executable, '-m', 'pip', '--disable-pip-version-check', *map(str, arguments)]
    subprocess.run(command, check=True, timeout=300)


def run(installed, folder, *command):
    environment = {k: v for k, v in os.environ.items() if k != 'AMENT_PREFIX_PATH'}
    environment['PYTHONPATH'] = str(installed)
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wheel_fuses_images_as_command_and_library_elsewhere(installed, folders, tmp_path):
    output = run(installed, tmp_path, installed / 'bin/tdfusion', 'fuse', 'rgb', 'ir', '-o', 'out')
    assert '3 pairs -> out' in output
    first = [min(folder.iterdir()) for folder in folders]
    run(installed, tmp_path, '-c', LIBRARY, installed, *first)
    places = tmp_path / 'out' / first[0].name, tmp_path / 'library.png'
    by_command, by_library = (cv2.imread(str(place)) for place in places)
    assert (by_command == by_library).all()


def test_wheel_fuses_a_bag_and_reports_on_it(installed, write_bag, demo_records, tmp_path):
    write_bag(tmp_path / 'bag', demo_records[:12])
    tdfusion = installed / 'bin/tdfusion'
    run(installed, tmp_path, tdfusion, 'fuse', 'bag', '-o', 'fused')
    run(installed, tmp_path, tdfusion, 'view', 'fused', '--inputs', 'bag', '-o', 'report.html')
    assert (tmp_path / 'report.html').stat().st_size > 10_000


def test_wheel_has_every_command_and_the_shipped_files(installed, tmp_path):
    assert 'score_threshold' in run(installed, tmp_path, installed / 'bin/tdfusion', 'params')
    share = installed / 'share/tdfusion_ros'
    for name in ('package.xml', 'config/fusion.yaml', 'models/msrs_rt/weights.safetensors'):
        assert (share / name).is_file()
    assert (share / 'launch/fusion.launch.py').is_file()
