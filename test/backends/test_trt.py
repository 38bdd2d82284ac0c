"""The trt backend without TensorRT: which engine is built, kept, checked, and used when."""

from dataclasses import replace
from functools import partial
import json
from pathlib import Path
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tdfusion_ros import backends
from tdfusion_ros.backends import engine_builder
from tdfusion_ros.backends import engine_process
from tdfusion_ros.backends import open_backend
from tdfusion_ros.backends import trt
from tdfusion_ros.backends.cpu import CpuBackend
from tdfusion_ros.core.data import RawOutput
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import ModelError

SIZE = (64, 96)
FACTS = {
    'torch': '2.8.0',
    'torch_tensorrt': '2.8.0',
    'tensorrt': '10.3.0',
    'gpu': 'Orin',
    'capability': [8, 7],
    'driver': '12060',
}


class FakeMachine:
    """A machine with a GPU, as the backend sees it: the builder's process is replaced."""

    def __init__(self):
        self.facts = dict(FACTS)
        self.plan = b'right'
        self.requests = []

    def run_builder(self, request, what, report, limit_s):
        self.requests.append(request)
        if isinstance(self.plan, Exception):
            raise self.plan
        if request['task'] == 'probe':
            description = 'TensorRT 10.3.0 through torch_tensorrt 2.8.0, on Orin'
            return {'key': self.facts, 'description': description}
        (Path(request['folder']) / 'engine.plan').write_bytes(self.plan)
        return {}

    @property
    def built(self):
        return [tuple(r['size_hw']) for r in self.requests if r['task'] == 'build']


class FakePlan:
    """The float32 graph; the plan ``wrong`` makes its image wrong."""

    name = 'trt'

    def __init__(self, graph, plan, size_hw, outputs):
        self.cpu, self.wrong, self.size_hw = CpuBackend(graph), plan == b'wrong', size_hw

    def run(self, rgb, ir, coverage, *, fused=True, segmentation=True):
        assert ir.shape == self.size_hw
        raw = self.cpu.run(rgb, ir, coverage)
        return RawOutput(255 - raw.fused if self.wrong else raw.fused, raw.boxes_xyxy, raw.scores)


@pytest.fixture
def machine(monkeypatch, tmp_path, driver, shipped):
    machine = FakeMachine()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setattr(engine_process, 'run_builder', machine.run_builder)
    monkeypatch.setattr(trt.importlib.util, 'find_spec', {'torch_tensorrt': 'found'}.get)
    plans = SimpleNamespace(PlanEngine=partial(FakePlan, shipped.graph))
    monkeypatch.setattr(backends, 'trt_plan', plans, raising=False)
    return machine


def test_engine_is_built_at_startup_used_and_taken_by_auto(machine, shipped, noise, messages):
    backend = open_backend('trt', shipped, messages.append, (SIZE,))
    assert machine.built == [SIZE]
    assert 'building the TensorRT engine for 96x64: this takes minutes' in messages[0]
    assert 'engine for 96x64 differs from the float32 graph by at most image 0' in messages[1]
    assert backend.name == 'trt'
    assert backend.engine.startswith(
        'TensorRT 10.3.0 through torch_tensorrt 2.8.0, on Orin, half precision'
    )
    np.testing.assert_array_equal(
        backend.run(*noise(SIZE)).fused, CpuBackend(shipped.graph).run(*noise(SIZE)).fused
    )
    assert open_backend('auto', shipped, messages.append, (SIZE,)).name == 'trt'
    assert messages[-1].startswith('backend auto: took trt (TensorRT 10.3.0')


def test_second_start_takes_the_kept_engine_of_the_last_size(machine, shipped, noise, messages):
    open_backend('trt', shipped, print, (SIZE,))
    backend = open_backend('trt', shipped, messages.append)
    backend.run(*noise(SIZE))
    assert machine.built == [SIZE]
    assert len(messages) == 1


def test_first_start_builds_for_640x480(machine, shipped, monkeypatch):
    machine.plan = ModelError('not built here, to be quick')
    monkeypatch.setattr(
        trt,
        'find_tensorrt',
        lambda report, with_torch: trt.TensorRT('torch_tensorrt', FACTS, 'it'),
    )
    with pytest.raises(ModelError, match='to be quick'):
        open_backend('trt', shipped, print)
    assert machine.built == [(480, 640)]


@pytest.mark.parametrize(
    'change', ['torch', 'torch_tensorrt', 'tensorrt', 'gpu', 'driver', 'code', 'weights']
)
def test_another_machine_code_or_model_needs_another_engine(machine, shipped, monkeypatch, change):
    open_backend('trt', shipped, print, (SIZE,))
    if change == 'code':
        monkeypatch.setattr(trt, '_code_hash', lambda: 'other')
    elif change == 'weights':
        hashes = {**shipped.contract.sha256, 'weights.safetensors': 'other'}
        shipped = replace(shipped, contract=replace(shipped.contract, sha256=hashes))
    else:
        machine.facts[change] = 'other'
    open_backend('trt', shipped, print, (SIZE,))
    assert machine.built == [SIZE, SIZE]


