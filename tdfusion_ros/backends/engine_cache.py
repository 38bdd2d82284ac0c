"""
Engines on disk: found by everything that they depend on, verified before use, written atomically.

    ~/.cache/tdfusion_ros/       mode 0700; $XDG_CACHE_HOME is respected
        DIGEST_OF_THE_KEY.engine a line with the sha256 of the rest, a line of JSON, the files
        DIGEST_OF_THE_KEY.lock   locked while building; the system unlocks it if the process dies

Whoever can write into the folder could put an engine there together with its hash, so a folder
that belongs to another user, or that others can write to, is not used.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from contextlib import suppress
from dataclasses import dataclass
import errno
import fcntl
from hashlib import sha256
import json
import os
from pathlib import Path
import tempfile
from typing import Any

from tdfusion_ros.atomic import replace_files
from tdfusion_ros.backends.progress import progress
from tdfusion_ros.core.errors import ModelError

NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)  # of some network file systems
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


def check_cache() -> None:
    """Raise ModelError if no engine can be kept."""
    folder = cache_folder()
    try:
        _make_private(folder)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ModelError(_not_kept(folder, error)) from None


def _not_kept(folder: Path, error: OSError) -> str:
    return (
        f'the engine cannot be kept in {folder} ({error.strerror or error}): make that folder '
        'yours and writable, or set XDG_CACHE_HOME'
    )


@dataclass(frozen=True)
class Cache:
    """
    The engines of this user.

    :param report: takes messages about unusable entries and folders, and about waiting.
    """

    folder: Path
    report: Callable[[str], None]

    def get(self, key: Key, build: Build) -> Files:
        """
        Return the files of an engine; build them if there is no entry that can be trusted.

        Of several processes that request the same engine one builds, and the others wait for it.

        :param key: what the engine depends on, as JSON represents it.
        :param build: writes the engine's files into an empty private folder, or raises.
        """
        with suppress(OSError, ValueError):  # reported below, where this process has the lock
            return self._read(key)
        files: Files = {}
        try:
            with self._lock(key):
                try:
                    return self._read(key)
                except FileNotFoundError:
                    pass
                except ValueError as fault:
                    self.report(f'the engine {self.place(key)} is {fault}: building it again')
                files = _built(build)
                self._keep(key, files)
        except OSError as error:
            self.report(f'{_not_kept(self.folder, error)}; until then every start builds it again')
        return files or _built(build)

    def latest(self, key: Key, free: str) -> Any:
        """Return ``key[free]`` of the last used entry that equals ``key`` elsewhere, or None."""
        found = []
        with suppress(OSError):  # get() reports it
            _make_private(self.folder)
            for place in self.folder.glob('*.engine'):
                kept = _key_of(place)
                if isinstance(kept, dict) and {**kept, free: None} == {**key, free: None}:
                    found.append((place.stat().st_mtime_ns, kept[free]))
        return max(found)[1] if found else None

    def place(self, key: Key) -> Path:
        """Return the file of an entry."""
        digest = sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self.folder / f'{digest[:32]}.engine'

    def _read(self, key: Key) -> Files:
        """
        Return the verified files of an entry.

        :raises FileNotFoundError: if there is no such entry; ValueError: saying what is wrong with
            it.
        :raises OSError: if the folder cannot be used.
        """
        _make_private(self.folder)
        place = self.place(key)
        digest, _, content = place.read_bytes().partition(b'\n')
        if sha256(content).hexdigest().encode() != digest:
            raise ValueError('damaged')
        header, _, rest = content.partition(b'\n')
        entry = json.loads(header)
        if entry['key'] != key:
            raise ValueError('for another key')
        files = {}
        for name, size in entry['sizes'].items():
            files[name], rest = rest[:size], rest[size:]
        with suppress(OSError):  # a read-only cache is fine, too
            os.utime(place)  # latest() compares these times
        return files

    def _keep(self, key: Key, files: Files) -> None:
        """Write an entry; a power cut leaves all of it or nothing."""
        place = self.place(key)
        for left in self.folder.glob(f'.{place.stem}.*'):  # by a process that was killed
            left.unlink(missing_ok=True)
        sizes = {name: len(content) for name, content in files.items()}
        header = json.dumps({'key': key, 'sizes': sizes}).encode()
        content = b'\n'.join((header, b''.join(files.values())))
        digest = sha256(content).hexdigest().encode()
        replace_files({place: digest + b'\n' + content}, 0o600)

    @contextmanager
    def _lock(self, key: Key) -> Iterator[None]:
        """Lock an entry for the duration; report progress while another process has the lock."""
        _make_private(self.folder)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.place(key).with_suffix('.lock'), flags, 0o600)
        try:
            with progress('waiting for another process that builds the same engine', self.report):
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                except OSError as error:
                    if error.errno not in NO_LOCKS:  # without, two may build, and both are whole
                        raise
            yield
        finally:
            os.close(descriptor)


def _built(build: Build) -> Files:
    try:
        with tempfile.TemporaryDirectory(prefix='tdfusion_ros_') as folder:
            build(Path(folder))
            return {
                path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()
            }
    except OSError as error:
        raise ModelError(f'the engine cannot be built: {error}') from error


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, 'it belongs to another user')
    if status.st_mode & 0o022:
        raise PermissionError(errno.EPERM, 'others can write to it')
    if status.st_mode & 0o077:
        with suppress(OSError):  # a read-only folder that others can read is safe
            folder.chmod(0o700)


def _key_of(place: Path) -> Any:
    """Return the key of an entry, not verified; None if it cannot be read."""
    try:
        with place.open('rb') as stream:
            stream.readline()
            return json.loads(stream.readline())['key']
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return None
