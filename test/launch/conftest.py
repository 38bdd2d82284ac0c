"""
Fakes of launch, launch_ros and ament_index_python that record their arguments.

With them launch files are executed without a ROS installation.
"""

from importlib.util import module_from_spec
from importlib.util import spec_from_file_location
from pathlib import Path
import sys
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Recorded:
    """An entity of a launch file, with its arguments."""

    def __init__(self, *given, **named):
        self.kind = type(self).__name__
        self.given = given
        self.named = named

    @property
    def name(self):
        """Return the name of a DeclareLaunchArgument, as the real one does."""
        return self.given[0]

    def perform(self, context):
        """Return the value of a LaunchConfiguration, as the real one does."""
        return context.launch_configurations[self.given[0]]


class Context:
    """The launch configurations: given arguments, else defaults."""

    def __init__(self, entities, given):
        self.launch_configurations = {
            e.name: e.named['default_value']
            for e in entities
            if e.kind == 'DeclareLaunchArgument' and 'default_value' in e.named
        } | given


class PackageNotFoundError(KeyError):
    """What ament_index_python raises."""


def prefix_of(name):
    """Return where a package is, and only ours is there."""
    if name != 'tdfusion_ros':
        raise PackageNotFoundError(name)
    return str(ROOT)


def kinds(names):
    return {name: type(name, (Recorded,), {}) for name in names.split()}


MODULES = {
    'launch': kinds('LaunchContext LaunchDescription'),
    'launch.actions': kinds(
        'DeclareLaunchArgument ExecuteProcess GroupAction IncludeLaunchDescription LogInfo '
        'OpaqueFunction RegisterEventHandler SetEnvironmentVariable TimerAction'
    ),
    'launch.event_handlers': kinds('OnProcessExit'),
    'launch.launch_description_sources': kinds('PythonLaunchDescriptionSource'),
    'launch.substitutions': kinds('LaunchConfiguration'),
    'launch_ros': {},
    'launch_ros.actions': kinds('LifecycleNode Node'),
    'launch_ros.utilities': {
        'make_namespace_absolute': lambda name: name if name.startswith('/') else f'/{name}',
        'prefix_namespace': lambda outer, name: (
            f'{outer}/{name}' if outer and name else outer or name
        ),
    },
    'ament_index_python': {},
    'ament_index_python.packages': {
        'get_package_prefix': prefix_of,
        'get_package_share_directory': prefix_of,
        'PackageNotFoundError': PackageNotFoundError,
    },
}


@pytest.fixture
def execute(monkeypatch):
    """Return a function that executes a launch file and returns its entities."""
    for name, content in MODULES.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    for variable in ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE'):
        monkeypatch.delenv(variable, raising=False)

    def run(name):
        spec = spec_from_file_location(name.replace('.', '_'), ROOT / 'launch' / name)
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.generate_launch_description().given[0]

    return run


@pytest.fixture
def act(execute):
    """Return a function that executes a launch file with arguments and returns its actions."""

    def run(file, **given):
        entities = execute(file)
        context = Context(entities, given)
        actions = [e.named for e in entities if e.kind == 'OpaqueFunction']
        return [
            made
            for action in actions
            for made in action['function'](context, *action.get('args', ())) or ()
        ]

    return run


@pytest.fixture
def launch_node(act):
    """Return a function that executes fusion.launch.py with arguments and returns its node."""

    def run(**given):
        (node,) = act('fusion.launch.py', **given)
        return node.named

    return run
