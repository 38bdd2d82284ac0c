"""The commands in the documents: what they call and name must exist."""

from collections import defaultdict
from contextlib import suppress
import importlib.util
from pathlib import Path
import re
import runpy
import shlex
import sys

import pytest

from tdfusion_ros.cli import parser

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob('*.md'), *ROOT.glob('*/*.md'), *ROOT.glob('models/*/*.md')]
PAGES += [*ROOT.glob('config/train/*.yaml'), ROOT / 'Makefile']
COMMAND = re.compile(
    r'(?:python3? -m ((?:benchmarks|demo|training)\.[\w.]+)|(?:bin/|^|`)tdfusion (\w+))([^\n`]*)',
    re.MULTILINE,
)
OPTION = re.compile(r'(?<![\w-])--?[a-zA-Z][\w-]*')
TARGETS = set(re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE))
NEEDS = {'demo.run': 'rclpy', 'benchmarks.latency': 'rclpy'}  # others of ours need torch


def documented():
    """Return the lists of arguments of each module and each subcommand in the documents."""
    found = defaultdict(list)
    for page in PAGES:
        text = page.read_text(encoding='utf-8').replace('\\\n', ' ')
        for module, subcommand, arguments in COMMAND.findall(text):
            found[module or subcommand].append(arguments.partition('#')[0])
    return dict(found)


COMMANDS = documented()
MODULES = sorted(name for name in COMMANDS if '.' in name)
SUBCOMMANDS = sorted(set(COMMANDS) - set(MODULES))


def check_arguments(name, usage):
    arguments = ' '.join(COMMANDS[name])
    assert set(OPTION.findall(arguments)) <= set(OPTION.findall(usage)), name
    for path in re.findall(r'(?<!\S)(?:config|demo|models|test)/[\w./-]+', arguments):
        assert (ROOT / path).exists() or path.startswith('models/'), path  # a model may be written


@pytest.mark.filterwarnings('ignore:.*found in sys.modules')
@pytest.mark.torch
@pytest.mark.parametrize('module', MODULES)
def test_documented_module_runs_and_has_the_documented_options(module, monkeypatch, capsys):
    needed = NEEDS.get(module, 'torch')
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f'no {needed}')
    monkeypatch.setattr(sys, 'argv', [module, '--help'])
    with suppress(SystemExit):
        runpy.run_module(module, run_name='__main__')
    usage = capsys.readouterr().out
    assert usage, 'a wrong command prints to stderr only'
    check_arguments(module, usage)


@pytest.mark.parametrize('name', SUBCOMMANDS)
def test_documented_subcommand_has_the_documented_options(name):
    (commands,) = (a.choices for a in parser()._actions if isinstance(a.choices, dict))
    check_arguments(name, commands[name].format_help())


@pytest.mark.torch
@pytest.mark.parametrize('arguments', COMMANDS['training.train'])
def test_documented_training_has_valid_settings(arguments):
    pytest.importorskip('torch')
    from training.config_reader import load_config

    if '...' not in arguments:  # a gap that the reader fills
        load_config(shlex.split(arguments))


def test_documents_name_enough_commands_for_this_to_mean_something():
    assert {'demo.run', 'benchmarks.latency', 'training.train'} <= set(MODULES)
    assert {'fuse', 'view', 'bench', 'doctor', 'calibrate'} <= set(SUBCOMMANDS)


def test_every_documented_make_target_exists():
    for page in PAGES[:-1]:
        named = set(re.findall(r'(?:`|^)make ([a-z-]+)', page.read_text(), re.MULTILINE))
        assert named <= TARGETS, page
