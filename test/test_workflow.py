"""The CI of public runners: it cannot be run here, but what it calls must exist."""

from pathlib import Path
import re
import xml.etree.ElementTree as ET

import yaml

ROOT = Path(__file__).parents[1]
WORKFLOW = yaml.safe_load((ROOT / '.github' / 'workflows' / 'ci.yaml').read_text())
JOBS = WORKFLOW['jobs']
STEPS = [(job, step) for job, facts in JOBS.items() for step in facts['steps']]
COMMANDS = '\n'.join(step.get('run', '') for _, step in STEPS)


def test_every_action_is_pinned_to_a_commit():
    used = [step['uses'] for _, step in STEPS if 'uses' in step]
    assert used
    for action in used:
        assert re.fullmatch(r'[\w-]+/[\w-]+@[0-9a-f]{40}', action), action


def test_targets_packages_and_files_that_are_named_exist():
    targets = re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE)
    called = re.findall(r'\bmake ([a-z-]+)', COMMANDS)
    assert called
    assert set(called) <= set(targets)
    name = ET.parse(ROOT / 'package.xml').getroot().findtext('name')
    selected = re.findall(r'--packages-select (\S+)', COMMANDS)
    assert selected == [name, name]
    named = re.findall(r'src/tdfusion_ros/([\w./-]+)', COMMANDS)
    assert named
    for path in named:
        assert (ROOT / path).is_file(), path


def test_markers_that_are_left_out_exist(pytestconfig):
    known = {line.partition(':')[0] for line in pytestconfig.getini('markers')}
    (expression,) = re.findall(r"--pytest-args -m '([^']*)'", COMMANDS)
    assert set(re.findall(r'\w+', expression)) - {'not', 'and'} <= known
