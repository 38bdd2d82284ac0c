"""
Long tests of the live node: ``make faults`` and ``make soak`` run them, ``make test`` does not.

They run only if ``-m`` names the marker ``system``; a short case of each always runs.
"""

import os
from pathlib import Path
import sys

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent / 'ros')]  # for the modules here and for rig
REPORTS = pytest.StashKey[list]()
OPTIONS = {
    '--hz': (float, 20.0, 'pairs per second'),
    '--size': (str, '640x480', 'of the images, WIDTHxHEIGHT'),
    '--minutes': (float, 20.0, 'duration of the soak'),
    '--every': (float, 5.0, 'time between two samples of the soak [s]'),
}


def pytest_addoption(parser):
    group = parser.getgroup('system')
    for name, (kind, default, text) in OPTIONS.items():
        group.addoption(name, type=kind, default=default, help=f'{text} (default {default})')
    group.addoption(
        '--param', action='append', default=[], metavar='NAME:=VALUE', help='of the node'
    )


def pytest_itemcollected(item):
    item.add_marker(pytest.mark.ros)


def pytest_collection_modifyitems(config, items):
    if 'system' in config.getoption('markexpr'):
        return
    long = [item for item in items if item.get_closest_marker('system')]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


def pytest_terminal_summary(terminalreporter, config):
    for title, text in config.stash.get(REPORTS, []):
        terminalreporter.section(title)
        terminalreporter.write_line(text)


@pytest.fixture(scope='session')
def publish(pytestconfig):
    """Print a report at the end: ``publish(title, text)``."""
    reports = pytestconfig.stash.setdefault(REPORTS, [])
    return lambda *report: reports.append(report)


@pytest.fixture(scope='session', autouse=True)
def ros_environment(dds_environment):
    """Give every test of this folder the DDS domain of this process, and programs the modules."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get('PYTHONPATH'))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PYTHONPATH', path)
        yield


@pytest.fixture(scope='session')
def command_line(pytestconfig):
    """Return the options of the command line as keywords of ``live.Options``."""
    parameters = dict(p.split(':=', 1) for p in pytestconfig.getoption('param', []))
    options = {
        name: pytestconfig.getoption(name, OPTIONS[f'--{name}'][1]) for name in ('hz', 'size')
    }
    return {**options, 'parameters': parameters}
