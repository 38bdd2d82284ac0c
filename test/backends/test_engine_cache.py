"""Engines on disk: correct after power cuts, damage, full disks, and with several processes."""

from concurrent.futures import ThreadPoolExecutor
import errno
import os
from pathlib import Path
import subprocess
import sys
from threading import Event

import pytest

from tdfusion_ros.backends import engine_cache
from tdfusion_ros.backends import progress
from tdfusion_ros.backends.engine_cache import Cache
from tdfusion_ros.backends.engine_cache import cache_folder
from tdfusion_ros.core.errors import ModelError

KEY = {'weights': 'abc', 'size_hw': [480, 640], 'gpu': 'Orin', 'tensorrt': '10.3.0'}


class Builder:
    """Builds engines whose content is the number of the build."""

    times = 0

    def __call__(self, folder):
        assert not list(folder.iterdir())
        self.times += 1
        (folder / 'engine.plan').write_bytes(b'%d' % self.times)
        (folder / 'profile').write_bytes(b'\n')


def engine(number):
    return {'engine.plan': b'%d' % number, 'profile': b'\n'}


@pytest.fixture
def build():
    return Builder()


@pytest.fixture
def cache(tmp_path, messages):
    return Cache(tmp_path / 'cache', messages.append)


def entry(cache):
    (path,) = cache.folder.glob('*.engine')
    return path


def temporary(cache):
    return list(cache.folder.glob('.*'))


def raises(error_number):
    def fail(*arguments, **named):
        raise OSError(error_number, os.strerror(error_number))

    return fail


def test_engine_is_built_once_found_again_and_private(cache, build, messages):
    assert cache.get(KEY, build) == cache.get(KEY, build) == engine(1)
    assert build.times == 1
    assert messages == []
    assert not temporary(cache)
    cache.get(KEY, build)
    for path in (cache.folder, *cache.folder.rglob('*')):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize('part', KEY)
def test_engine_for_any_other_key_is_another_engine(cache, build, part):
    cache.get(KEY, build)
    assert cache.get({**KEY, part: 'other'}, build) == engine(2)
    assert cache.get(KEY, build) == engine(1)


