"""The builder's process: however it ends, the node continues and reports why."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tdfusion_ros.backends import engine_process
from tdfusion_ros.backends import progress
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import ModelError

HEAD = """
import json, os, sys, time
from pathlib import Path
def finish(result):
    Path(sys.argv[1]).write_text(json.dumps(result))
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a builder with this body: ``run(body, report, limit_s)``."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(engine_process, 'MODULE', 'fake_builder')

    def running(body, report=print, limit_s=60.0):
        (tmp_path / 'fake_builder.py').write_text(HEAD + body)
        request = {'task': 'probe', 'n': [1, 2]}
        return engine_process.run_builder(request, 'looking', report, limit_s)

    return running


def test_output_of_the_builder_is_not_shown(run, capfd):
    assert run('print("x" * 300_000, flush=True); finish({})') == {}
    assert capfd.readouterr() == ('', '')


@pytest.mark.parametrize('kind', [ConfigError, ModelError])
def test_errors_of_the_builder_keep_their_kind_in_one_line(run, kind):
    with pytest.raises(kind, match=r'^no GPU here\Z'):
        run(f'finish({{"error": "no GPU\\nhere", "kind": "{kind.__name__}"}})')


@pytest.mark.parametrize(
    ('body', 'words'),
    [
        ('raise OSError("no libnvinfer")', 'exited with 1; last output: OSError: no libnvinfer'),
        ('os.abort()', 'was ended by SIGABRT'),
        ('sys.exit(3)', 'exited with 3; last output: nothing'),
        ("Path(sys.argv[1]).write_text('{\"erro')", 'exited with 0'),
    ],
)
def test_broken_process_is_an_error_that_says_how_it_ended(run, body, words):
    with pytest.raises(ModelError, match=f'looking: the process {words}'):
        run(body)


def test_progress_is_reported_while_the_builder_runs(run, tmp_path, monkeypatch, messages):
    monkeypatch.setattr(progress, 'PERIOD_S', 0.05)

    def report(text):
        messages.append(text)
        (tmp_path / 'go').touch()

    run(
        f'while not Path({str(tmp_path / "go")!r}).exists(): time.sleep(0.02)\nfinish({{}})',
        report,
    )
    assert all(text.startswith('looking: ') and text.endswith(' s so far') for text in messages)
    assert messages


def test_process_that_takes_too_long_or_cannot_be_started_is_an_error(run, monkeypatch):
    with pytest.raises(ModelError, match='took longer than 1 s and was stopped'):
        run('time.sleep(600)', limit_s=1.0)
    monkeypatch.setattr(sys, 'executable', '')
    with pytest.raises(ModelError, match='looking: no process can be started'):
        engine_process.run_builder({}, 'looking', print, 60.0)


def test_real_builder_returns_the_bare_exception_of_a_broken_package(tmp_path, monkeypatch):
    (tmp_path / 'onnxruntime.py').write_text('raise Exception("libnvinfer is missing")')
    monkeypatch.syspath_prepend(str(tmp_path))
    request = {'task': 'probe', 'route': 'onnxruntime'}
    with pytest.raises(ModelError, match='Exception: libnvinfer is missing'):
        engine_process.run_builder(request, 'looking', print, 60.0)


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGINT])
def test_real_builder_ends_when_the_node_is_killed_or_interrupted(root, tmp_path, number):
    (tmp_path / 'onnxruntime.py').write_text(
        'import os, time\n'
        f'with open({str(tmp_path / "pid")!r}, "w") as file: file.write(f"{{os.getpid()}}\\n")\n'
        'time.sleep(600)\n'
    )
    code = (
        'import signal\n'
        'signal.signal(signal.SIGINT, signal.default_int_handler)\n'  # nohup ignores it
        'from tdfusion_ros.backends.engine_process import run_builder\n'
        'run_builder({"task": "probe", "route": "onnxruntime"}, "looking", print, 600.0)'
    )
    paths = os.pathsep.join(map(str, (tmp_path, root)))
    node = subprocess.Popen([sys.executable, '-c', code], env={**os.environ, 'PYTHONPATH': paths})
    pid = int(wait_for(lambda: (tmp_path / 'pid').is_file() and (tmp_path / 'pid').read_text()))
    assert alive(pid)
    node.send_signal(number)
    node.wait(60)
    wait_for(lambda: not alive(pid))


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def alive(pid):
    try:
        with open(f'/proc/{pid}/stat', encoding='utf-8') as facts:
            return facts.read().rsplit(')', 1)[1].split()[0] != 'Z'
    except FileNotFoundError:
        return False
