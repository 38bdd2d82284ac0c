"""ROS's own linters over what is installed on a robot; ruff looks at the rest."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
INSTALLED = [str(ROOT / name) for name in ('tdfusion_ros', 'launch', 'setup.py')]


def linter(name):
    return pytest.importorskip(f'{name}.main', reason=f'needs {name} of a ROS 2 installation')


def test_installed_code_passes_ament_flake8():
    config = ['--config', str(ROOT / 'test' / 'ament_flake8.ini')]
    _, errors = linter('ament_flake8').main_with_errors([*config, *INSTALLED])
    assert not errors, '\n'.join(errors)


def test_installed_code_passes_ament_pep257():
    assert linter('ament_pep257').main(argv=INSTALLED) == 0


def test_package_xml_passes_ament_xmllint():
    assert linter('ament_xmllint').main([str(ROOT / 'package.xml')]) == 0