def test_cache_is_where_xdg_says(monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', '/home/robot')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert cache_folder() == tmp_path / 'tdfusion_ros'
    for ignored in ('', 'relative/path'):
        monkeypatch.setenv('XDG_CACHE_HOME', ignored)
        assert cache_folder() == Path('/home/robot/.cache/tdfusion_ros')


def flip(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def of_another_key(path):
    other = Cache(path.parent.parent / 'other', print)
    other.get({**KEY, 'gpu': 'Thor'}, Builder())
    entry(other).rename(path)


DAMAGE = {
    'a bit flipped': flip,
    'cut short': lambda path: path.write_bytes(path.read_bytes()[:-1]),
    'empty': lambda path: path.write_bytes(b''),
    'zeros, as a power cut leaves them': lambda path: path.write_bytes(bytes(200)),
    'with more at its end': lambda path: path.write_bytes(path.read_bytes() + b'x'),
    'of another key': of_another_key,
}


@pytest.mark.parametrize('damage', DAMAGE.values(), ids=DAMAGE)
def test_entry_that_cannot_be_trusted_is_reported_and_built_again(cache, build, messages, damage):
    cache.get(KEY, build)
    damage(entry(cache))
    cache.latest(KEY, 'size_hw')
    for _ in range(2):
        assert cache.get(KEY, build) == engine(2)
    (message,) = messages
    assert 'building it again' in message


def a_file_in_its_place(folder):
    folder.write_text('')


def a_folder_of_another_user(folder):
    folder.mkdir()
    os.chown(folder, 12345, 12345)


def a_folder_that_others_can_write_to(folder):
    folder.mkdir()
    folder.chmod(0o777)


@pytest.mark.parametrize(
    'make', [a_file_in_its_place, a_folder_of_another_user, a_folder_that_others_can_write_to]
)
def test_engine_is_used_but_not_kept_in_an_unusable_folder(cache, build, messages, make):
    try:
        make(cache.folder)
    except PermissionError:
        pytest.skip('only root can change the owner of a folder')
    for turn in (1, 2):
        assert cache.get(KEY, build) == engine(turn)
        assert len(messages) == turn
        assert f'cannot be kept in {cache.folder}' in messages[-1]
        assert 'XDG_CACHE_HOME' in messages[-1]
    assert cache.latest(KEY, 'size_hw') is None


def test_read_only_cache_returns_what_it_has_and_no_more(cache, build, messages, monkeypatch):
    cache.get(KEY, build)

    def open_elsewhere(path, *arguments, real=os.open, **named):
        if str(path).startswith(str(cache.folder)):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, *arguments, **named)

    monkeypatch.setattr(engine_cache.os, 'open', open_elsewhere)
    monkeypatch.setattr(engine_cache.os, 'utime', raises(errno.EROFS))
    assert cache.get(KEY, build) == engine(1)
    assert messages == []
    assert cache.get({**KEY, 'gpu': 'Thor'}, build) == engine(2)
    assert 'Read-only file system' in messages[0]


@pytest.mark.parametrize('call', ['os.fsync', 'os.replace'])
def test_engine_is_used_but_not_kept_on_a_full_disk(cache, build, messages, monkeypatch, call):
    owner, name = call.split('.')
    monkeypatch.setattr(getattr(engine_cache, owner), name, raises(errno.ENOSPC))
    assert cache.get(KEY, build) == engine(1)
    (message,) = messages
    assert 'cannot be kept' in message
    assert 'No space left' in message
    assert not temporary(cache)
    assert not list(cache.folder.glob('*.engine'))


def test_entry_is_renamed_into_place_after_it_is_on_the_disk(cache, build, monkeypatch):
    """A power cut at any moment leaves all of an entry or nothing."""
    steps = []

    def replace(name, place, rename=os.replace):
        steps.append('rename')
        assert not Path(place).exists()
        rename(name, place)

    def fsync(descriptor, sync=os.fsync):
        path = Path(os.readlink(f'/proc/self/fd/{descriptor}'))
        steps.append('folder' if path.is_dir() else 'file')
        sync(descriptor)

    monkeypatch.setattr(engine_cache.os, 'replace', replace)
    monkeypatch.setattr(engine_cache.os, 'fsync', fsync)
    cache.get(KEY, build)
    assert steps == ['file', 'rename', 'folder']


@pytest.mark.parametrize(
    ('error', 'words'),
    [(ValueError('no tactic'), 'no tactic'), (OSError(errno.ENOSPC, 'full'), 'cannot be built')],
)
def test_failed_build_leaves_nothing(cache, build, error, words):
    def fail(folder):
        (folder / 'half').write_bytes(b'x')
        raise error

    with pytest.raises((ValueError, ModelError), match=words):
        cache.get(KEY, fail)
    assert not temporary(cache)
    assert cache.get(KEY, build) == engine(1)


def test_network_folder_without_locks_is_used(cache, build, monkeypatch):
    monkeypatch.setattr(engine_cache.fcntl, 'flock', raises(errno.ENOLCK))
    assert cache.get(KEY, build) == cache.get(KEY, build) == engine(1)


def test_size_used_last_is_remembered(cache, build):
    key, sizes = {**KEY, 'size_hw': None}, [[480, 640], [512, 640]]
    assert cache.latest(key, 'size_hw') is None
    cache.get({**KEY, 'size_hw': sizes[0]}, build)
    os.utime(entry(cache), ns=(0, 0))
    cache.get({**KEY, 'size_hw': sizes[1]}, build)
    cache.get({**KEY, 'size_hw': [32, 32], 'gpu': 'Thor'}, build)
    assert cache.latest(key, 'size_hw') == sizes[1]
    cache.get({**KEY, 'size_hw': sizes[0]}, build)
    assert cache.latest(key, 'size_hw') == sizes[0]


class SlowBuilder(Builder):
    """Builds once ``go`` is set; file locks also work between threads."""

    def __init__(self):
        self.started, self.go = Event(), Event()

    def __call__(self, folder):
        self.started.set()
        assert self.go.wait(60)
        super().__call__(folder)


def test_engine_that_several_request_at_once_is_built_once_and_waiting_is_reported(
    tmp_path, messages, monkeypatch
):
    monkeypatch.setattr(progress, 'PERIOD_S', 0.05)
    slow = SlowBuilder()
    cache = Cache(tmp_path / 'cache', lambda text: (messages.append(text), slow.go.set()))
    with ThreadPoolExecutor(3) as pool:
        results = [pool.submit(cache.get, KEY, slow) for _ in range(3)]
        assert [result.result(60) for result in results] == [engine(1)] * 3
    assert slow.times == 1
    assert 'waiting for another process that builds the same engine' in messages[0]


def test_killed_process_does_not_block_the_next_build(cache, build, root):
    code = (
        'import sys, time\n'
        'from pathlib import Path\n'
        'from tdfusion_ros.backends.engine_cache import Cache\n'
        'def build(folder): print("started", flush=True); time.sleep(600)\n'
        'Cache(Path(sys.argv[1]), print).get({"a": 1}, build)'
    )
    command = [sys.executable, '-c', code, str(cache.folder)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b'started\n'
        process.kill()
    left = cache.folder / f'.{cache.place({"a": 1}).stem}.left'
    left.touch()
    assert cache.get({'a': 1}, build) == engine(1)
    assert not left.exists()
