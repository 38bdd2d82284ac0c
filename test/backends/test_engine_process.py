"""The builder's process: whatever becomes of it, the node lives and says what happened."""

import json
import os
import subprocess
import sys
import time

import pytest

from tdfusion_ros.backends import engine_process as child
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import ModelError

BODIES = {
    'answers': 'answer({"got": question})',
    'chatters': 'print("x" * 300_000, flush=True); answer({})',
    'refuses': 'answer({"error": "no GPU\\nhere", "kind": "ConfigError"})',
    'fails': 'answer({"error": "no tactic", "kind": "ModelError"})',
    'raises': 'raise OSError("libnvinfer.so.10 is missing")',
    'crashes': 'os.abort()',
    'exits': 'sys.exit(3)',
    'sleeps': 'time.sleep(60)',
    'is slow': 'time.sleep(1.2); answer({})',
    'writes half an answer': "Path(sys.argv[1]).write_text('{\"erro')",
}
HEAD = """
import json, os, sys, time
from pathlib import Path
question = json.loads(sys.stdin.readline())
def answer(what):
    Path(sys.argv[1]).write_text(json.dumps(what))
"""


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Ask a builder that behaves as BODIES says: ``ask(how, report, limit_s)``."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def asking(how, report=print, limit_s=30.0):
        (tmp_path / 'stand_in.py').write_text(HEAD + BODIES[how])
        monkeypatch.setattr(child, 'MODULE', 'stand_in')
        return child.ask({'task': 'probe', 'n': [1, 2]}, 'looking', report, limit_s)

    return asking


def test_answer_comes_back_and_the_question_arrives(ask):
    assert ask('answers') == {'got': {'task': 'probe', 'n': [1, 2]}}


def test_what_it_prints_does_not_disturb(ask, capfd):
    assert ask('chatters') == {}
    assert capfd.readouterr() == ('', '')


def test_errors_keep_their_kind_and_become_one_line(ask):
    with pytest.raises(ConfigError, match=r'^no GPU here$'):
        ask('refuses')
    with pytest.raises(ModelError, match=r'^no tactic$'):
        ask('fails')


@pytest.mark.parametrize(
    ('how', 'words'),
    [
        ('raises', r'ended with status 1, its last words: OSError: libnvinfer\.so\.10 is missing'),
        ('crashes', 'was ended by SIGABRT'),
        ('exits', 'ended with status 3 and said nothing'),
        ('writes half an answer', 'ended with status 0'),
    ],
)
def test_process_that_breaks_is_an_error_that_says_how(ask, how, words):
    with pytest.raises(ModelError, match=f'looking: the process {words}'):
        ask(how)


def test_waiting_is_said_every_few_seconds(ask, monkeypatch):
    monkeypatch.setattr(child, 'PATIENCE_S', 0.5)
    said = []
    ask('is slow', said.append)
    assert said
    assert all(sentence.startswith('looking: ') for sentence in said)
    assert said[0].endswith(' s so far')


def test_process_that_never_ends_is_ended(ask):
    began = time.monotonic()
    with pytest.raises(ModelError, match='took longer than 1 s and was given up'):
        ask('sleeps', limit_s=1.0)
    assert time.monotonic() - began < 10


def test_builder_itself_ends_when_nobody_waits_any_more(root, tmp_path):
    """The real module: its parent is killed while it builds."""
    parent = subprocess.Popen(
        [
            sys.executable,
            '-c',
            'import os, subprocess, sys, time\n'
            'code = "import time\\n'
            'from tdfusion_ros.backends import engine_builder as builder\\n'
            'builder.answer = lambda question: time.sleep(60)\\n'
            'builder.main()"\n'
            'child = subprocess.Popen([sys.executable, "-c", code, "answer"],'
            ' stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)\n'
            'child.stdin.write(b"{}\\n"); child.stdin.flush()\n'
            'print(child.pid, flush=True)\n'
            'time.sleep(60)',
        ],
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
    )
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    for _ in range(200):
        if not alive(pid):
            return
        time.sleep(0.05)
    os.kill(pid, 9)
    raise AssertionError('the builder outlived its parent')


def alive(pid):
    try:
        with open(f'/proc/{pid}/stat', encoding='utf-8') as facts:
            return facts.read().rsplit(')', 1)[1].split()[0] != 'Z'
    except FileNotFoundError:
        return False


def test_builder_answers_with_its_error_even_to_a_bare_exception(root, tmp_path):
    code = (
        'from tdfusion_ros.backends import engine_builder as builder\n'
        'def raising(question): raise Exception("import error: libnvinfer.so.11")\n'
        'builder.answer = raising\n'
        'builder.main()'
    )
    with subprocess.Popen(
        [sys.executable, '-c', code, str(tmp_path / 'a')], stdin=subprocess.PIPE, cwd=root
    ) as process:
        process.stdin.write(b'{}\n')
        process.stdin.flush()
        assert process.wait(30) == 0
    told = json.loads((tmp_path / 'a').read_text())
    assert told == {'error': 'Exception: import error: libnvinfer.so.11', 'kind': 'ModelError'}


def test_real_builder_says_why_it_cannot_probe_here(tmp_path, monkeypatch):
    """The whole of the way there and back, with nothing played but a package that breaks."""
    (tmp_path / 'onnxruntime.py').write_text('raise Exception("libnvinfer is missing")')
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModelError, match='Exception: libnvinfer is missing'):
        child.ask({'task': 'probe', 'route': 'onnxruntime'}, 'looking', print, 60.0)


def test_process_that_cannot_be_started_is_an_error(monkeypatch):
    monkeypatch.setattr(sys, 'executable', '')
    with pytest.raises(ModelError, match='looking: no process can be started'):
        child.ask({}, 'looking', print, 60.0)
