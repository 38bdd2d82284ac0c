"""Run the engine builder in a process of its own, with progress lines and a time limit."""

from collections.abc import Callable
from collections.abc import Mapping
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import tempfile
from typing import Any

from tdfusion_ros.backends.progress import progress
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import ModelError

MODULE = 'tdfusion_ros.backends.engine_builder'
MAX_MESSAGE = 400  # characters of another program's message


def run_builder(
    request: Mapping[str, Any], what: str, report: Callable[[str], None], limit_s: float
) -> dict[str, Any]:
    """
    Return the result of a request to :func:`tdfusion_ros.backends.engine_builder.perform`.

    :param what: the task, for messages. :param limit_s: when the process is stopped [s].
    :raises FusionError: what the builder raised, or how its process ended.
    """
    try:
        with tempfile.TemporaryDirectory(prefix='tdfusion_ros_') as folder:
            path, log = Path(folder) / 'result.json', Path(folder) / 'log'
            with progress(what, report), log.open('wb') as output:
                status = subprocess.run(
                    [sys.executable, '-m', MODULE, str(path), json.dumps(request)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={
                        **os.environ,
                        'PYTHONPATH': os.pathsep.join(map(os.path.abspath, sys.path)),
                    },
                    cwd=folder,  # -m puts it first on the path, so it must have no modules
                    start_new_session=True,  # an interrupt reaches us, and we stop the builder
                    timeout=limit_s,
                    check=False,
                ).returncode
            try:
                result = json.loads(path.read_text(encoding='utf-8'))
            except (OSError, ValueError):
                raise ModelError(f'{what}: the process {_ending(status, log)}') from None
    except subprocess.TimeoutExpired:
        raise ModelError(f'{what} took longer than {limit_s:.0f} s and was stopped') from None
    except OSError as error:  # no memory, a full disk, or a Python that is embedded
        raise ModelError(f'{what}: no process can be started: {error}') from error
    if 'error' in result:
        kind = ConfigError if result['kind'] == 'ConfigError' else ModelError
        raise kind(str(result['error'])[:MAX_MESSAGE])
    return result


def _ending(status: int, log: Path) -> str:
    """Describe how the process ended and the last line that it printed."""
    lines = log.read_text(encoding='utf-8', errors='replace').split('\n')
    last = next((line.strip() for line in reversed(lines) if line.strip()), 'nothing')
    how = f'was ended by {signal.Signals(-status).name}' if status < 0 else f'exited with {status}'
    return f'{how}; last output: {last[:MAX_MESSAGE]}'
