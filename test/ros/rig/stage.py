"""Start nodes and clients, and end every one of them."""

from collections.abc import Callable
from contextlib import ExitStack
import os
from pathlib import Path
import signal
import subprocess
import sys
from typing import Any

from rig import pictures
from rig.client import Client

ROOT = Path(__file__).parents[3]
SLOW_NODE = (str(Path(__file__).parents[1] / 'slow_node.py'),)  # see there: env BLOCK
SHUTDOWN_S = 60.0
# In front of what is there: an installed ROS is found by it.
PYTHONPATH = os.pathsep.join(filter(None, (str(ROOT), os.environ.get('PYTHONPATH'))))


def ros_arguments(parameters: dict[str, Any]) -> list[str]:
    """Return command-line arguments that set the parameters of a node."""
    out = ['--ros-args']
    for name, value in parameters.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        out += ['-p', f'{name}:={text}']
    return out


def run_module(name: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    """Run a command of ours as ``python -m`` does, to its end; it may take minutes."""
    return subprocess.run(
        [sys.executable, '-m', name, *map(str, arguments)],
        cwd=ROOT,
        timeout=200,
        check=False,
        capture_output=True,
        text=True,
    )


class NodeProcess:
    """One running node; ``arguments`` are what Python is called with."""

    def __init__(self, arguments: list[str], log: Path) -> None:
        self._log = log
        with log.open('wb') as out:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env={**os.environ, 'PYTHONPATH': PYTHONPATH, 'PYTHONFAULTHANDLER': '1'},
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def log(self) -> str:
        return self._log.read_text(encoding='utf-8', errors='replace')

    def lines(self, *levels: str) -> list[str]:
        """Return the lines of its log that have one of these levels, as ``ERROR``."""
        marks = tuple(f'[{level}]' for level in levels)
        return [line for line in self.log().splitlines() if line.startswith(marks)]

    def running(self) -> bool:
        """Tell whether it has not ended yet."""
        return self._process.poll() is None

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def status(self) -> int:
        """Wait for its end and return its exit status; kill it where it hangs."""
        try:
            return self._process.wait(SHUTDOWN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f'the node hung\n{self.log()}') from None

    def end(self) -> None:
        """End it as Ctrl-C does, which has to work after every test."""
        if not self.running():
            return
        self.signal(signal.SIGINT)
        status = self.status()
        assert status == 0, f'the node exited with {status}, expected 0\n{self.log()}'
        assert 'Traceback' not in self.log(), self.log()


class Stage:
    """
    Owner of nodes and clients.

    :param folder: for their logs.
    :param namespace: of its nodes and clients, where none is given.
    """

    def __init__(self, folder: Path, namespace: str = '') -> None:
        self._folder = folder
        self._namespace = namespace
        self._stack = ExitStack()
        self._nodes: list[NodeProcess] = []

    def start_node(
        self,
        parameters: dict[str, Any] | None = None,
        *,
        namespace: str | None = None,
        script: tuple[str, ...] = ('-m', 'tdfusion_ros.node'),
        remappings: tuple[str, ...] = (),
    ) -> NodeProcess:
        """Start the node with these parameters; it publishes diagnostics often."""
        given = {'diagnostics_period_s': 0.1, **(parameters or {})}
        arguments = [*script, *ros_arguments(given)]
        for remapping in remappings:
            arguments += ['-r', remapping]
        if full := self._namespace if namespace is None else namespace:
            arguments += ['-r', f'__ns:={full}']
        node = NodeProcess(arguments, self._folder / f'node_{len(self._nodes)}.log')
        self._nodes.append(node)
        self._stack.callback(node.end)
        return node

    def run(
        self,
        parameters: dict[str, Any] | None = None,
        *,
        listen: tuple[str, ...] = ('detections',),
        make_pair: Callable[[int], tuple[Any, Any]] = pictures.pair,
        **options: Any,
    ) -> Client:
        """Start a node and return a client whose pairs it fuses; options as of start_node."""
        process = self.start_node(parameters, **options)
        client = self.client(options.get('namespace'))
        client.process = process
        for stream in ('rgb', 'ir'):
            transport = (parameters or {}).get(f'{stream}.image_transport', 'raw')
            client.offer(stream, transport=transport)
        client.listen(*listen)
        client.warm_up(make_pair)
        return client

    def client(self, namespace: str | None = None) -> Client:
        client = Client(self._namespace if namespace is None else namespace)
        self._stack.callback(client.close)
        return client

    def close(self) -> None:
        """End everything, clients first, and print the logs: pytest shows them on a failure."""
        try:
            self._stack.close()
        finally:
            for node in self._nodes:
                print(node.log())
