"""Shared fixtures of the backend tests: the shipped bundle, and fakes of CUDA and TensorRT."""

from contextlib import contextmanager
from contextlib import nullcontext
import ctypes
import importlib
from importlib.machinery import ModuleSpec
import sys
from types import ModuleType
from types import SimpleNamespace

import numpy as np
import pytest

from tdfusion_ros import backends
from tdfusion_ros.backends import gpu
from tdfusion_ros.backends.bundle import read_bundle
from tdfusion_ros.core.coverage import soft

FACTS = {'gpu': 'Orin', 'capability': [8, 7], 'driver': '12060'}
STREAM = 77


@pytest.fixture(scope='session')
def shipped(bundle):
    return read_bundle(bundle)


@pytest.fixture(scope='session')
def noise():
    """Return random inputs, with ir in the left three quarters: ``noise(size_hw, seed)``."""

    def make(size_hw, seed=1):
        rng = np.random.default_rng(seed)
        rgb, ir = rng.integers(0, 256, (*size_hw, 3), np.uint8), rng.random(size_hw, np.float32)
        return rgb, ir, soft(np.broadcast_to(np.arange(size_hw[1]) < size_hw[1] * 0.75, size_hw))

    return make


@pytest.fixture
def messages():
    """Return a list whose ``append`` is passed as ``report``."""
    return []


@pytest.fixture
def driver(monkeypatch):
    """Let the driver be there, with a GPU."""
    monkeypatch.setattr(gpu, 'require_driver', lambda: None)
    monkeypatch.setattr(gpu, 'properties', lambda: dict(FACTS))


@pytest.fixture
def reimport(monkeypatch):
    """Import modules of the backends again in this test only: ``reimport(*names)``."""
    removed = []

    def remove(*names):
        for name in names:
            removed.append(name)
            monkeypatch.delitem(sys.modules, f'tdfusion_ros.backends.{name}', raising=False)
            monkeypatch.delattr(backends, name, raising=False)
        importlib.invalidate_caches()

    yield remove
    for name in removed:  # before monkeypatch restores the originals
        sys.modules.pop(f'tdfusion_ros.backends.{name}', None)
        vars(backends).pop(name, None)


class FakeGraph:
    """A CUDA graph on the CPU: a replay runs the step again on the same tensors."""

    def replay(self):
        for kept, new in zip(self.captured._outputs, self.step(*self.inputs), strict=True):
            kept.copy_(new)


@pytest.fixture
def fake_cuda(monkeypatch, driver):
    """Replace torch.cuda by the CPU; return the list of sizes that were captured."""
    torch = pytest.importorskip('torch')
    pytest.importorskip('safetensors')
    from tdfusion_ros.backends import cuda_graph

    sizes = []

    @contextmanager
    def capture(graph, stream, capture_error_mode):
        assert capture_error_mode == 'thread_local'
        yield

    class CapturedStep(cuda_graph.CapturedStep):
        def __init__(self, step, size_hw, device):
            sizes.append(size_hw)

            def recorded(*inputs):
                self._graph.inputs = inputs
                return step(*inputs)

            super().__init__(recorded, size_hw, torch.device('cpu'))
            self._graph.captured, self._graph.step = self, step

    nothing = SimpleNamespace(synchronize=lambda: None, record=lambda stream: None)
    for name, value in {
        'is_available': lambda: True,
        'get_device_name': lambda device: 'a fake GPU',
        'current_stream': lambda: SimpleNamespace(cuda_stream=STREAM),
        'Stream': lambda device: nothing,
        'Event': lambda blocking: nothing,
        'CUDAGraph': FakeGraph,
        'stream': lambda stream: nullcontext(),
        'graph': capture,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(cuda_graph, 'CapturedStep', CapturedStep)
    to, cuda = torch.nn.Module.to, (torch.device('cuda'),)
    monkeypatch.setattr(
        torch.nn.Module, 'to', lambda self, *a, **k: self if a == cuda else to(self, *a, **k)
    )
    return sizes


class FakeEngine:
    """A TensorRT engine and its context, which read and write float32 at the given addresses."""

    def __init__(self, shapes, compute, dtype):
        self.shapes, self.compute, self.dtype = shapes, compute, dtype
        self.names = sorted(shapes, reverse=True)  # the order is not defined
        self.num_io_tensors = len(shapes)
        self.addresses = {}
        self.succeeds = True
        self.get_tensor_name = self.names.__getitem__
        self.get_tensor_shape = lambda name: list(shapes[name])
        self.get_tensor_dtype = lambda name: dtype
        self.set_tensor_address = self.addresses.__setitem__
        self.create_execution_context = lambda: self

    def array(self, name):
        shape = self.shapes[name]
        values = (ctypes.c_float * int(np.prod(shape))).from_address(self.addresses[name])
        return np.ctypeslib.as_array(values).reshape(shape)

    def execute_async_v3(self, stream):
        assert stream == STREAM
        outputs = self.compute(*(self.array(name) for name in ('rgb', 'ir', 'coverage')))
        for index, output in enumerate(outputs):
            self.array(f'output{index}')[...] = output
        return self.succeeds


@pytest.fixture
def fake_tensorrt(monkeypatch, fake_cuda, reimport):
    """
    Install a fake TensorRT: ``fake_tensorrt(shapes, compute, dtype)``.

    It deserializes everything into that engine; without shapes nothing.
    """

    def install(shapes, compute=None, dtype='float32'):
        engine = FakeEngine(shapes, compute, dtype) if shapes else None
        library = ModuleType('tensorrt')
        library.__spec__, library.__version__ = ModuleSpec('tensorrt', None), '10.3.0'
        library.float32 = 'float32'
        library.Logger = type('Logger', (), {'ERROR': 1, '__init__': lambda self, level: None})
        library.Runtime = lambda _: SimpleNamespace(deserialize_cuda_engine=lambda content: engine)
        monkeypatch.setitem(sys.modules, 'tensorrt', library)
        reimport('trt_plan')
        return engine

    return install