def test_first_pair_of_a_new_size_waits_for_its_engine(machine, shipped, noise):
    backend = open_backend('trt', shipped, print, (SIZE,))
    for _ in range(2):
        assert backend.run(*noise((32, 64))).fused.shape == (32, 64, 3)
    assert machine.built == [SIZE, (32, 64)]


def test_size_that_cannot_be_built_is_tried_once(machine, shipped, noise):
    backend = open_backend('trt', shipped, print, (SIZE,))
    machine.plan = ModelError('no tactic')
    errors = []
    for _ in range(3):
        with pytest.raises(ModelError, match='no tactic') as caught:
            backend.run(*noise((32, 64)))
        errors.append(caught.value)
    assert len(set(map(id, errors))) == 3, 'raised again, an error collects frames and images'
    assert machine.built == [SIZE, (32, 64)]
    backend.run(*noise(SIZE))


def test_wrong_engine_is_refused_even_if_it_is_from_the_cache(machine, shipped):
    machine.plan = b'wrong'
    for _ in range(2):
        with pytest.raises(ModelError, match="'trt' cannot be used: the engine differs too much"):
            open_backend('trt', shipped, print, (SIZE,))
    assert machine.built == [SIZE]


@pytest.mark.parametrize(
    ('plan', 'reason'),
    [
        (b'wrong', 'the engine differs too much from the float32 graph: image 2'),
        (ModelError('looking for TensorRT: the process was ended by SIGSEGV'), 'looking for'),
    ],
)
def test_auto_takes_the_next_and_says_why(machine, shipped, monkeypatch, messages, plan, reason):
    machine.plan = plan
    monkeypatch.setitem(sys.modules, 'torch', None)
    assert open_backend('auto', shipped, messages.append, (SIZE,)).name == 'cpu'
    assert messages[-1].startswith('backend auto: took cpu (ONNX Runtime')
    assert 'not trt: ' in messages[-1]
    assert reason in messages[-1]
    assert 'not cuda: it needs torch built with CUDA' in messages[-1]


def test_missing_tensorrt_is_an_error_that_says_what_to_install(machine, shipped, monkeypatch):
    monkeypatch.setattr(trt.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ConfigError, match='install torch_tensorrt and safetensors, or onnx'):
        open_backend('trt', shipped)


@pytest.mark.parametrize('error', [RuntimeError('bad plan'), ImportError('no tensorrt')])
def test_engine_that_cannot_be_loaded_is_a_model_error(machine, shipped, monkeypatch, error):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(backends, 'trt_plan', SimpleNamespace(PlanEngine=fail))
    with pytest.raises(ModelError, match=f'cannot be loaded: {error}'):
        open_backend('trt', shipped, print, (SIZE,))


@pytest.mark.torch
def test_everything_from_request_to_result_with_a_fake_gpu_and_tensorrt(
    monkeypatch, tmp_path, shipped, noise, messages, fake_tensorrt
):
    """Request, export, conversion, cache, engine, capture, and checks, as on a robot."""
    import torch

    programs = []

    def convert(exported_program, *, arg_inputs, use_explicit_typing=False, **kwargs):
        programs.append(exported_program.module())
        return b'plan'

    dynamo = SimpleNamespace(convert_exported_program_to_serialized_trt_engine=convert)
    package = SimpleNamespace(__version__=torch.__version__, dynamo=dynamo)
    monkeypatch.setitem(sys.modules, 'torch_tensorrt', package)
    monkeypatch.setitem(sys.modules, 'torch_tensorrt.dynamo', dynamo)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setattr(trt, 'importlib', SimpleNamespace(util=SimpleNamespace(find_spec=bool)))
    monkeypatch.setattr(
        engine_process,
        'run_builder',
        lambda request, *rest: engine_builder.perform(json.loads(json.dumps(request))),
    )
    anchors = SIZE[0] * SIZE[1] * 21 // 1024
    shapes = {'rgb': (*SIZE, 3), 'ir': SIZE, 'coverage': SIZE, 'output0': (*SIZE, 3)}
    fake_tensorrt(
        {**shapes, 'output1': (anchors, 4), 'output2': (anchors, 3)},
        lambda *images: programs[-1](*map(torch.from_numpy, images)),
    )
    from tdfusion_ros.backends import trt_plan

    monkeypatch.setattr(trt_plan, 'PlanEngine', partial(trt_plan.PlanEngine, device='cpu'))
    backend = open_backend('trt', shipped, messages.append, (SIZE,))
    assert 'differs from the float32 graph by at most image' in messages[-1]
    expected = CpuBackend(shipped.graph).run(*noise(SIZE))
    got = backend.run(*noise(SIZE))
    assert np.abs(got.fused.astype(int) - expected.fused).max() <= 1
    assert np.abs(got.scores - expected.scores).max() < 0.002
    assert len(programs) == 1
