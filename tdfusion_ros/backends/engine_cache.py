"""
Engines on disk: found by everything they depend on, checked before use, kept whole or not at all.

    ~/.cache/tdfusion_ros/       0700, ours alone; $XDG_CACHE_HOME is respected
        DIGEST_OF_THE_KEY/       renamed into place once it is complete and on the disk
            key.json             the key in words, and the sha256 of every other file
            ...                  the engine
        DIGEST_OF_THE_KEY.lock   held while building; the system frees it if its process dies

An entry is handed out as bytes whose hash has just been checked. Whoever can write into the folder
could put a hash there together with an engine, so the folder must belong to us and be writable by
nobody else; otherwise it is not used.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from contextlib import ExitStack
from contextlib import suppress
from dataclasses import dataclass
import errno
import fcntl
from hashlib import sha256
import json
import os
from pathlib import Path
import shutil
import tempfile
from time import monotonic
from time import sleep
from typing import Any

from tdfusion_ros.core.errors import FusionError

SIDECAR = 'key.json'
ROOM = 1 << 20  # that a disk which is not full has left
PATIENCE_S = 5.0  # between two messages while somebody waits
Key = Mapping[str, Any]
Build = Callable[[Path], None]
Files = dict[str, bytes]


def cache_folder() -> Path:
    """Return where engines are kept; a relative $XDG_CACHE_HOME is ignored, as its spec says."""
    place = Path(os.environ.get('XDG_CACHE_HOME', ''))
    if not place.is_absolute():
        try:
            place = Path.home() / '.cache'
        except RuntimeError:  # a user without a home, as in a container: nothing is kept
            place = Path(os.devnull)
    return place / 'tdfusion_ros'


@dataclass(frozen=True)
class Cache:
    """
    The engines of this user.

    :param report: takes the sentences about what is wrong with the cache.
    """

    folder: Path
    report: Callable[[str], None]

    def get(self, key: Key, build: Build) -> Files:
        """
        Return the files of an engine, built now if there is none that can be trusted.

        Of several processes that want the same engine one builds, the others wait for it.

        :param key: what the engine depends on, as JSON holds it.
        :param build: writes the engine's files into an empty private folder, or raises.
        """
        with ExitStack() as stack:
            try:
                _make_private(self.folder)
                files, fault = self._find(key)
                if not files:
                    stack.enter_context(self._lock(key))
                    files, fault = self._find(key)
                if files:
                    return files
                if fault:
                    self.report(f'the kept engine {self._place(key)} is {fault}: building it anew')
                folder = self._workplace(key)
            except OSError as error:
                return self._without_keeping(build, error)
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            try:
                build(folder)
            except (OSError, FusionError):
                full = _no_room(folder)  # the engine is large: it is what a full disk hits
                if full is None:
                    raise
                shutil.rmtree(folder, ignore_errors=True)
                return self._without_keeping(build, full)
            return self._keep(folder, key)

    def latest(self, key: Key, free: str) -> Any:
        """Return ``key[free]`` of the entry used last that agrees with the rest; else None."""
        found = []
        try:
            _make_private(self.folder)
        except OSError:  # get() will say so
            return None
        for sidecar in self.folder.glob(f'[!.]*/{SIDECAR}'):
            kept = _read_sidecar(sidecar).get('key')
            if isinstance(kept, dict) and {**kept, free: None} == {**key, free: None}:
                with suppress(OSError):
                    found.append((sidecar.stat().st_mtime_ns, kept[free]))
        return max(found)[1] if found else None

    def _place(self, key: Key) -> Path:
        return self.folder / sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]

    def _find(self, key: Key) -> tuple[Files, str]:
        """Return the files of an entry, or nothing and what is wrong with it."""
        place = self._place(key)
        if not place.exists():
            return {}, ''
        sidecar = _read_sidecar(place / SIDECAR)
        hashes = sidecar.get('sha256')
        if sidecar.get('key') != key or not isinstance(hashes, dict) or not hashes:
            return {}, 'not the one its place says'
        files: Files = {}
        for name, wanted in hashes.items():
            try:
                files[name] = (place / Path(name).name).read_bytes()
            except OSError as error:
                return {}, f'incomplete ({error})'
            if sha256(files[name]).hexdigest() != wanted:
                return {}, f'damaged ({name})'
        with suppress(OSError):  # a read-only cache is as good
            os.utime(place / SIDECAR)  # latest() goes by it
        return files, ''

    def _workplace(self, key: Key) -> Path:
        """Return an empty folder beside the entry's place; the lock is held."""
        name = self._place(key).name
        for rest in self.folder.glob(f'.{name}.*'):  # of a process that did not end well
            shutil.rmtree(rest, ignore_errors=True)
        return Path(tempfile.mkdtemp(prefix=f'.{name}.', dir=self.folder))

    def _keep(self, folder: Path, key: Key) -> Files:
        """Make an entry of what was built in ``folder``, and return it."""
        place, files = self._place(key), _read_files(folder)
        hashes = {name: sha256(content).hexdigest() for name, content in files.items()}
        text = json.dumps({'key': key, 'sha256': hashes}, indent=1)
        try:
            (folder / SIDECAR).write_text(text + '\n', encoding='utf-8')
            for path in folder.iterdir():
                path.chmod(0o600)
                _flush(path)
            _flush(folder)
            shutil.rmtree(place, ignore_errors=True)
            folder.rename(place)
            _flush(self.folder)
        except OSError as error:
            self._complain(error)
        return files

    def _without_keeping(self, build: Build, error: OSError) -> Files:
        self._complain(error)
        with tempfile.TemporaryDirectory(prefix='tdfusion_ros_') as folder:
            build(Path(folder))
            return _read_files(Path(folder))

    def _complain(self, error: OSError) -> None:
        self.report(
            f'the engine cannot be kept in {self.folder} ({error.strerror or error}): every start '
            'will build it anew; make that folder yours and writable, or set XDG_CACHE_HOME'
        )

    @contextmanager
    def _lock(self, key: Key) -> Iterator[None]:
        """Hold the entry's lock; say every few seconds that somebody else does."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._place(key).with_suffix('.lock'), flags, 0o600)
        began = said = monotonic()
        try:
            while not _locked(descriptor):
                if monotonic() - said >= PATIENCE_S:
                    said = monotonic()
                    self.report(
                        'another process is building the same engine: waiting for it, '
                        f'{said - began:.0f} s so far'
                    )
                sleep(0.1)
            yield
        finally:
            os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):  # a network folder has no locks:
            raise  # then two may build; the last one to rename wins, and both are whole
    return True


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = folder.stat()
    if facts.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, 'it belongs to another user')
    if facts.st_mode & 0o022:  # then what lies in it may be from anybody
        raise PermissionError(errno.EPERM, 'others can write into it')
    if facts.st_mode & 0o077:
        with suppress(OSError):  # a read-only one that others can read is no danger
            folder.chmod(0o700)


def _read_sidecar(path: Path) -> dict[str, Any]:
    """Return what the sidecar holds; nothing if it cannot be read."""
    try:
        raw = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError):
        return {}
    return raw if isinstance(raw, dict) else {}


def _read_files(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def _no_room(folder: Path) -> OSError | None:
    """Return what keeps more from being written into a folder, None if nothing does."""
    path = folder / 'room'
    try:
        with path.open('wb') as stream:
            stream.write(bytes(ROOM))
            os.fsync(stream.fileno())
        path.unlink()
    except OSError as error:
        return error
    return None


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
