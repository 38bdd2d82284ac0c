"""Engines on disk: whatever happens to the disk or to another process, what comes out is right."""

import errno
import json
import os
from pathlib import Path

import pytest

from tdfusion_ros.backends import engine_cache as module
from tdfusion_ros.backends.engine_cache import cache_folder
from tdfusion_ros.core.errors import ModelError

KEY = {'weights': 'abc', 'size_hw': [480, 640], 'gpu': 'Orin', 'tensorrt': '10.3.0'}


def entry(cache):
    """Return the folder of the only entry."""
    (sidecar,) = cache.folder.glob('*/key.json')
    return sidecar.parent


def leftovers(cache):
    return [path for path in cache.folder.iterdir() if path.name.startswith('.')]


def test_engine_is_built_once_and_found_again(cache, build, said):
    first, second = cache.get(KEY, build), cache.get(KEY, build)
    assert first == second == {'engine.plan': b'engine 1'}
    assert build.times == 1
    assert said == []


@pytest.mark.parametrize('part', KEY)
def test_engine_for_anything_else_is_another_engine(cache, build, part):
    cache.get(KEY, build)
    assert cache.get({**KEY, part: 'other'}, build) == {'engine.plan': b'engine 2'}
    assert cache.get(KEY, build) == {'engine.plan': b'engine 1'}


def test_cache_is_private(cache, build):
    cache.get(KEY, build)
    for path in (cache.folder, *cache.folder.rglob('*')):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    assert not leftovers(cache)


