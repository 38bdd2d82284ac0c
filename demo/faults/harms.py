"""What is done to others than the cameras while a fault lasts: each a context around it."""

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextlib import contextmanager
from pathlib import Path
import select
import signal
import subprocess
import sys
from time import monotonic

from benchmarks.live.rig import Rig
from demo.run import ROOT
from tdfusion_ros.backends.engine_cache import Cache
from tdfusion_ros.build import find_bundle
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.contract import GRAPH_FILE
from tdfusion_ros.core.errors import FusionError

Harm = Callable[[Rig], AbstractContextManager[None]]
DISK = '4m'
BLOCK = bytes(1 << 16)


@contextmanager
def none(rig: Rig) -> Iterator[None]:
    """Do nothing."""
    yield


@contextmanager
def viewer_hangs(rig: Rig) -> Iterator[None]:
    """Let a reliable subscriber of the fused images stand still, and die in the end."""
    command = [sys.executable, '-m', 'benchmarks.live.viewer']
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as viewer:
        try:
            out = viewer.stdout
            rig.wait_for(lambda: bool(select.select([out], [], [], 0)[0]), 'a viewer')
            viewer.send_signal(signal.SIGSTOP)
            yield
        finally:
            viewer.kill()


@contextmanager
def node_stops(rig: Rig) -> Iterator[None]:
    """Let the node's process stand still, as on a machine that is suspended."""
    rig.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        rig.signal(signal.SIGCONT)


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a disk of four megabytes; yield whether that is allowed here (root)."""
    folder.mkdir()
    command = ['mount', '-t', 'tmpfs', '-o', f'size={DISK}', 'tmpfs', str(folder)]
    mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(['umount', '--lazy', str(folder)], check=True)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Write into a folder until nothing fits into it any more."""
    path = folder / 'everything'
    try:
        with path.open('wb', buffering=0) as stream:
            while True:
                stream.write(BLOCK)
    except OSError:
        yield
    finally:
        path.unlink()


@contextmanager
def disk_full(rig: Rig) -> Iterator[None]:
    """Leave no room for the node's log and its saved pairs, and let it save one."""
    with full(rig.disk):
        rig.heard.said.append((monotonic(), 'save_pair', 2, rig.save_pair()))
        yield


@contextmanager
def cache_full(rig: Rig) -> Iterator[None]:
    """
    Leave no room for an engine in the cache.

    The engine on the CPU keeps nothing: here the cache itself is given the shipped graph to keep,
    in this process. It has to return that, and to say that it could not keep it.
    """
    graph = (find_bundle(FusionConfig().model) / GRAPH_FILE).read_bytes()

    def say(sentence: str) -> None:
        rig.heard.said.append((monotonic(), 'cache', 2, sentence))

    def build(place: Path) -> None:
        (place / 'engine').write_bytes(graph)

    with full(rig.disk):
        try:
            files = Cache(rig.disk / 'cache', say).get({'of': 'a demo'}, build)
            if files != {'engine': graph}:
                say(f'returned {sorted(files)}, not the engine')
        except (OSError, FusionError) as error:
            say(f'gave no engine: {error}')
        yield
