"""The fuzz fixture itself: whatever is no value and no FusionError fails the test."""

from pathlib import Path
import subprocess
import sys

import pytest

pytest.importorskip('xdist')

CASES = """
import os, time
from hypothesis import strategies as st
from tdfusion_ros.core.errors import FrameError

def check(action):
    return lambda fuzz: fuzz(st.integers(0, 5), lambda n: n == 3 and action(), 1, good=0)

def fail(error):
    raise error

def spin():
    while time.process_time() < end: pass

end = time.process_time() + 3
test_refused = check(lambda: fail(FrameError('truncated', 'x')))
test_other_error = check(lambda: fail(ValueError('x')))
test_slow = check(spin)
test_crash = check(os.abort)
test_hang = check(lambda: time.sleep(60))
"""


def test_errors_slowness_crashes_and_hangs_are_found_and_their_inputs_kept(tmp_path):
    fixture = (Path(__file__).parent / 'conftest.py').read_text()
    (tmp_path / 'conftest.py').write_text(fixture.replace('HANG_S = 60.0', 'HANG_S = 5.0'))
    (tmp_path / 'test_cases.py').write_text(CASES)
    command = [
        sys.executable,
        '-m',
        'pytest',
        '-n',
        '1',
        '--inputs',
        '2500',
        '-p',
        'no:cacheprovider',
    ]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    lines = done.stdout.splitlines()
    failed = {line.split('::')[1].split()[0] for line in lines if line.startswith('FAILED')}
    assert failed == {'test_other_error', 'test_slow', 'test_crash', 'test_hang'}, done.stdout
    kept = {path.stem for path in (tmp_path / 'out' / 'fuzz').iterdir()}
    assert kept == {'other_error', 'slow', 'crash', 'hang'}