def test_cache_lies_where_xdg_says(monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', '/home/robot')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert cache_folder() == tmp_path / 'tdfusion_ros'
    for ignored in ('', 'relative/path'):
        monkeypatch.setenv('XDG_CACHE_HOME', ignored)
        assert cache_folder() == Path('/home/robot/.cache/tdfusion_ros')


def truncate(folder):
    path = folder / 'engine.plan'
    path.write_bytes(path.read_bytes()[:3])


def flip(folder):
    path = folder / 'engine.plan'
    path.write_bytes(path.read_bytes()[:-1] + b'?')


def change_sidecar(folder, change):
    raw = json.loads((folder / 'key.json').read_text())
    change(raw)
    (folder / 'key.json').write_text(json.dumps(raw))


DAMAGE = {
    'truncated engine': truncate,
    'changed engine': flip,
    'missing engine': lambda folder: (folder / 'engine.plan').unlink(),
    'other version in the sidecar': lambda folder: change_sidecar(
        folder, lambda raw: raw['key'].update(tensorrt='10.13.3')
    ),
    'sidecar without hashes': lambda folder: change_sidecar(
        folder, lambda raw: raw.update(sha256={})
    ),
    'sidecar with a path': lambda folder: change_sidecar(
        folder, lambda raw: raw.update(sha256={'../../../etc/passwd': 'ab'})
    ),
    'sidecar of zeros, as a power cut leaves it': lambda folder: (folder / 'key.json').write_bytes(
        bytes(200)
    ),
    'sidecar that is no object': lambda folder: (folder / 'key.json').write_text('[1]'),
    'no sidecar': lambda folder: (folder / 'key.json').unlink(),
    'other engine renamed to this place': lambda folder: change_sidecar(
        folder, lambda raw: raw['key'].update(gpu='Thor')
    ),
}


@pytest.mark.parametrize('damage', DAMAGE.values(), ids=DAMAGE)
def test_entry_that_cannot_be_trusted_is_built_anew_and_said(cache, build, said, damage):
    cache.get(KEY, build)
    damage(entry(cache))
    assert cache.get(KEY, build) == {'engine.plan': b'engine 2'}
    (sentence,) = said
    assert 'building it anew' in sentence
    assert cache.get(KEY, build) == {'engine.plan': b'engine 2'}
    assert len(said) == 1


def a_file_in_its_place(folder):
    folder.write_text('')


def a_folder_of_somebody_else(folder):
    folder.mkdir()
    os.chown(folder, 12345, 12345)


def a_folder_that_all_can_write(folder):
    folder.mkdir()
    folder.chmod(0o777)


@pytest.mark.parametrize(
    'make', [a_file_in_its_place, a_folder_of_somebody_else, a_folder_that_all_can_write]
)
def test_engine_is_used_without_a_cache_that_cannot_be_used_and_said(cache, build, said, make):
    try:
        make(cache.folder)
    except PermissionError:
        pytest.skip('only root can give a folder away')
    for turn in (1, 2):
        assert cache.get(KEY, build) == {'engine.plan': b'engine %d' % turn}
        assert len(said) == turn
        assert f'cannot be kept in {cache.folder}' in said[-1]
        assert 'XDG_CACHE_HOME' in said[-1]


@pytest.mark.parametrize('call', ['os.open', 'tempfile.mkdtemp'])
def test_read_only_cache_gives_what_it_has_and_keeps_nothing_new(
    cache, build, said, monkeypatch, call
):
    cache.get(KEY, build)

    def refuse(*arguments, **named):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    owner, name = call.split('.')
    monkeypatch.setattr(getattr(module, owner), name, refuse)
    monkeypatch.setattr(module.os, 'utime', refuse)
    assert cache.get(KEY, build) == {'engine.plan': b'engine 1'}
    assert said == []
    monkeypatch.setattr(
        module.tempfile, 'TemporaryDirectory', lambda prefix: Here(cache.folder.parent / 'scratch')
    )
    assert cache.get({**KEY, 'gpu': 'Thor'}, build) == {'engine.plan': b'engine 2'}
    assert 'Read-only file system' in said[0]


class Here:
    """A folder that is entered as a temporary one."""

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        self.folder.mkdir()
        return str(self.folder)

    def __exit__(self, *what):
        pass


def test_full_disk_costs_the_entry_but_not_the_engine(cache, build, said, monkeypatch):
    def full(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module, '_flush', full)
    assert cache.get(KEY, build) == {'engine.plan': b'engine 1'}
    assert 'No space left' in said[0]
    assert not leftovers(cache)
    assert not list(cache.folder.glob('*/key.json'))


@pytest.mark.parametrize('error', [OSError(errno.ENOSPC, 'full'), ModelError('cannot build it')])
def test_disk_that_is_too_full_for_the_engine_costs_the_entry_only(
    cache, build, said, monkeypatch, error
):
    """The builder is another process: its error need not tell of a disk."""

    def build_where_there_is_room(folder):
        build(folder)
        if folder.parent == cache.folder:
            raise error

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(type(error)):  # where there is room, the fault is another one
        cache.get(KEY, build_where_there_is_room)
    monkeypatch.setattr(module.os, 'fsync', full)
    assert cache.get(KEY, build_where_there_is_room) == {'engine.plan': b'engine 3'}
    (sentence,) = said
    assert 'cannot be kept' in sentence
    assert 'No space left' in sentence
    assert not leftovers(cache)


def test_entry_appears_at_once_and_after_all_of_it_is_on_the_disk(cache, build, monkeypatch):
    """A power cut at any moment leaves the whole entry or none."""
    steps = []

    def rename(folder, place):
        steps.append('rename')
        assert not place.exists()
        os.rename(folder, place)

    flush = module._flush
    monkeypatch.setattr(module, '_flush', lambda path: (steps.append(path.name), flush(path)))
    monkeypatch.setattr(module.Path, 'rename', rename)
    cache.get(KEY, build)
    before, after = steps[: steps.index('rename')], steps[steps.index('rename') + 1 :]
    assert {'engine.plan', 'key.json'} < set(before)
    assert before[-1].startswith(f'.{entry(cache).name}.')
    assert after == [cache.folder.name]


def test_build_that_fails_leaves_nothing_behind(cache, build):
    def fail(folder):
        (folder / 'half').write_bytes(b'x')
        raise ValueError('no tactic')

    with pytest.raises(ValueError, match='no tactic'):
        cache.get(KEY, fail)
    assert not leftovers(cache)
    assert cache.get(KEY, build) == {'engine.plan': b'engine 1'}


def test_network_folder_without_locks_is_used_all_the_same(cache, build, monkeypatch):
    def no_locks(*arguments):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(module.fcntl, 'flock', no_locks)
    assert cache.get(KEY, build) == cache.get(KEY, build) == {'engine.plan': b'engine 1'}


def test_size_that_was_used_last_is_remembered(cache, build):
    assert cache.latest({**KEY, 'size_hw': None}, 'size_hw') is None
    sizes = [[480, 640], [512, 640]]
    cache.get({**KEY, 'size_hw': sizes[0]}, build)
    os.utime(entry(cache) / 'key.json', ns=(0, 0))
    cache.get({**KEY, 'size_hw': sizes[1]}, build)
    cache.get({**KEY, 'size_hw': [32, 32], 'gpu': 'Thor'}, build)
    assert cache.latest({**KEY, 'size_hw': None}, 'size_hw') == sizes[1]
    cache.get({**KEY, 'size_hw': sizes[0]}, build)
    assert cache.latest({**KEY, 'size_hw': None}, 'size_hw') == sizes[0]
