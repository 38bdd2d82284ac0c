"""
Write files and folders completely or not at all: also on a full disk, and if the power fails.

Everything is written to a temporary file in the same folder, synced to disk, and renamed. A
process that is killed leaves at most a hidden ``.NAME.*.tmp``.
"""

from argparse import ArgumentParser
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from contextlib import contextmanager
from contextlib import suppress
import errno
import json
import os
from pathlib import Path
from secrets import token_hex
import shutil
import stat
from typing import Any

from tdfusion_ros.core.errors import OutputError

REMEDIES = {
    errno.ENOSPC: 'make space there, or name another place',
    errno.EDQUOT: 'make space there, or name another place',
    errno.EACCES: 'name a place that you may write',
    errno.EPERM: 'name a place that you may write',
    errno.EROFS: 'name a place that you may write',
    errno.EISDIR: 'name a file, not a folder',
}


def write_file(path: Path, content: bytes | str) -> None:
    """Replace a file when the new one, text in UTF-8, is complete; as :func:`write_files`."""
    write_files({path: content.encode() if isinstance(content, str) else content})


def write_files(files: Mapping[Path, bytes]) -> None:
    """Write all of some files, or none of them; OutputError if that is impossible."""
    with output_errors(next(iter(files))):
        replace_files({_place(path): content for path, content in files.items()})


def replace_files(files: Mapping[Path, bytes], mode: int = 0o666) -> None:
    """Write all of some files, or none; OSError if that fails. ``mode``: of new ones."""
    written: dict[Path, Path] = {}
    try:
        for path, content in files.items():
            if _is_device(path):
                with path.open('ab') as output:
                    output.write(content)
                continue
            make_folder(path.parent)
            written[path] = temporary = _beside(path)
            old = stat.S_IMODE(path.stat().st_mode) if path.exists() else mode
            _write(temporary, content, old)
        for path, temporary in written.items():
            os.replace(temporary, path)
    finally:
        for temporary in written.values():
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    for folder in {path.parent for path in written}:
        _sync_folder(folder)


def write_json(path: Path | None, content: Any) -> None:
    """Write content as a JSON file, if there is a path, as :func:`write_files`."""
    if path is not None:
        write_file(path, json.dumps(content, indent=2) + '\n')


def add_output(parser: ArgumentParser, meaning: str, **how: Any) -> None:
    """Add ``-o PATH``, which says ``meaning``, and ``--overwrite`` to the options."""
    parser.add_argument('-o', '--output', type=Path, help=meaning, **{'metavar': 'FILE', **how})
    parser.add_argument('--overwrite', action='store_true', help='replace an output that exists')


def check_outside(path: Path, inputs: Iterable[Path | None]) -> None:
    """Raise OutputError if a file or folder to write is an input, or inside one."""
    place = path.resolve()
    for given in filter(None, inputs):
        if given.resolve() in (place, *place.parents):
            inside = 'inside ' if given.resolve() != place else ''
            raise OutputError(f'{path} is {inside}the input {given}: name a path outside of it')


def check_file(
    path: Path | None, inputs: Iterable[Path | None] = (), *, overwrite: bool = False
) -> None:
    """
    Raise OutputError before the work if a file (None: no file) cannot be written later.

    :param inputs: what it must not replace, and not be inside of.
    :param overwrite: it may replace a file.
    """
    if path is None:
        return
    with output_errors(path):
        with suppress(FileNotFoundError):
            path.stat()  # raises errors that is_file and is_dir suppress since Python 3.14
        check_outside(path, inputs)
        if not overwrite and path.is_file():
            raise OutputError(f'{path} exists: name a new file, or add --overwrite')
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if _is_device(path):
            if not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return
    check_place(path)


def check_place(path: Path) -> None:
    """Raise OutputError before the work if a file or folder cannot be made there later."""
    with output_errors(path):
        place = path.resolve()
        while not place.parent.exists():  # missing folders are made when there is something in it
            place = place.parent
        probe = _beside(place)
        try:
            _write(probe, bytes(4096), 0o600)
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn each OSError into an OutputError that names what is written and what to do."""
    try:
        yield
    except OSError as error:
        remedy = f'; {REMEDIES[error.errno]}' if error.errno in REMEDIES else ''
        why = f'{error.strerror or error}{remedy}'
        raise OutputError(f'{path} cannot be written: {why}') from error


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, if they do not exist; OSError if that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None


class NewOutput:
    """
    A folder, or a file of any size, that appears under its name when it is complete.

    As a context manager it returns its temporary path, and is discarded if an exception ends the
    context.

    :param replace: take the place of what has that name, when it is complete.
    :raises OutputError: if ``path`` exists or it cannot be made.
    """

    def __init__(self, path: Path, *, replace: bool = False) -> None:
        self._target, self._replace = path, replace
        if (path.exists() or path.is_symlink()) and not (replace and path.exists()):
            raise OutputError(f'{path} exists: name a new folder')
        with output_errors(path):
            make_folder(path.parent)
            self._holder = _beside(path.resolve())
            self._holder.mkdir()
        self.partial = self._holder / path.name
        """Where to write; has the final name, and has to be made."""

    def __enter__(self) -> Path:
        return self.partial

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.commit()
        self.discard()

    def write(self, name: str, content: bytes) -> None:
        """Write a file in it; OutputError if that is impossible."""
        with output_errors(self._target):
            (self.partial / name).write_bytes(content)

    def commit(self) -> None:
        """Rename it to its final name; if that is impossible, remove it and raise OutputError."""
        try:
            with output_errors(self._target):
                if self.partial.is_file():
                    _sync(self.partial)
                for folder, _, names in os.walk(self.partial):
                    for name in names:
                        _sync(Path(folder, name))
                old = self._holder / 'old'
                target = self._target.resolve() if self._replace else self._target
                if self._replace and target.is_dir():
                    os.rename(target, old)
                try:
                    os.rename(self.partial, target)
                except OSError:
                    if old.exists():
                        os.rename(old, target)
                    raise
                _sync_folder(self._target.parent)
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove what was not committed."""
        shutil.rmtree(self._holder, ignore_errors=True)


def _is_device(path: Path) -> bool:
    """Return whether a path is written in place: a device, a pipe, or an output of a process."""
    text = str(path.absolute())
    is_output = text in ('/dev/stdout', '/dev/stderr') or text.startswith(('/dev/fd/', '/proc/'))
    return is_output or (path.exists() and not path.is_file())


def _place(path: Path) -> Path:
    return path if _is_device(path) else path.resolve()  # a link stays a link


def _beside(path: Path) -> Path:
    # A name may have 255 bytes, and a character up to 4.
    return path.with_name(f'.{path.name[:50]}.{token_hex(4)}.tmp')


def _write(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(descriptor, 'wb') as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Sync the names in a folder to disk; not every file system can."""
    with suppress(OSError):
        _sync(folder)
