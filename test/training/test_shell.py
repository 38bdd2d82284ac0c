"""How a command of the training ends on an error."""

import subprocess
import sys

import pytest

from tdfusion_ros.core.errors import FusionError
from training import shell
from training.config import setting_names
from training.config import TASKS
from training.config_reader import settings_text
from training.data.datasets import DataError


@pytest.mark.parametrize(
    ('error', 'said'),
    [
        (FusionError('no data'), 'train: no data'),
        (OSError(28, 'No space left on device'), 'train: [Errno 28] No space left on device'),
        (DataError(['a.txt is empty']), 'train: a.txt is empty'),
        (DataError(['a', 'b']), 'train: a\ntrain: b\ntrain: 2 files cannot be used, see above'),
    ],
)
def test_error_is_one_line_or_one_for_each_file(error, said):
    def main():
        raise error

    with pytest.raises(SystemExit) as ended:
        shell.run('train', main)
    assert ended.value.code == said


def test_all_of_many_bad_files_are_printed_although_an_error_is_cut():
    problems = [f'labels/{number}.txt: box 1 is empty' for number in range(500)]
    with pytest.raises(SystemExit) as ended:
        shell.run('train', lambda: (_ for _ in ()).throw(DataError(problems)))
    assert all(problem in ended.value.code for problem in problems)


def test_a_warning_is_one_line_without_the_code_that_gave_it():
    code = (
        'import warnings; from training import shell; shell.run("x", lambda: warnings.warn("a"))'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, 'x: warning: a\n')


def test_a_closed_pipe_ends_a_command_quietly_with_141():
    code = 'from training import shell; shell.run("x", lambda: print("line\\n" * 100_000))'
    command = f"{sys.executable} -c '{code}' | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(['bash', '-c', command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (141, 'line\n', '')


@pytest.mark.parametrize('how', ['', 'interrupted; saved at step 3'])
def test_an_interrupt_ends_a_command_with_130_and_says_how_to_go_on(how, capsys):
    def main():
        raise KeyboardInterrupt(how)

    with pytest.raises(SystemExit) as ended:
        shell.run('training', main)
    assert ended.value.code == 130
    assert capsys.readouterr().err == f'training: {how or "interrupted"}\n'


def test_help_lists_every_setting_of_each_task_with_its_default():
    common, *parts = settings_text().split('\n\n')
    assert '  steps=6000\n      Number of optimizer steps.' in common
    assert '  crop_hw=[256, 256]\n' in common
    for task, part in zip(TASKS, parts, strict=True):
        names = {line.split('=')[0].strip() for line in f'{common}\n{part}'.splitlines()[1:]}
        assert setting_names(task) <= names
        assert part.startswith(f'More settings of task={task}:')
