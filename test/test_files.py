"""Files stay small enough to be read at a sitting."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ('tdfusion_ros', 'training', 'test', 'launch', 'demo', 'benchmarks', 'pip_ros')
MODULES = sorted(
    str(path.relative_to(ROOT)) for folder in FOLDERS for path in (ROOT / folder).rglob('*.py')
)


@pytest.mark.parametrize('module', MODULES)
def test_no_module_has_more_than_300_lines(module):
    assert len((ROOT / module).read_text(encoding='utf-8').splitlines()) <= 300


@pytest.mark.parametrize('module', MODULES)
def test_no_function_has_more_than_50_lines(module):
    tree = ast.parse((ROOT / module).read_text(encoding='utf-8'))
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.end_lineno - node.lineno + 1 > 50
    }
    assert not long


def test_no_name_of_a_test_file_stands_twice():
    """Pytest with launch_testing's plugin, as colcon test runs it, refuses the second one."""
    names = [path.name for path in (ROOT / 'test').rglob('test_*.py')]
    assert len(names) == len(set(names))


def test_no_module_is_named_utils():
    assert not [m for m in MODULES if Path(m).stem in ('utils', 'util', 'helpers', 'common')]
