"""Ask the builder, in a process of its own, and say every few seconds that it is still at work."""

from collections.abc import Callable
from collections.abc import Mapping
from contextlib import suppress
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import tempfile
from time import monotonic
from typing import Any
from typing import IO

from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.errors import ModelError

MODULE = 'tdfusion_ros.backends.engine_builder'
PATIENCE_S = 5.0  # between two messages
LONGEST = 400  # characters of a foreign message


def ask(
    question: Mapping[str, Any], what: str, report: Callable[[str], None], limit_s: float
) -> dict[str, Any]:
    """
    Return the builder's answer.

    :param question: see :func:`tdfusion_ros.backends.engine_builder.answer`.
    :param what: what is being done, for the messages.
    :param limit_s: after this time the process is ended [s].
    :raises FusionError: what the builder raised, or how its process ended.
    """
    with tempfile.TemporaryDirectory(prefix='tdfusion_ros_') as place:
        told, log = Path(place) / 'answer.json', Path(place) / 'log'
        with log.open('wb') as output:
            status = _run(told, json.dumps(question), output, (what, report, limit_s))
        try:
            answer = json.loads(told.read_text(encoding='utf-8'))
        except (OSError, ValueError):
            raise ModelError(f'{what}: the process {status}{_last_line(log)}') from None
    if 'error' in answer:
        kind: type[FusionError] = ConfigError if answer['kind'] == 'ConfigError' else ModelError
        raise kind(str(answer['error'])[:LONGEST])
    return answer


def _run(
    told: Path,
    question: str,
    output: IO[bytes],
    waiting: tuple[str, Callable[[str], None], float],
) -> str:
    """Run the builder to its end, and return in words how it ended."""
    try:
        process = subprocess.Popen(
            [sys.executable, '-m', MODULE, str(told)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(map(os.path.abspath, sys.path))},
            cwd=told.parent,  # -m puts it first on the path, so it must be empty and ours
            start_new_session=True,  # an interrupt is ours; ours to end is the builder
        )
    except OSError as error:  # no memory, or a Python that was embedded
        raise ModelError(f'{waiting[0]}: no process can be started: {error}') from error
    assert process.stdin is not None
    try:
        with suppress(BrokenPipeError):  # it ended at once; its log says why
            process.stdin.write(question.encode() + b'\n')
            process.stdin.flush()
        _wait(process, *waiting)
    finally:
        process.kill()
        process.wait()
        with suppress(BrokenPipeError):
            process.stdin.close()
    code = process.returncode
    return (
        f'was ended by {signal.Signals(-code).name}' if code < 0 else f'ended with status {code}'
    )


def _wait(
    process: subprocess.Popen, what: str, report: Callable[[str], None], limit_s: float
) -> None:
    began = monotonic()
    while (spent := monotonic() - began) < limit_s:
        with suppress(subprocess.TimeoutExpired):
            process.wait(min(PATIENCE_S, limit_s - spent))
            return
        report(f'{what}: {monotonic() - began:.0f} s so far')
    raise ModelError(f'{what} took longer than {limit_s:.0f} s and was given up')


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding='utf-8', errors='replace').split('\n')
    last = next((line.strip() for line in reversed(lines) if line.strip()), '')
    return f', its last words: {last[:LONGEST]}' if last else ' and said nothing'
