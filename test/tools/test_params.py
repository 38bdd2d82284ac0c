"""``tdfusion params``: the shipped parameter file and the page of the docs come from it."""

import os
from pathlib import Path
import subprocess
import sys

import pytest

import tdfusion_ros
from tdfusion_ros.cli import main
from tdfusion_ros.cli import parser
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.tools.options import config_of


def test_shipped_parameter_file_and_table_are_generated_and_have_the_defaults(root, capsys):
    assert main(['params']) == 0
    assert capsys.readouterr().out == (root / 'config' / 'fusion.yaml').read_text()
    options = parser().parse_args(['bench', '--config', str(root / 'config' / 'fusion.yaml')])
    assert config_of(options) == FusionConfig()
    assert main(['params', '--markdown']) == 0
    assert capsys.readouterr().out in (root / 'docs' / 'parameters.md').read_text()


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='no /dev/full')
def test_output_that_cannot_be_written_is_one_line_with_status_1():
    with open('/dev/full', 'w') as full:
        command = [sys.executable, '-m', 'tdfusion_ros.cli', 'params']
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, 'tdfusion: No space left on device\n')


def test_a_reader_that_has_enough_ends_the_command_without_a_word():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, '-m', 'tdfusion_ros.cli', 'params']
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + 13, '')


def test_an_interrupted_command_ends_as_a_shell_expects(monkeypatch, capsys):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr('tdfusion_ros.tools.params.run', interrupted)
    assert main(['params']) == 128 + 2
    assert capsys.readouterr().err == 'tdfusion: interrupted\n'


def test_version_is_printed(capsys):
    with pytest.raises(SystemExit) as caught:
        main(['--version'])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f'tdfusion {tdfusion_ros.__version__}\n'
