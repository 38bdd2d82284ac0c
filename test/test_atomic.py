"""Results are written completely or not at all, and what prevents it is one sentence."""

import errno
from functools import partial
import os
from pathlib import Path
import subprocess
import sys

import pytest

from tdfusion_ros.atomic import check_file
from tdfusion_ros.atomic import NewOutput
from tdfusion_ros.atomic import replace_files
from tdfusion_ros.atomic import write_file
from tdfusion_ros.core.errors import OutputError

OUTPUT = """
import os, sys
from pathlib import Path
from tdfusion_ros.atomic import write_file
write_file(Path('/dev/stdout'), 'to a pipe\\n')
os.dup2(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
print('before', flush=True)
write_file(Path('/dev/stdout'), 'to a file\\n')
print('after')
"""


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*'))


def fail_at(monkeypatch, call, number, code=errno.ENOSPC):
    owner, name = call.split('.')
    real, count = getattr(os, name), iter(range(1000))

    def failing(*arguments, **named):
        if next(count) >= number:
            raise OSError(code, os.strerror(code))
        return real(*arguments, **named)

    monkeypatch.setattr(f'{owner}.{name}', failing)


@pytest.mark.parametrize('call', ['os.fsync', 'os.replace'])
def test_full_disk_leaves_the_file_that_was_there(tmp_path, monkeypatch, call):
    path = tmp_path / 'a.json'
    write_file(path, 'old')
    fail_at(monkeypatch, call, 0)
    with pytest.raises(OutputError, match=r'a\.json cannot be written: No space .*make space'):
        write_file(path, 'new')
    assert path.read_text() == 'old'
    assert names(tmp_path) == ['a.json']


@pytest.mark.parametrize('name', ['x' * 255, 'ü' * 127])
def test_longest_names_that_the_file_system_takes_can_be_written(tmp_path, name):
    write_file(tmp_path / name, '')
    assert names(tmp_path) == [name]


def test_several_files_appear_together(tmp_path, monkeypatch):
    files = {tmp_path / 'a': b'1', tmp_path / 'b': b'2'}
    fail_at(monkeypatch, 'os.fsync', 1)
    with pytest.raises(OSError, match='No space'):
        replace_files(files)
    assert names(tmp_path) == []
    monkeypatch.undo()
    replace_files(files)
    assert names(tmp_path) == ['a', 'b']


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('folder', 'Is a directory; name a file, not a folder'),
        ('file/a.json', 'Not a directory'),
        ('x' * 300, 'File name too long'),
    ],
)
def test_place_that_cannot_be_written_is_found_before_the_work_and_after_it(name, words, tmp_path):
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'file').write_text('')
    before = names(tmp_path)
    replace = partial(check_file, overwrite=True)
    for function in (check_file, replace, lambda path: write_file(path, b'')):
        with pytest.raises(OutputError, match=words):
            function(tmp_path / name)
    assert names(tmp_path) == before


def test_missing_folders_are_made_with_the_file_and_not_by_the_check(tmp_path):
    path = tmp_path / 'new' / 'deep' / 'a'
    check_file(path)
    assert names(tmp_path) == []
    write_file(path, '')
    assert names(tmp_path) == ['new', 'new/deep', 'new/deep/a']


def test_check_leaves_a_file_as_it_is_and_creates_none(tmp_path, monkeypatch):
    path = tmp_path / 'a'
    path.write_text('old')
    os.mkfifo(tmp_path / 'pipe')
    for place in (path, tmp_path / 'b', None, Path('/dev/null'), tmp_path / 'pipe'):
        check_file(place, overwrite=True)
    with pytest.raises(OutputError, match='a exists: name a new file, or add --overwrite'):
        check_file(path)
    (tmp_path / 'pipe').unlink()
    assert names(tmp_path) == ['a']
    assert path.read_text() == 'old'
    fail_at(monkeypatch, 'os.fsync', 0)
    with pytest.raises(OutputError, match='No space left'):
        check_file(path, overwrite=True)
    assert names(tmp_path) == ['a']


def test_links_and_permissions_stay_and_the_umask_counts(tmp_path):
    path, link = tmp_path / 'real' / 'a', tmp_path / 'link'
    path.parent.mkdir()
    path.write_text('old')
    path.chmod(0o640)
    link.symlink_to(path)
    write_file(link, 'new')
    assert link.is_symlink()
    assert path.read_text() == 'new'
    assert path.stat().st_mode & 0o777 == 0o640
    before = os.umask(0o027)
    try:
        write_file(tmp_path / 'b', '')
    finally:
        os.umask(before)
    assert (tmp_path / 'b').stat().st_mode & 0o777 == 0o640


def test_devices_and_pipes_are_written_in_place(tmp_path):
    write_file(Path('/dev/null'), 'x')
    done = subprocess.run(
        [sys.executable, '-c', OUTPUT, tmp_path / 'log'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == 'to a pipe\n'
    assert (tmp_path / 'log').read_text() == 'before\nto a file\nafter\n'
    assert Path('/dev/null').is_char_device()
    with pytest.raises(OutputError, match='/dev/full cannot be written: No space left'):
        write_file(Path('/dev/full'), 'x')
    assert Path('/dev/full').is_char_device()


def test_folder_appears_when_it_is_committed(tmp_path):
    target = tmp_path / 'new' / 'out'
    folder = NewOutput(target)
    folder.partial.mkdir()
    folder.write('a', b'1')
    assert folder.partial.name == 'out'
    assert not target.exists()
    folder.commit()
    assert names(tmp_path) == ['new', 'new/out', 'new/out/a']


@pytest.mark.parametrize('call', ['os.fsync', 'os.rename'])
def test_folder_that_cannot_be_finished_leaves_nothing(tmp_path, monkeypatch, call):
    folder = NewOutput(tmp_path / 'out')
    folder.partial.mkdir()
    folder.write('a', b'1')
    fail_at(monkeypatch, call, 0)
    with pytest.raises(OutputError, match='out cannot be written: No space left'):
        folder.commit()
    assert names(tmp_path) == []


def test_existing_place_of_a_folder_is_refused(tmp_path):
    (tmp_path / 'file').write_text('')
    (tmp_path / 'link').symlink_to(tmp_path / 'nowhere')
    for name in ('file', 'link', '.'):
        with pytest.raises(OutputError, match='exists: name a new folder'):
            NewOutput(tmp_path / name)
    with pytest.raises(OutputError, match='Not a directory'):
        NewOutput(tmp_path / 'file' / 'out')
