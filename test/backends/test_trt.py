"""The trt backend without TensorRT: which engine is built, kept, checked, and used when."""

from functools import partial
import importlib
import json
from pathlib import Path
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tdfusion_ros import backends
from tdfusion_ros.backends import engine_process as child
from tdfusion_ros.backends import gpu
from tdfusion_ros.backends import open_backend
from tdfusion_ros.backends import trt
from tdfusion_ros.backends.cpu import CpuBackend
from tdfusion_ros.core.data import RawOutput
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import ModelError

SIZE = (64, 96)
FACTS = {
    'precision': 'half',
    'torch': '2.8.0',
    'torch_tensorrt': '2.8.0',
    'tensorrt': '10.3.0',
    'gpu': 'Orin',
    'capability': [8, 7],
    'driver': '12060',
}


class Machine:
    """A machine with a GPU as far as the backend can see: the builder's process is played."""

    def __init__(self):
        self.facts = dict(FACTS)
        self.plan = b'right'
        self.asked = []

    def ask(self, question, what, report, limit_s):
        """Answer as the builder would."""
        self.asked.append(question)
        if isinstance(self.plan, Exception):
            raise self.plan
        if question['task'] == 'probe':
            return self.facts
        (Path(question['folder']) / 'engine.plan').write_bytes(self.plan)
        return {}

    @property
    def built(self):
        return [tuple(q['size_hw']) for q in self.asked if q['task'] == 'build']


class PlayedEngine:
    """The float32 graph; a plan that says ``wrong`` makes its image wrong."""

    name = 'trt'

    def __init__(self, graph, plan, size_hw):
        self.inner = CpuBackend(graph)
        self.wrong = plan == b'wrong'
        self.size_hw = size_hw

    def run(self, rgb, ir):
        assert ir.shape == self.size_hw
        raw = self.inner.run(rgb, ir)
        return RawOutput(255 - raw.fused if self.wrong else raw.fused, raw.boxes_xyxy, raw.scores)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    machine = Machine()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setattr(gpu, 'require_driver', lambda: None)
    monkeypatch.setattr(child, 'ask', machine.ask)
    monkeypatch.setattr(trt.importlib.util, 'find_spec', lambda name: name == 'torch_tensorrt')
    monkeypatch.setattr(
        trt.TrtBackend,
        '_load',
        lambda self, files, size_hw: PlayedEngine(
            self._bundle.graph, files['engine.plan'], size_hw
        ),
    )
    return machine


def images(size_hw):
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8), rng.random(size_hw, np.float32)


def test_engine_is_built_at_the_start_said_and_used(machine, shipped):
    said = []
    backend = open_backend('trt', shipped, said.append, (SIZE,))
    assert machine.built == [SIZE]
    assert 'building the TensorRT engine for 96x64: this takes minutes' in said[0]
    assert 'engine for 96x64 differs from float32 by at most image 0 of 255' in said[1]
    assert backend.name == 'trt'
    assert 'TensorRT 10.3.0 through torch_tensorrt 2.8.0, half, on Orin' in backend.engine
    given = images(SIZE)
    np.testing.assert_array_equal(
        backend.run(*given).fused, CpuBackend(shipped.graph).run(*given).fused
    )


def test_second_start_takes_the_kept_engine_of_the_size_used_last(machine, shipped):
    open_backend('trt', shipped, print, (SIZE,))
    said = []
    backend = open_backend('trt', shipped, said.append)
    backend.run(*images(SIZE))
    assert machine.built == [SIZE]
    assert len(said) == 1


def test_first_start_prepares_for_the_usual_size(machine, shipped):
    open_backend('trt', shipped, print)
    assert machine.built == [(480, 640)]


@pytest.mark.parametrize('fact', ['torch', 'torch_tensorrt', 'tensorrt', 'gpu', 'driver'])
def test_another_machine_or_version_needs_another_engine(machine, shipped, fact):
    open_backend('trt', shipped, print, (SIZE,))
    machine.facts[fact] = 'other'
    open_backend('trt', shipped, print, (SIZE,))
    assert machine.built == [SIZE, SIZE]


def test_changed_code_of_the_network_needs_another_engine(machine, shipped, monkeypatch):
    open_backend('trt', shipped, print, (SIZE,))
    monkeypatch.setattr(trt, '_code', lambda: 'other')
    open_backend('trt', shipped, print, (SIZE,))
    assert machine.built == [SIZE, SIZE]


def test_key_names_everything_that_an_engine_depends_on(machine, shipped, tmp_path):
    open_backend('trt', shipped, print, (SIZE,))
    (sidecar,) = tmp_path.glob('tdfusion_ros/*/key.json')
    key = json.loads(sidecar.read_text())['key']
    assert key['files'] == shipped.contract.sha256
    assert {'model.onnx', 'weights.safetensors'} <= set(key['files'])
    assert set(key) == {'route', 'size_hw', 'files', 'code', *FACTS}


def test_pair_of_a_new_size_waits_for_its_engine(machine, shipped):
    backend = open_backend('trt', shipped, print, (SIZE,))
    for _ in range(2):
        assert backend.run(*images((32, 64))).fused.shape == (32, 64, 3)
    assert machine.built == [SIZE, (32, 64)]


