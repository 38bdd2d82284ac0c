"""What the tests of the engines share."""

from contextlib import contextmanager
from contextlib import nullcontext
import ctypes
from enum import Enum
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
from tdfusion_ros.backends.engine_cache import Cache


@pytest.fixture(scope='session')
def shipped(bundle):
    """Return the shipped bundle as engines take it."""
    return read_bundle(bundle)


@pytest.fixture
def forget(monkeypatch):
    """
    Make modules of the backends be imported anew in this test, and not be kept after it.

    They hold what they imported (torch, tensorrt), which a test may replace.
    """
    forgotten = []

    def forgetting(*names):
        for name in names:
            forgotten.append(name)
            monkeypatch.delitem(sys.modules, f'tdfusion_ros.backends.{name}', raising=False)
            monkeypatch.delattr(backends, name, raising=False)
        importlib.invalidate_caches()

    yield forgetting
    for name in forgotten:  # before monkeypatch brings back what there was
        sys.modules.pop(f'tdfusion_ros.backends.{name}', None)
        vars(backends).pop(name, None)


class Builder:
    """Builds an engine whose content says how often it was built."""

    def __init__(self):
        self.times = 0

    def __call__(self, folder):
        assert not list(folder.iterdir())
        self.times += 1
        (folder / 'engine.plan').write_bytes(b'engine %d' % self.times)


@pytest.fixture
def build():
    return Builder()


@pytest.fixture
def said():
    return []


@pytest.fixture
def cache(tmp_path, said):
    return Cache(tmp_path / 'cache', said.append)


class Recorder:
    """Calls a step, and remembers what it read."""

    def __init__(self, step):
        self.step = step

    def __call__(self, *inputs):
        self.inputs = inputs
        return self.step(*inputs)


class PlayedGraph:
    """Replays by doing the step again and writing where it wrote."""

    captured = None

    def replay(self):
        recorder = self.captured.recorder
        fresh = recorder.step(*recorder.inputs)
        for kept, new in zip(self.captured._outputs, fresh, strict=True):
            kept.copy_(new)


@contextmanager
def played_capture(graph, stream, capture_error_mode):
    """Capture nothing: the recorder has what is needed."""
    assert capture_error_mode == 'thread_local'
    yield


@pytest.fixture
def played_cuda(monkeypatch):
    """Play torch.cuda on the CPU; return the sizes that were captured."""
    torch = pytest.importorskip('torch')
    pytest.importorskip('safetensors')
    from tdfusion_ros.backends import cuda_graph as device

    monkeypatch.setattr(gpu, 'require_driver', lambda: None)
    sizes = []

    class Captured(device.Captured):
        def __init__(self, step, size_hw, where):
            sizes.append(size_hw)
            self.recorder = Recorder(step)
            super().__init__(self.recorder, size_hw, torch.device('cpu'))
            self._graph.captured = self

    nothing = SimpleNamespace(synchronize=lambda: None, record=lambda stream: None)
    for name, value in {
        'is_available': lambda: True,
        'get_device_name': lambda device: 'a played GPU',
        'Stream': lambda device: nothing,
        'Event': lambda blocking: nothing,
        'CUDAGraph': PlayedGraph,
        'stream': lambda stream: nullcontext(),
        'graph': played_capture,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(device, 'Captured', Captured)
    to, gpu_there = torch.nn.Module.to, (torch.device('cuda'),)
    monkeypatch.setattr(
        torch.nn.Module, 'to', lambda self, *a, **k: self if a == gpu_there else to(self, *a, **k)
    )
    return sizes


STREAM = 77


class Mode(Enum):
    """``tensorrt.TensorIOMode``."""

    INPUT = 0
    OUTPUT = 1


def at(address, shape):
    """Return the float32 array at an address."""
    count = int(np.prod(shape))
    return np.ctypeslib.as_array((ctypes.c_float * count).from_address(address)).reshape(shape)


class PlayedEngine:
    """An engine and its context: outputs come first and in disorder, as an order is not said."""

    def __init__(self, shapes, compute, dtype='float32'):
        self.shapes = shapes
        self.names = sorted(shapes, reverse=True)
        self.num_io_tensors = len(shapes)
        self.compute = compute
        self.dtype = dtype
        self.addresses = {}
        self.succeeds = True

    def create_execution_context(self):
        return self

    def get_tensor_name(self, index):
        return self.names[index]

    def get_tensor_dtype(self, name):
        return self.dtype

    def get_tensor_mode(self, name):
        return Mode.OUTPUT if name.startswith('output') else Mode.INPUT

    def get_tensor_shape(self, name):
        return list(self.shapes[name])

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def execute_async_v3(self, stream):
        assert stream == STREAM
        arrays = {name: at(self.addresses[name], shape) for name, shape in self.shapes.items()}
        given = [arrays[name] for name in ('rgb', 'ir')]
        for index, result in enumerate(self.compute(*given)):
            arrays[f'output{index}'][...] = result
        return self.succeeds


@pytest.fixture
def played_tensorrt(monkeypatch, forget):
    """
    Put a played TensorRT into place: ``played_tensorrt(shapes, compute, dtype)``.

    Whatever it is given to read becomes that engine; with shapes None it can read nothing.
    """
    torch = pytest.importorskip('torch')
    pytest.importorskip('safetensors')
    monkeypatch.setattr(torch.cuda, 'current_stream', lambda: SimpleNamespace(cuda_stream=STREAM))

    def playing(shapes, compute=None, dtype='float32'):
        engine = PlayedEngine(shapes, compute, dtype) if shapes else None
        library = ModuleType('tensorrt')
        library.__spec__, library.__version__ = ModuleSpec('tensorrt', None), '10.3.0'
        library.float32 = 'float32'
        library.Logger = type('Logger', (), {'ERROR': 1, '__init__': lambda self, level: None})
        library.Runtime = lambda logger: SimpleNamespace(
            deserialize_cuda_engine=lambda content: engine
        )
        monkeypatch.setitem(sys.modules, 'tensorrt', library)
        forget('trt_plan')
        return engine

    return playing
