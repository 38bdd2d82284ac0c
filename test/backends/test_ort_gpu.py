"""TensorRT through ONNX Runtime, with a fake provider that builds as the real one does."""

from dataclasses import replace
from pathlib import Path
import sys
from types import ModuleType

import onnxruntime
import pytest

from tdfusion_ros.backends import engine_builder
from tdfusion_ros.backends import engine_process
from tdfusion_ros.backends import gpu
from tdfusion_ros.backends import open_backend
from tdfusion_ros.backends import trt
from tdfusion_ros.backends.ort_gpu import from_files
from tdfusion_ros.backends.ort_gpu import OrtEngine
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import ModelError

SIZE = (32, 64)
PROVIDER, CUDA = 'TensorrtExecutionProvider', 'CUDAExecutionProvider'


class FakeSession(onnxruntime.InferenceSession):
    """Runs on the CPU; writes and counts an engine in its first run if there is none."""

    built = 0
    loads = True

    def __init__(self, graph, options, providers):
        super().__init__(graph, options, providers=['CPUExecutionProvider'])
        self.asked = providers[0][0]
        self.options = dict(providers[0][1]) if providers[0][0] == PROVIDER else None

    def get_providers(self):
        return [self.asked] if FakeSession.loads else ['CPUExecutionProvider']

    def run(self, names, feeds):
        if self.options:
            height, width = feeds['ir'].shape
            for bound in ('min', 'opt', 'max'):
                shapes = self.options[f'trt_profile_{bound}_shapes']
                size = f'{height}x{width}'
                assert shapes == f'rgb:{size}x3,ir:{size},coverage:{size}'
            engine = Path(self.options['trt_engine_cache_path']) / 'TRTKernel_0_sm87.engine'
            if engine.parent.is_dir() and not engine.exists():
                FakeSession.built += 1
                engine.write_bytes(b'engine')
                engine.with_suffix('.profile').write_bytes(b'profile')
        return super().run(names, feeds)


@pytest.fixture(autouse=True)
def session(monkeypatch):
    runtime = ModuleType('onnxruntime')
    runtime.__version__ = '1.22.0'
    runtime.SessionOptions = onnxruntime.SessionOptions
    runtime.InferenceSession = FakeSession
    runtime.get_available_providers = lambda: [PROVIDER, CUDA, 'CPUExecutionProvider']
    monkeypatch.setitem(sys.modules, 'onnxruntime', runtime)
    monkeypatch.setattr(FakeSession, 'built', 0)
    return FakeSession


def test_engine_is_built_for_one_size_and_loaded_again(session, shipped, noise, tmp_path):
    OrtEngine(shipped.graph, tmp_path, SIZE, shipped.contract.inputs)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(files) == {'TRTKernel_0_sm87.engine', 'TRTKernel_0_sm87.profile'}
    engine = from_files(shipped.graph, files, SIZE, shipped.contract.inputs)
    assert engine.run(*noise(SIZE)).fused.shape == (*SIZE, 3)
    assert session.built == 1


def test_errors_and_a_provider_that_onnx_runtime_silently_omits_are_model_errors(
    tmp_path, session, shipped, monkeypatch
):
    with pytest.raises(ModelError, match='cannot build the engine'):
        OrtEngine(b'no graph', tmp_path, SIZE, ('rgb', 'ir', 'coverage'))
    monkeypatch.setattr(session, 'loads', False)
    with pytest.raises(ModelError, match='cannot load its TensorRT provider'):
        OrtEngine(shipped.graph, tmp_path, SIZE, shipped.contract.inputs)


def test_backend_trt_uses_onnx_runtime_where_torch_tensorrt_is_not_installed(
    session, shipped, noise, tmp_path, monkeypatch, driver
):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setattr(gpu, 'tensorrt_version', lambda: '10.3.0')
    monkeypatch.setattr(trt.importlib.util, 'find_spec', {'onnxruntime': 'found'}.get)
    monkeypatch.setattr(
        engine_process, 'run_builder', lambda request, *rest: engine_builder.perform(request)
    )
    for _ in range(2):
        backend = open_backend('trt', shipped, print, (SIZE,))
    assert session.built == 1
    assert backend.engine == (
        'TensorRT 10.3.0 through onnxruntime 1.22.0, on Orin, half precision with float32 islands'
    )
    assert backend.run(*noise(SIZE)).fused.shape == (*SIZE, 3)


def test_bundle_whose_detector_is_onnx_only_runs_without_torch(
    session, shipped, noise, monkeypatch, driver, messages
):
    bundle = replace(shipped, architecture={})
    backend = open_backend('cuda', bundle, messages.append, (SIZE,))
    assert backend.engine == 'ONNX Runtime 1.22.0 with CUDA'
    assert backend.run(*noise(SIZE)).fused.shape == (*SIZE, 3)
    monkeypatch.setattr(trt.importlib.util, 'find_spec', {'torch_tensorrt': 'found'}.get)
    with pytest.raises(ConfigError, match=r'through torch_tensorrt: .* is ONNX only'):
        open_backend('trt', bundle, print, (SIZE,))
    monkeypatch.setattr(sys.modules['onnxruntime'], 'get_available_providers', list)
    reason = 'cuda needs onnxruntime-gpu; onnxruntime 1.22.0 is built without CUDA'
    with pytest.raises(ConfigError, match=reason):
        open_backend('cuda', bundle, print, (SIZE,))