def test_size_that_cannot_be_built_is_tried_once(machine, shipped):
    backend = open_backend('trt', shipped, print, (SIZE,))
    machine.plan = ModelError('no tactic')
    for _ in range(3):
        with pytest.raises(ModelError, match='no tactic'):
            backend.run(*images((32, 64)))
    assert len(machine.asked) == 3
    backend.run(*images(SIZE))


def test_engine_that_computes_something_else_is_refused_even_from_the_cache(machine, shipped):
    machine.plan = b'wrong'
    for _ in range(2):
        with pytest.raises(ModelError, match="'trt' cannot be used: the engine differs too much"):
            open_backend('trt', shipped, print, (SIZE,))
    assert machine.built == [SIZE]


def test_auto_takes_the_next_engine_and_says_why(machine, shipped, monkeypatch):
    machine.plan = b'wrong'
    monkeypatch.setitem(sys.modules, 'torch', None)
    said = []
    backend = open_backend('auto', shipped, said.append, (SIZE,))
    assert backend.name == 'cpu'
    assert said[-1].startswith('backend auto: took cpu (ONNX Runtime')
    assert 'not trt: the engine differs too much from the float32 graph: image 2' in said[-1]
    assert 'not cuda: it needs torch built with CUDA' in said[-1]


def test_auto_goes_on_when_the_installation_crashes(machine, shipped, monkeypatch):
    machine.plan = ModelError('looking for TensorRT: the process was ended by SIGSEGV')
    monkeypatch.setitem(sys.modules, 'torch', None)
    said = []
    assert open_backend('auto', shipped, said.append, (SIZE,)).name == 'cpu'
    assert 'not trt: looking for TensorRT: the process was ended by SIGSEGV' in said[-1]


def test_auto_takes_trt_where_it_works(machine, shipped):
    said = []
    assert open_backend('auto', shipped, said.append, (SIZE,)).name == 'trt'
    assert said[-1].startswith('backend auto: took trt (TensorRT 10.3.0')


def test_without_any_package_the_error_says_what_to_install(machine, shipped, monkeypatch):
    monkeypatch.setattr(trt.importlib.util, 'find_spec', lambda name: False)
    with pytest.raises(ConfigError, match='install torch_tensorrt and safetensors, or onnx'):
        open_backend('trt', shipped)


@pytest.mark.parametrize('error', [RuntimeError('bad plan'), ImportError('no tensorrt')])
def test_engine_that_cannot_be_loaded_is_a_model_error(machine, shipped, monkeypatch, error):
    def fail(*arguments):
        raise error

    monkeypatch.undo()
    backend = SimpleNamespace(_route='torch_tensorrt')
    monkeypatch.setattr(backends, 'trt_plan', SimpleNamespace(PlanEngine=fail), raising=False)
    with pytest.raises(ModelError, match='cannot be loaded: '):
        trt.TrtBackend._load(backend, {'engine.plan': b''}, SIZE)


@pytest.mark.torch
def test_whole_way_with_everything_below_torch_played(
    monkeypatch, tmp_path, shipped, played_cuda, played_tensorrt
):
    """Question, export, conversion, cache, engine, capture, gate: as on a robot, but slower."""
    torch = pytest.importorskip('torch')
    importlib.import_module('torch._dynamo')  # asks find_spec before that is replaced

    from tdfusion_ros.backends import engine_builder as builder

    programs = []

    def convert(exported_program, *, arg_inputs, use_explicit_typing=False, **kwargs):
        programs.append(exported_program.module())
        return b'plan'

    package = SimpleNamespace(
        __version__=torch.__version__,
        dynamo=SimpleNamespace(convert_exported_program_to_serialized_trt_engine=convert),
    )
    monkeypatch.setitem(sys.modules, 'torch_tensorrt', package)
    monkeypatch.setitem(sys.modules, 'torch_tensorrt.dynamo', package.dynamo)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setattr(trt.importlib.util, 'find_spec', lambda name: True)
    monkeypatch.setattr(gpu, 'facts', lambda: {'gpu': 'Orin', 'capability': [8, 7], 'driver': '1'})
    build = builder.build_torch_tensorrt
    monkeypatch.setattr(builder, 'build_torch_tensorrt', lambda *given: build(*given[:3], 'cpu'))
    monkeypatch.setattr(
        child, 'ask', lambda question, *rest: builder.answer(json.loads(json.dumps(question)))
    )
    played_tensorrt(
        {
            'rgb': (*SIZE, 3),
            'ir': SIZE,
            'output0': (*SIZE, 3),
            'output1': (SIZE[0] * SIZE[1] * 21 // 1024, 4),
            'output2': (SIZE[0] * SIZE[1] * 21 // 1024, 3),
        },
        lambda rgb, ir: programs[-1](torch.from_numpy(rgb), torch.from_numpy(ir)),
    )
    plan = importlib.import_module('tdfusion_ros.backends.trt_plan')
    monkeypatch.setattr(plan, 'PlanEngine', partial(plan.PlanEngine, device='cpu'))
    said = []
    backend = open_backend('trt', shipped, said.append, (SIZE,))
    assert 'differs from float32 by at most image' in said[-1]
    wanted = CpuBackend(shipped.graph).run(*images(SIZE))
    got = backend.run(*images(SIZE))
    assert np.abs(got.fused.astype(int) - wanted.fused).max() <= 1
    assert np.abs(got.scores - wanted.scores).max() < 0.002
    assert len(programs) == 1
