"""
Property-based tests of everything that reads outside bytes or text.

Whatever the input, a reader returns a value or raises a FusionError, within seconds and a bounded
amount of memory. ``make test`` reads a few inputs, the same each time; ``make fuzz`` reads 100,000
others in worker processes (pytest-xdist), so that a crash or a hang only fails one test and leaves
its input behind in ``out/fuzz``.
"""

from collections import Counter
from contextlib import contextmanager
import faulthandler
import math
import os
from pathlib import Path
import pickle
import resource
import sys
from time import process_time
import traceback
import warnings

from hypothesis import given
from hypothesis import HealthCheck
from hypothesis import Phase
from hypothesis import settings
import pytest

from tdfusion_ros.core.errors import FrameError
from tdfusion_ros.core.errors import FusionError

sys.path.insert(0, str(Path(__file__).parent))  # for damage
FEW = 1000
SLOW_S = 2.0  # of processor time, for one input
HANG_S = 60.0
MAX_MESSAGE = 3000  # characters
MAX_ALLOCATION = 3 << 30  # address space beyond what the process has before
MAX_MEMORY = 500e6  # beyond what the process has before
ROW = '{:<28}{:>9}{:>9}{:>12}  {}'


def pytest_addoption(parser):
    text = f'number of inputs of all fuzz tests together (default {FEW})'
    parser.getgroup('fuzz').addoption('--inputs', type=int, default=FEW, help=text)


def pytest_terminal_summary(terminalreporter, config):
    if config.getoption('inputs', FEW) <= FEW:
        return
    calls = [r for name in ('passed', 'failed') for r in terminalreporter.stats.get(name, ())]
    rows = [row for r in calls if (row := dict(r.user_properties).get('fuzz'))]
    faults = sum(r.failed for r in calls)
    terminalreporter.section('fuzz')
    terminalreporter.write_line(ROW.format('reader', 'inputs', 'refused', 'longest ms', 'causes'))
    for row in rows:
        terminalreporter.write_line(ROW.format(*row))
    inputs, refused = (sum(row[i] for row in rows) for i in (1, 2))
    terminalreporter.write_line(
        f'{inputs} inputs, {refused} refused, {faults} readers with faults'
    )


def peak_bytes(*, reset=False):
    if reset:
        Path('/proc/self/clear_refs').write_text('5')
    status = Path('/proc/self/status').read_text()
    return int(status.partition('VmHWM:')[2].split()[0]) * 1024


def cause(error):
    """Return why an input was refused: the cause of a FrameError, else the function of ours."""
    if isinstance(error, FrameError):
        return error.cause
    frames = traceback.extract_tb(error.__traceback__)
    return [f.name for f in frames if '/site-packages/' not in f.filename][-1]


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


class Reader:
    """A function that reads an input, and how that ended for all inputs so far."""

    def __init__(self, read, current):
        self.causes, self.times_s = Counter(), []
        self._read = read
        self._current = current  # file of the input

    def __call__(self, value):
        self._current.write_bytes(pickle.dumps(value))
        faulthandler.dump_traceback_later(HANG_S, exit=True)  # ends native code, too
        begin = process_time()
        try:
            self._read(value)
        except FusionError as error:
            self.causes[cause(error)] += 1
            if len(str(error)) > MAX_MESSAGE:
                raise AssertionError(f'a message of {len(str(error))} characters') from error
        finally:
            self.times_s.append(process_time() - begin)
            faulthandler.cancel_dump_traceback_later()
        assert self.times_s[-1] < SLOW_S

    def row(self, name):
        """Return a row of the table."""
        top = ', '.join(f'{text} {number}' for text, number in self.causes.most_common(5))
        longest_ms = f'{max(self.times_s, default=0) * 1e3:.0f}'
        return name, len(self.times_s), self.causes.total(), longest_ms, top


@pytest.fixture
def fuzz(request, record_property, pytestconfig):
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
        reader = Reader(read, current)
        options = settings(
            max_examples=math.ceil(inputs * share / 100),
            derandomize=inputs <= FEW,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        try:
            with limited_memory(), warnings.catch_warnings():
                warnings.simplefilter('ignore')
                read(good)
                for value in found:
                    with pytest.raises(FusionError):
                        read(value)
                options(given(strategy)(lambda value: reader(value)))()
        finally:
            record_property('fuzz', reader.row(name))
        if inputs > FEW:
            current.unlink()

    return run
