"""What a fault does to something other than the cameras: context managers around it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
import select
import signal
import subprocess
import sys

from live import HERE
from live import Live
from rig.stage import ROOT

from tdfusion_ros.backends.engine_cache import Cache
from tdfusion_ros.build import find_bundle
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.contract import GRAPH_FILE
from tdfusion_ros.core.errors import FusionError


@contextmanager
def viewer_hangs(live: Live) -> Iterator[None]:
    """Stop a reliable subscriber of the fused images, and kill it in the end."""
    command = [sys.executable, str(HERE / 'viewer_node.py')]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as viewer:
        try:
            live.wait_for(lambda: select.select([viewer.stdout], [], [], 0)[0], 'a viewer')
            viewer.send_signal(signal.SIGSTOP)
            yield
        finally:
            viewer.kill()


@contextmanager
def node_stops(live: Live) -> Iterator[None]:
    """Stop the node's process, as when a machine is suspended."""
    live.node.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        live.node.signal(signal.SIGCONT)


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a disk of 4 MB; yield whether that was permitted (it takes root)."""
    folder.mkdir()
    command = ['mount', '-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', str(folder)]
    mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(['umount', '--lazy', str(folder)], check=True)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    path = folder / 'filler'
    try:
        with path.open('wb', buffering=0) as stream:
            while True:
                stream.write(bytes(1 << 16))
    except OSError:
        yield
    finally:
        path.unlink()


@contextmanager
def disk_full(live: Live) -> Iterator[None]:
    """Fill the disk of the log and the saved pairs, and ask the node to save a pair."""
    with full(live.options.disk):
        live.record.warn(f'save_pair: {live.client.trigger("save_pair").message}')
        yield


@contextmanager
def cache_full(live: Live) -> Iterator[None]:
    """
    Fill the disk of the engine cache, which must return an engine and warn that it is not kept.

    The CPU engine is not cached, so this process asks the cache to keep the shipped graph.
    """
    graph = (find_bundle(FusionConfig().model) / GRAPH_FILE).read_bytes()

    def warn(text: str) -> None:
        live.record.warn(f'cache: {text}')

    def build(folder: Path) -> None:
        (folder / 'engine').write_bytes(graph)

    with full(live.options.disk):
        try:
            files = Cache(live.options.disk / 'cache', warn).get({'of': 'a test'}, build)
            if files != {'engine': graph}:
                warn(f'returned {sorted(files)}, not the engine')
        except (OSError, FusionError) as error:
            warn(f'returned no engine: {error}')
        yield
