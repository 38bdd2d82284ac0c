"""Several processes and one cache of engines: one builds, and any may die at any time."""

import subprocess
import sys
import time

import pytest

from tdfusion_ros.backends import engine_cache as module

# A process that builds for as long as it is told, and notes each building in a file.
SLOW = """
import os, sys, time
from pathlib import Path
from tdfusion_ros.backends.engine_cache import Cache

def build(folder):
    with open(sys.argv[2], 'a') as notes:
        notes.write('built\\n')
    (folder / 'engine.plan').write_bytes(b'half')
    time.sleep(float(sys.argv[3]))
    (folder / 'engine.plan').write_bytes(b'whole')

cache = Cache(Path(sys.argv[1]), lambda text: print(text, file=sys.stderr))
print(cache.get({'a': 1}, build)['engine.plan'].decode())
"""


@pytest.fixture
def slow(root, tmp_path):
    """Start processes that want the same engine: ``slow(seconds)``."""
    started = []

    def start(seconds):
        arguments = [tmp_path / 'cache', tmp_path / 'notes', seconds]
        process = subprocess.Popen(
            [sys.executable, '-c', SLOW, *map(str, arguments)],
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def leftovers(cache):
    return [path for path in cache.folder.iterdir() if path.name.startswith('.')]


def wait_for(path):
    for _ in range(200):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f'{path} did not come')


def test_processes_that_want_the_same_engine_at_once_build_it_once(slow, tmp_path):
    processes = [slow(1.0) for _ in range(3)]
    outputs = [process.communicate(timeout=30) for process in processes]
    assert [out.strip() for out, _ in outputs] == ['whole'] * 3
    assert (tmp_path / 'notes').read_text() == 'built\n'


def test_process_that_is_killed_while_building_costs_no_more_than_its_own_time(
    slow, tmp_path, cache, build
):
    process = slow(60.0)
    wait_for(tmp_path / 'notes')
    process.kill()
    process.wait()
    assert leftovers(cache)
    assert cache.get({'a': 1}, build) == {'engine.plan': b'engine 1'}
    assert not leftovers(cache)


def test_who_waits_for_another_process_says_so(slow, tmp_path, cache, build, said, monkeypatch):
    process = slow(1.0)
    wait_for(tmp_path / 'notes')
    monkeypatch.setattr(module, 'PATIENCE_S', 0.2)
    assert cache.get({'a': 1}, build) == {'engine.plan': b'whole'}
    assert build.times == 0
    assert 'another process is building the same engine' in said[0]
    assert process.wait() == 0
