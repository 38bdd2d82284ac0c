"""
Property-based tests of everything that reads outside bytes or text.

Whatever the input, a reader returns a value or raises a FusionError, within seconds and a bounded
amount of memory. ``make test`` reads a few inputs, the same each time; ``make fuzz`` reads 100,000
others in worker processes (pytest-xdist), so that a crash or a hang only fails one test and leaves
its input behind in ``out/fuzz``.
"""

from contextlib import contextmanager
import faulthandler
import math
import os
from pathlib import Path
import pickle
import resource
import sys
from time import process_time
import warnings

from hypothesis import given
from hypothesis import HealthCheck
from hypothesis import Phase
from hypothesis import settings
import pytest

from tdfusion_ros.core.errors import FusionError

sys.path.insert(0, str(Path(__file__).parent))  # for damage
FEW = 1000
SLOW_S = 2.0  # of processor time, for one input
HANG_S = 60.0
MAX_MESSAGE = 3000  # characters
MAX_ALLOCATION = 3 << 30  # address space beyond what the process has before
MAX_MEMORY = 500e6  # beyond what the process has before


def pytest_addoption(parser):
    text = f'number of inputs of all fuzz tests together (default {FEW})'
    parser.getgroup('fuzz').addoption('--inputs', type=int, default=FEW, help=text)


def peak_bytes(*, reset=False):
    if reset:
        Path('/proc/self/clear_refs').write_text('5')
    status = Path('/proc/self/status').read_text()
    return int(status.partition('VmHWM:')[2].split()[0]) * 1024


@contextmanager
def limited_memory():
    """Let large allocations fail, and fail if more than ``MAX_MEMORY`` was used at any time."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path('/proc/self/statm').read_text().split()[0])
    before = peak_bytes(reset=True)
    most = pages * resource.getpagesize() + MAX_ALLOCATION
    resource.setrlimit(resource.RLIMIT_AS, (most, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    assert peak_bytes() - before < MAX_MEMORY


def read_watched(read, value):
    """Read an input; fail if that takes too long or is refused at length."""
    faulthandler.dump_traceback_later(HANG_S, exit=True)  # ends native code, too
    begin = process_time()
    try:
        read(value)
    except FusionError as error:
        if len(str(error)) > MAX_MESSAGE:
            raise AssertionError(f'a message of {len(str(error))} characters') from error
    finally:
        took_s = process_time() - begin
        faulthandler.cancel_dump_traceback_later()
    assert took_s < SLOW_S


@pytest.fixture
def fuzz(request, pytestconfig):
    """
    Read inputs: ``fuzz(strategy, read, share, good, found)``.

    ``share`` is the percentage of all inputs. ``read`` must accept ``good`` and refuse ``found``,
    inputs that once crashed, or took too long, too much memory, or effect.
    """
    inputs = pytestconfig.getoption('inputs', FEW)
    name = request.node.name.removeprefix('test_')
    current = Path('out', 'fuzz', f'{name}.pickle') if inputs > FEW else Path(os.devnull)
    current.parent.mkdir(parents=True, exist_ok=True)

    def run(strategy, read, share, good, found=()):
        def watched(value):
            current.write_bytes(pickle.dumps(value))
            read_watched(read, value)

        options = settings(
            max_examples=math.ceil(inputs * share / 100),
            derandomize=inputs <= FEW,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        with limited_memory(), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            read(good)
            for value in found:
                with pytest.raises(FusionError):
                    read(value)
            options(given(strategy)(watched))()
        if inputs > FEW:
            current.unlink()

    return run
