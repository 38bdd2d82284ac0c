"""The real node between two camera processes, and a record of what it publishes."""

from collections.abc import Callable
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
import json
from pathlib import Path
import subprocess
import sys
from threading import Thread
from time import monotonic
from typing import Any

from camera import CameraSettings
from diagnostic_msgs.msg import DiagnosticArray
from rig.lifecycle import Manager
from rig.stage import ROOT
from rig.stage import Stage
from sensor_msgs.msg import Image
from std_msgs.msg import Float64

from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.formats.messages import cdr_stamp_ns
from tdfusion_ros.tools.bench.host import process_usage

HERE = Path(__file__).parent
START_S = 60.0  # for a process to start on a busy machine
STREAMS = ('rgb', 'ir')
NODE = ('-m', 'tdfusion_ros.node')
OK = b'\x00'  # of diagnostic_msgs/DiagnosticStatus


@dataclass(frozen=True)
class Options:
    """How to run the node."""

    size: str = '640x480'  # of both images
    hz: float = 20.0
    parameters: dict[str, Any] = field(default_factory=dict)
    disk: Path | None = None  # folder on a small disk that a test may fill


@dataclass
class Record:
    """What was sent and received; all times are monotonic [s], stamps in ns."""

    sent: dict[str, dict[int, float]] = field(default_factory=lambda: {s: {} for s in STREAMS})
    """For each camera, the sending time by stamp."""
    results: list[tuple[float, int]] = field(default_factory=list)
    """Arrival and stamp of each fused image; ``fresh``: only if its images belong together."""
    fresh: list[tuple[float, int]] = field(default_factory=list)
    warnings: list[tuple[float, str]] = field(default_factory=list)
    """Arrival time and ``subject: message`` of each status that is not OK."""
    values: dict[str, str] = field(default_factory=dict)  # latest values of the diagnostics
    healthy: bool = False  # whether the latest diagnostics are all OK

    def clear(self) -> None:
        for items in (*self.sent.values(), self.results, self.fresh, self.warnings):
            items.clear()

    def add_result(self, data: bytes) -> None:
        self.results.append((monotonic(), cdr_stamp_ns(data)))

    def add_diagnostics(self, message: DiagnosticArray) -> None:
        """Record diagnostics of the node under test; others publish on the same topic."""
        statuses = [s for s in message.status if s.name.startswith('/tdfusion: ')]
        if not statuses:
            return
        self.values = {v.key: v.value for status in statuses for v in status.values}
        self.healthy = all(status.level == OK for status in statuses)
        for status in statuses:
            if status.level != OK:
                self.warn(f'{status.name.split(": ")[1]}: {status.message}')

    def add_skew(self, message: Float64) -> None:
        """Record that the last result is fresh; a reused image has a larger skew."""
        if abs(message.data) <= SyncConfig().max_skew_ms and self.results:
            self.fresh.append((monotonic(), self.results[-1][1]))

    def warn(self, text: str) -> None:
        self.warnings.append((monotonic(), text))

    def sent_s(self, stamp_ns: int) -> float | None:
        """Return when the image of a result was sent [s]."""
        return self.sent['rgb'].get(stamp_ns, self.sent['ir'].get(stamp_ns))

    def ages_ms(self, begin: float, end: float) -> list[float]:
        """Return the ages at arrival of the results that arrived between two times [ms]."""
        ages = [(at, self.sent_s(stamp)) for at, stamp in self.results if begin <= at < end]
        return [(at - sent) * 1e3 for at, sent in ages if sent is not None]

    def result_hz(self, begin: float, end: float) -> float:
        return sum(begin <= at < end for at, _ in self.results) / (end - begin)


