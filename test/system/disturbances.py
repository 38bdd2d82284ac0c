"""What a fault does to something other than the cameras: context managers around it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextlib import suppress
from pathlib import Path
import select
import signal
import subprocess
import sys

from live import Live
from rig.stage import ROOT

VIEWER = """
import rclpy
from sensor_msgs.msg import Image

rclpy.init(args=[])
node = rclpy.create_node('test_viewer')
node.create_subscription(Image, '/fused/image_raw', lambda _: print('receiving', flush=True), 10)
rclpy.spin(node)
"""


@contextmanager
def viewer_hangs(live: Live) -> Iterator[None]:
    """Stop a reliable subscriber of the fused images, and kill it in the end."""
    command = [sys.executable, '-c', VIEWER]
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
def disk_full(live: Live) -> Iterator[None]:
    """Fill the disk of the log and the saved pairs, and ask the node to save a pair."""
    path = live.options.disk / 'filler'
    try:
        with suppress(OSError), path.open('wb', buffering=0) as stream:
            while True:
                stream.write(bytes(1 << 16))
        live.record.warn(f'save_pair: {live.client.trigger("save_pair").message}')
        yield
    finally:
        path.unlink()
