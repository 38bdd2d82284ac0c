"""
Torch-TensorRT itself on our networks, with a TensorRT that computes its layers with torch.

What this proves: the real conversion of the installed version takes our options, converts every
operator of the networks into layers of a strongly typed network, all of it in one engine, whose
inputs and outputs have the names and types that ``plan.py`` relies on; and the layers compute what
the network does. What it cannot: that TensorRT finds kernels for them, and what those compute.
"""

import importlib.util
import json
import os
from pathlib import Path
import shutil
import subprocess
import sys

import pytest

torch = pytest.importorskip('torch')
pytestmark = pytest.mark.torch
STUB = Path(__file__).parent / 'trt_stub'
INSTALL = 'pip install --no-deps torch-tensorrt==2.13.0, and dllist and psutil'


@pytest.fixture(scope='module')
def package(tmp_path_factory):
    """Return a folder with the Python files of the installed torch_tensorrt, without libraries."""
    found = importlib.util.find_spec('torch_tensorrt')
    if not found or not all(map(importlib.util.find_spec, ('dllist', 'psutil'))):
        pytest.skip(f'torch_tensorrt is not installed: {INSTALL}')
    source, folder = Path(found.origin).parent, tmp_path_factory.mktemp('package')
    shutil.copytree(
        source,
        folder / 'torch_tensorrt',
        ignore=shutil.ignore_patterns('*.so*', 'lib', 'bin', 'include', '__pycache__'),
    )
    return folder


@pytest.fixture(scope='module')
def convert(package, bundle):
    """Convert a network in a process of its own: ``convert(case)``; see ``conversion.py``."""

    def converting(case):
        run = subprocess.run(
            [sys.executable, str(STUB / 'conversion.py'), str(package), str(bundle), case],
            env={**os.environ, 'OMP_NUM_THREADS': '1'},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert run.returncode == 0, run.stderr[-3000:]
        return json.loads(run.stdout.splitlines()[-1])

    return converting


@pytest.mark.parametrize('case', ['half', 'float32', 'paper'])
def test_network_becomes_one_engine_that_computes_the_same(convert, case):
    facts = convert(case)
    assert facts['engines'] == 1
    assert facts['strong'] is True
    assert facts['layers'] > 250
    assert facts['inputs'] == [['rgb', 'torch.float32'], ['ir', 'torch.float32']]
    assert facts['outputs'] == [[f'output{i}', 'torch.float32'] for i in range(3)]
    exact = case == 'float32'
    assert facts['convolutions'] == ['torch.float32' if exact else 'torch.float16']
    levels, boxes_px, scores = facts['differences']
    assert levels <= 1
    assert boxes_px < (1e-3 if exact else 0.5)
    assert scores < (1e-6 if exact else 0.002)


def test_what_cannot_be_converted_is_an_error_that_names_it(convert):
    """The check discriminates: a stand-in that says yes to all would pass without this."""
    facts = convert('unsupported')
    assert 'cannot build it: ' in facts['error']
    assert '_upsample_bilinear2d_aa' in facts['error']


def test_conversion_of_torch_tensorrt_has_the_signature_that_the_other_tests_play(package):
    source = (package / 'torch_tensorrt' / 'dynamo' / '_compiler.py').read_text(encoding='utf-8')
    version = '.'.join(torch.__version__.split('.')[:2])
    played = json.loads((STUB.parent / 'torch_tensorrt_signatures.json').read_text())
    if version not in played['keyword_only']:
        pytest.skip(f'the signature of {version} is not known here')
    part = source[source.index('def convert_exported_program_to_serialized_trt_engine(') :]
    part = part[: part.index('-> bytes:')]
    for name in played['keyword_only'][version].split():
        assert f'    {name}: ' in part
