"""
The process that reads the wrong inputs, and may die of one.

``python -m demo.fuzz.child SEED PLAN``, the plan being JSON, [[target, first, end], …], writes a
line of JSON when a target is ready, one for each input, and one with its memory at the end; what
a library prints goes nowhere.
"""

import json
import os
from pathlib import Path
from random import Random
import resource
import sys
import tempfile
import time
import traceback
from typing import Any
import warnings

from demo.fuzz.target import Target
from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.errors import FusionError

MOST_MEMORY = 3 << 30  # address space beyond what the process has when it is ready


def judge(target: Target, draw: Any, seed: int, number: int) -> tuple[str, str, float]:
    """
    Read one input.

    :returns: ``accepted``, ``refused`` or ``fault``; its cause; the processor time, which
        other work on the machine does not change [s].
    """
    case = draw(Random(f'{seed}:{target.name}:{number}'))
    begin = time.process_time()
    try:
        case()
        outcome = 'accepted', ''
    except FrameError as error:
        outcome = 'refused', error.cause
    except FusionError as error:
        outcome = 'refused', f'{type(error).__name__} {_where(error)[1]}'
        if len(str(error)) > 3000:
            outcome = 'fault', f'message of {len(str(error))} characters, {_where(error)}'
    except Exception as error:
        outcome = 'fault', f'{type(error).__name__} at {":".join(_where(error))}: {error!s:.200}'
    return *outcome, time.process_time() - begin


def _where(error: BaseException) -> tuple[str, str]:
    """Return file and function of ours from which an error came."""
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if '/site-packages/' not in f[0]
    ]
    last = frames[-1]
    return f'{Path(last.filename).name}:{last.lineno}', last.name


def peak_bytes(*, reset: bool = False) -> int:
    """Return the largest memory since the last reset [bytes]."""
    if reset:
        Path('/proc/self/clear_refs').write_text('5')
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith('VmHWM'):
            return int(line.split()[1]) * 1024
    raise RuntimeError('the kernel does not say VmHWM')


def limit_memory() -> None:
    """Make an allocation fail that a sane input never needs."""
    pages = int(Path('/proc/self/statm').read_text().split()[0])
    most = pages * resource.getpagesize() + MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def run(target: Target, seed: int, first: int, end: int, out: int) -> None:
    """Read inputs from ``first`` to before ``end`` and tell of each on a file descriptor."""

    def tell(*values: Any) -> None:
        os.write(out, (json.dumps(values) + '\n').encode())

    endless = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (endless, endless))
    with tempfile.TemporaryDirectory(prefix='fuzz_') as place:
        draw = target.prepare(Path(place))
        limit_memory()
        before = peak_bytes(reset=True)
        tell('ready')
        for number in range(first, end):
            tell(*judge(target, draw, seed, number))
        tell('memory', peak_bytes() - before)


def main() -> None:
    """Read what the command line names."""
    from demo.fuzz.targets import TARGETS

    seed, plan = sys.argv[1:]
    warnings.simplefilter('ignore')
    out = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    known = {target.name: target for target in TARGETS}
    for name, first, end in json.loads(plan):
        run(known[name], int(seed), first, end, out)


if __name__ == '__main__':
    main()
