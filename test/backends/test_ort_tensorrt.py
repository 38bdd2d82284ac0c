"""TensorRT through ONNX Runtime, with a played ONNX Runtime that builds as the real one does."""

from pathlib import Path
import sys
from types import ModuleType

import numpy as np
import onnxruntime
import pytest

from tdfusion_ros.backends import engine_process as child
from tdfusion_ros.backends import gpu
from tdfusion_ros.backends import open_backend
from tdfusion_ros.backends import trt
from tdfusion_ros.backends.ort_tensorrt import from_files
from tdfusion_ros.backends.ort_tensorrt import OrtEngine
from tdfusion_ros.core.errors import ModelError

SIZE = (32, 64)
PROVIDER = 'TensorrtExecutionProvider'


class PlayedSession(onnxruntime.InferenceSession):
    """Runs on the CPU; writes an engine at its first run where there is none, and notes it."""

    built = 0
    loads = True

    def __init__(self, graph, options, providers):
        super().__init__(graph, options, providers=['CPUExecutionProvider'])
        self.options = dict(providers[0][1]) if providers[0][0] == PROVIDER else None

    def get_providers(self):
        return [PROVIDER] if self.options and type(self).loads else ['CPUExecutionProvider']

    def run(self, names, feeds):
        if self.options:
            height, width = feeds['ir'].shape
            for edge in ('min', 'opt', 'max'):
                shapes = self.options[f'trt_profile_{edge}_shapes']
                assert shapes == f'rgb:{height}x{width}x3,ir:{height}x{width}'
            engine = Path(self.options['trt_engine_cache_path']) / 'TRTKernel_0_sm87.engine'
            if engine.parent.is_dir() and not engine.exists():
                PlayedSession.built += 1
                engine.write_bytes(b'engine')
                engine.with_suffix('.profile').write_bytes(b'profile')
        return super().run(names, feeds)


@pytest.fixture
def played(monkeypatch):
    """Put the played ONNX Runtime into place."""
    runtime = ModuleType('onnxruntime')
    runtime.__version__ = '1.22.0'
    runtime.SessionOptions = onnxruntime.SessionOptions
    runtime.InferenceSession = PlayedSession
    runtime.get_available_providers = lambda: [PROVIDER, 'CPUExecutionProvider']
    monkeypatch.setitem(sys.modules, 'onnxruntime', runtime)
    monkeypatch.setattr(PlayedSession, 'built', 0)
    return runtime


def images(size_hw):
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8), rng.random(size_hw, np.float32)


def test_engine_is_built_for_one_size_and_read_again(played, shipped, tmp_path):
    OrtEngine(shipped.graph, tmp_path, SIZE)
    assert PlayedSession.built == 1
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(files) == {'TRTKernel_0_sm87.engine', 'TRTKernel_0_sm87.profile'}
    engine = from_files(shipped.graph, files, SIZE)
    assert PlayedSession.built == 1
    assert engine.run(*images(SIZE)).fused.shape == (*SIZE, 3)


def test_provider_that_onnx_runtime_drops_in_silence_is_an_error(
    played, shipped, tmp_path, monkeypatch
):
    monkeypatch.setattr(PlayedSession, 'loads', False)
    with pytest.raises(ModelError, match='cannot load its TensorRT provider'):
        OrtEngine(shipped.graph, tmp_path, SIZE)


def test_what_onnx_runtime_raises_is_a_model_error(played, tmp_path):
    with pytest.raises(ModelError, match='cannot build the engine'):
        OrtEngine(b'no graph', tmp_path, SIZE)


def test_backend_trt_takes_onnx_runtime_where_torch_tensorrt_is_not(
    played, shipped, tmp_path, monkeypatch
):
    from tdfusion_ros.backends import engine_builder as builder

    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setattr(gpu, 'require_driver', lambda: None)
    monkeypatch.setattr(gpu, 'tensorrt_version', lambda: '10.3.0')
    monkeypatch.setattr(gpu, 'facts', lambda: {'gpu': 'Orin', 'capability': [8, 7], 'driver': '1'})
    monkeypatch.setattr(trt.importlib.util, 'find_spec', lambda name: name == 'onnxruntime')
    monkeypatch.setattr(child, 'ask', lambda question, *rest: builder.answer(question))
    for start in (1, 2):
        backend = open_backend('trt', shipped, print, (SIZE,))
        assert PlayedSession.built == 1, start
    assert 'TensorRT 10.3.0 through onnxruntime 1.22.0, float32, TF32 allowed' in backend.engine
    assert backend.run(*images(SIZE)).fused.shape == (*SIZE, 3)
