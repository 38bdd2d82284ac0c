"""Train several runs side by side on one device, each in a process of its own."""

from collections.abc import Sequence
from dataclasses import asdict
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

from tdfusion_ros.core.errors import FusionError
from training.config import TrainConfig

OUTPUT = 'output.txt'
"""What a process prints, in its run folder."""


def train_side_by_side(configs: Sequence[TrainConfig], count: int) -> None:
    """
    Train runs, so many at a time; whatever ends this process ends them.

    :raises FusionError: when the others have ended, naming each run that failed and why.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    waiting, failed = list(configs), []
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < count:
                config = waiting.pop(0)
                running[config.run] = _start(config)
                print(f'training {config.run}, see {OUTPUT} there', flush=True)
            time.sleep(0.1)
            for run in [run for run, process in running.items() if process.poll() is not None]:
                status = running.pop(run).returncode
                print(f'{run} is finished' if not status else f'{run} failed', flush=True)
                failed += [f'{run} ({_last_line(run)})'] if status else []
    finally:
        for process in running.values():
            process.terminate()  # not SIGINT, which a shell lets jobs in the background ignore
        for process in running.values():
            process.wait()
    if failed:
        raise FusionError(
            f'{len(failed)} of {len(configs)} runs failed; the same command repeats only these: '
            f'{", ".join(failed)}'
        )


def _start(config: TrainConfig) -> 'subprocess.Popen[bytes]':
    values = asdict(config).items()
    settings = [f'{k}={v if isinstance(v, str) else json.dumps(v)}' for k, v in values]
    Path(config.run).mkdir(parents=True, exist_ok=True)
    with (Path(config.run) / OUTPUT).open('wb') as output:
        return subprocess.Popen(
            [sys.executable, '-m', 'training.train', *settings],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(map(os.path.abspath, sys.path))},
            start_new_session=True,  # Ctrl-C reaches only us, and we end it
        )


def _last_line(run: str) -> str:
    lines = (Path(run) / OUTPUT).read_text(encoding='utf-8', errors='replace').splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), 'no output')
