"""How a command of the training ends on an error."""

import pytest

from tdfusion_ros.core.errors import FusionError
from training import shell
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
