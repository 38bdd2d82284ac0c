"""What a live run holds: camera processes, the node's process, and what was heard of it."""

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
import subprocess
import sys
from threading import Thread
from time import monotonic
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import GetState
from rclpy.serialization import deserialize_message
from std_msgs.msg import Float64
from std_srvs.srv import Trigger

from benchmarks.live.camera import Settings
from benchmarks.live.stream import stamp_of
from demo.player import Player
from demo.run import ROOT
from tdfusion_ros.core.config import SyncConfig
from tdfusion_ros.core.errors import BagError
from tdfusion_ros.tools.bench import host as machine

START_S = 60.0  # that a process gets to start, on a machine with other work
ANSWER_S = 5.0  # of a service
STREAMS = ('rgb', 'ir')


class CameraProcess:
    """
    A camera that can be started, changed and killed.

    :param sent: takes the time at which each picture was sent, by its stamp [ns] -> [s].
    """

    def __init__(self, name: str, size: str, sent: dict[int, float]) -> None:
        self._command = [sys.executable, '-m', 'benchmarks.live.camera', name, size]
        self._sent = sent
        self._process: subprocess.Popen | None = None
        self._heard: list[list[str]] = []

    def set(self, settings: Settings | None) -> None:
        """Let it follow settings, started anew if need be; None kills it as nothing else does."""
        if settings is None:
            self.kill()
            return
        if self._process is None:
            self._start()
        self._heard.clear()
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(settings.line())
        self._process.stdin.flush()

    def taken_s(self) -> float | None:
        """Return when it took its settings, for one that was killed now; None: not yet [s]."""
        return monotonic() if self._process is None else self._said_s('changed')

    def found_s(self) -> float:
        """Return when DDS found a subscription to its new publisher, 0 if it has none [s]."""
        return self._said_s('found') or 0.0

    def _said_s(self, word: str) -> float | None:
        return next((float(words[1]) for words in self._heard if words[0] == word), None)

    def kill(self) -> None:
        """End it as the system does when memory is short: it cannot say good-bye."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        Thread(target=self._read, args=(self._process,), daemon=True).start()

    def _read(self, process: Any) -> None:
        for line in process.stdout:
            words = line.decode('ascii', 'replace').split()
            if words[0] == 'sent':
                self._sent[int(words[1])] = float(words[2])
            elif process is self._process:
                self._heard.append(words)


@dataclass
class Heard:
    """
    What was heard of the node; times are monotonic [s].

    :param sent: when the picture of a stamp [ns] was sent, of each camera.
    :param results: arrival and stamp [ns] of every fused image.
    :param fresh: arrival of the word that a result was made of two pictures that belong together,
        and of the stamp [ns] of the last result before it.
    :param said: arrival, subject, level and sentence of every status that is not OK.
    :param values: the latest values of the diagnostics.
    """

    sent: dict[str, dict[int, float]] = field(default_factory=lambda: {s: {} for s in STREAMS})
    results: list[tuple[float, int]] = field(default_factory=list)
    fresh: list[tuple[float, int]] = field(default_factory=list)
    said: list[tuple[float, str, int, str]] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)

    def forget(self) -> None:
        """Forget what was sent and heard so far, but for the values."""
        for kept in (*self.sent.values(), self.results, self.fresh, self.said):
            kept.clear()

    def take(self, topic: str, data: bytes) -> None:
        """Note a serialized message of the node."""
        now = monotonic()
        if topic == '/fused/image_raw':
            self.results.append((now, stamp_of(data)))
        elif topic == '/diagnostics':
            statuses = deserialize_message(data, DiagnosticArray).status
            self.values = {v.key: v.value for status in statuses for v in status.values}
            for status in statuses:
                if level := status.level[0]:
                    self.said.append((now, status.name.split(': ')[1], level, status.message))

    def take_skew(self, message: Float64) -> None:
        """Note the skew of the result at hand: that of a held picture is not fresh."""
        if abs(message.data) <= SyncConfig().max_skew_ms and self.results:
            self.fresh.append((monotonic(), self.results[-1][1]))

    def sent_s(self, stamp_ns: int) -> float | None:
        """Return when the picture that a result has its stamp of was sent [s]."""
        return self.sent['rgb'].get(stamp_ns, self.sent['ir'].get(stamp_ns))

    def ages_ms(self, begin: float, end: float) -> list[float]:
        """Return how old the results that came in a span of time were then [ms]."""
        ages = [(at, self.sent_s(stamp)) for at, stamp in self.results if begin <= at < end]
        return [(at - sent) * 1e3 for at, sent in ages if sent is not None]

    def total(self, name: str) -> int:
        """Return a counter of the diagnostics."""
        return int(self.values.get(name, 0))


def hz(times: list[tuple[float, int]], begin: float, end: float) -> float:
    """Return how many came a second in a span of time."""
    return sum(begin <= at < end for at, _ in times) / (end - begin)


class Rig:
    """
    Both cameras and the listener around a node that was started already.

    :param node: its process.
    :param size: of the pictures, as 640x480.
    :param disk: a folder that may be filled to the last byte.
    """

    def __init__(self, node: subprocess.Popen, size: str, disk: Path = Path()) -> None:
        self.heard = Heard()
        self.disk = disk
        self._node = node
        self._cameras = {s: CameraProcess(s, size, self.heard.sent[s]) for s in STREAMS}
        self._player = Player({}, self.heard.take, self.alive)
        ros = self._player.node
        ros.create_subscription(Float64, '/tdfusion/debug/skew_ms', self.heard.take_skew, 10)
        self._state = ros.create_client(GetState, '/tdfusion/get_state')
        self._saver = ros.create_client(Trigger, '/tdfusion/save_pair')

    def __enter__(self) -> 'Rig':
        return self

    def __exit__(self, *_: object) -> None:
        for camera in self._cameras.values():
            camera.kill()
        self._player.__exit__()

    def alive(self) -> bool:
        """Tell whether the node's process still runs."""
        return self._node.poll() is None

    def set(self, rgb: Settings | None, ir: Settings | None) -> float:
        """Let both cameras follow; return the time from which on both do [s]."""
        given = dict(zip(STREAMS, (rgb, ir), strict=True))
        for name, settings in given.items():
            self._cameras[name].set(settings)
        taken = [self._taken_s(name) for name in given]
        return max(taken)

    def found_s(self) -> float:
        """Return when DDS found subscriptions to publishers that are new since ``set`` [s]."""
        return max(camera.found_s() for camera in self._cameras.values())

    def _taken_s(self, name: str) -> float:
        camera = self._cameras[name]
        self.wait_for(lambda: camera.taken_s() is not None, f'the {name} camera of this demo')
        at = camera.taken_s()
        assert at is not None
        return at

    def wait_for(self, done: Callable[[], bool], what: str) -> None:
        """Listen until a condition holds; BagError if it does not for a long time."""
        self._player.spin_until(done, START_S)
        if not done():
            raise BagError(f'waited {START_S:g} s in vain for {what}')

    def start(self, settings: Settings) -> None:
        """Start both cameras and wait until pairs come back at all."""
        self.set(settings, settings)
        self.wait_for(lambda: bool(self.heard.fresh), 'a first result')

    def watch(self, seconds: float, done: Callable[[], bool] = lambda: False) -> None:
        """Listen for so long, or until a condition holds."""
        self._player.spin_until(done, seconds)

    def state(self) -> str:
        """Return the state of the node's life cycle, empty if it does not answer."""
        answer = self._ask(self._state, GetState.Request())
        return answer.current_state.label if answer else ''

    def save_pair(self) -> str:
        """Let the node save its last pair; return what it says, empty if it does not answer."""
        answer = self._ask(self._saver, Trigger.Request())
        return answer.message if answer else ''

    def _ask(self, service: Any, request: Any) -> Any:
        if not service.wait_for_service(ANSWER_S):
            return None
        future = service.call_async(request)
        self._player.spin_until(future.done, ANSWER_S)
        return future.result() if future.done() else None

    def held(self) -> dict[str, float]:
        """Return what the node holds, see ``machine.held``; BagError if it ended."""
        if not self.alive():
            raise BagError('the node ended')
        return machine.held(self._node.pid)

    def signal(self, number: int) -> None:
        """Send the node's process a signal."""
        self._node.send_signal(number)