class CameraProcess:
    """A camera to start, change and kill; ``sent`` gets the sending times by stamp."""

    def __init__(self, name: str, size: str, sent: dict[int, float]) -> None:
        self._command = [sys.executable, str(HERE / 'camera.py'), name, size]
        self._sent = sent
        self._process: subprocess.Popen | None = None
        self._events: dict[str, float] = {}

    def set(self, settings: CameraSettings | None) -> None:
        """Send it settings, starting it if necessary; None: kill it."""
        if settings is None:
            self.kill()
            return
        if self._process is None:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            Thread(target=self._read, args=(self._process,), daemon=True).start()
        self._events.clear()
        self._process.stdin.write(json.dumps(asdict(settings)).encode() + b'\n')
        self._process.stdin.flush()

    def changed_s(self) -> float | None:
        """Return when it applied its settings, now if it is killed, None if it has not yet [s]."""
        return monotonic() if self._process is None else self._events.get('changed')

    def found_s(self) -> float:
        """Return when a subscription matched its new publisher; 0: no new publisher [s]."""
        return self._events.get('found', 0.0)

    def kill(self) -> None:
        """Kill it: it cannot leave the DDS graph cleanly."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _read(self, process: subprocess.Popen) -> None:
        for line in process.stdout:
            event, *values = line.decode('ascii', 'replace').split()
            if event == 'sent':
                self._sent[int(values[0])] = float(values[1])
            elif process is self._process and event in ('changed', 'found'):
                self._events[event] = float(values[0])


class Live:
    """The node, two cameras that send already, and a listener, as a context manager."""

    def __init__(self, folder: Path, options: Options, script: tuple[str, ...] = NODE) -> None:
        self.options = options
        self.normal = CameraSettings(hz=options.hz)
        self.record = Record()
        self._stage = Stage(folder)
        self.node = self._stage.start_node(options.parameters, script=script)
        self.client = self._stage.client()
        create = self.client.node.create_subscription
        create(Image, '/fused/image_raw', self.record.add_result, 10, raw=True)
        create(DiagnosticArray, '/diagnostics', self.record.add_diagnostics, 10)
        create(Float64, '/tdfusion/debug/skew_ms', self.record.add_skew, 10)
        self._manager = Manager(self.client)
        self._cameras = {s: CameraProcess(s, options.size, self.record.sent[s]) for s in STREAMS}

    def __enter__(self) -> 'Live':
        try:
            self.set_cameras(self.normal, self.normal)
            self.wait_for(lambda: self.record.fresh, 'a first result')
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End everything; fail unless the node ends with status 0 and without a traceback."""
        for camera in self._cameras.values():
            camera.kill()
        self._stage.close()

    def wait_for(self, condition: Callable[[], Any], what: str, timeout: float = START_S) -> None:
        """Receive until a condition is true; fail after the timeout or when the node ends."""

        def done() -> Any:
            assert self.node.running(), f'the node ended\n{self.node.log()}'
            return condition()

        self.client.wait_until(done, what, timeout)

    def watch(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Receive for some time or until a condition is true."""
        end = monotonic() + seconds
        self.wait_for(lambda: until() or monotonic() >= end, 'the time', seconds + START_S)

    def set_cameras(self, rgb: CameraSettings | None, ir: CameraSettings | None) -> float:
        """Change both cameras; return the time from which both use their settings [s]."""
        cameras = self._cameras.values()
        for camera, settings in zip(cameras, (rgb, ir), strict=True):
            camera.set(settings)
        times: list[float | None] = []

        def changed() -> bool:
            times[:] = [camera.changed_s() for camera in cameras]
            return None not in times

        self.wait_for(changed, 'the cameras')
        return max(times)

    def found_s(self) -> float:
        """Return when DDS matched the last new publisher since ``set_cameras`` [s]."""
        return max(camera.found_s() for camera in self._cameras.values())

    def state(self) -> str:
        return self._manager.state()

    def resources(self) -> dict[str, float]:
        """Return what the node's process uses: memory, threads, descriptors, shared memory."""
        folder, shared = Path('/proc', str(self.node.pid)), 0
        used = process_usage(self.node.pid)
        for line in (folder / 'maps').read_text(encoding='utf-8').splitlines():
            if '/dev/shm/' in line:
                first, last = line.split(maxsplit=1)[0].split('-')
                shared += int(last, 16) - int(first, 16)
        return {
            'memory_mib': used['memory_mib'],
            'threads': used['threads'],
            'descriptors': len(list((folder / 'fd').iterdir())),
            'shared_mib': round(shared / 2**20, 1),
        }
