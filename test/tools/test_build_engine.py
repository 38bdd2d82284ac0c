"""``tdfusion build``: build engines ahead of time."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tdfusion_ros import build
from tdfusion_ros.backends import trt
from tdfusion_ros.cli import main


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache'


@pytest.fixture
def opened(monkeypatch):
    """Replace the backend; return the arguments with which it is opened."""
    calls = []

    def open_backend(name, bundle, report, sizes_hw, *, cpu_threads):
        calls.append((name, bundle.contract.name, sizes_hw))
        report('building …: 5 s so far')
        return SimpleNamespace(name='trt', engine='TensorRT 10.3.0')

    monkeypatch.setattr(build, 'open_backend', open_backend)
    return calls


@pytest.mark.parametrize(
    ('sizes', 'opened_hw', 'ready'),
    [
        ((), ((480, 640),), '640x480'),
        (('640x512', '1280x1024'), ((512, 640), (1024, 1280)), '640x512, 1280x1024'),
    ],
)
def test_build_prepares_every_given_size(opened, capsys, sizes, opened_hw, ready):
    given = [word for size in sizes for word in ('--size', size)]
    assert main(['build', '-p', 'backend=trt', *given]) == 0
    assert opened == [('trt', 'msrs_rt', opened_hw)]
    out, err = capsys.readouterr()
    assert out == f'trt (TensorRT 10.3.0) is ready for {ready}\n'
    assert err == 'building …: 5 s so far\n'


def test_build_reads_the_file_of_a_node_that_calibrates_itself(opened, tmp_path):
    (tmp_path / 'node.yaml').write_text(
        '/**: {ros__parameters: {backend: trt, calibration: tf, class_filter: [my_class]}}'
    )
    assert main(['build', '--config', str(tmp_path / 'node.yaml')]) == 0
    assert opened == [('trt', 'msrs_rt', ((480, 640),))]


@pytest.mark.parametrize('choice', [('-p', 'backend=trt'), ('--target', 'sm86')])
def test_cache_that_cannot_be_written_is_an_error_before_the_work(opened, cache, capsys, choice):
    cache.touch()
    assert main(['build', *choice]) == 1
    out, err = capsys.readouterr()
    assert f'the engine cannot be kept in {cache}/tdfusion_ros (Not a directory): make' in err
    assert (out, opened) == ('', [])


def test_missing_engine_is_one_error_line_with_exit_status_1(capsys, monkeypatch):
    monkeypatch.setattr(trt.importlib.util, 'find_spec', lambda name: None)
    assert main(['build', '-p', 'backend=trt']) == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith("tdfusion: backend 'trt' cannot be used: ")


def test_build_on_the_cpu_only_runs_once_and_reports_to_nobody(cache):
    command = [sys.executable, '-m', 'tdfusion_ros.cli', 'build', '-p', 'backend=cpu']
    environment = {name: value for name, value in os.environ.items() if name[:4] != 'ORT_'}
    done = subprocess.run(
        [*command, '--size', '90x60'],
        env={**environment, 'HOME': str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert 'is ready for 90x60' in done.stdout
    assert done.stderr == ''
    assert not cache.exists()  # where ONNX Runtime would keep the id of the machine
