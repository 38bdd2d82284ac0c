"""ONNX Runtime's providers for NVIDIA GPUs: where torch cannot run a bundle, or is missing."""

from collections.abc import Sequence
from pathlib import Path
import tempfile
from typing import Any

import numpy as np

from tdfusion_ros.core.contract import INPUTS
from tdfusion_ros.core.data import RawOutput
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import ModelError

PROVIDER = 'TensorrtExecutionProvider'
CUDA_PROVIDER = 'CUDAExecutionProvider'
CUDA_NEEDS = 'the detector of this bundle is ONNX only: cuda needs onnxruntime-gpu'


def provider_options(
    folder: Path, size_hw: tuple[int, int], inputs: Sequence[str]
) -> dict[str, Any]:
    """
    Return the options for one image size, with an engine that is read from or written to a folder.

    The graph states the precision of each layer, and the provider builds strongly typed:
    ``trt_fp16_enable`` would type weakly, so that float32 islands need not be kept.

    Source: https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html
    """
    height, width = size_hw
    shapes = ','.join(
        f'{name}:' + 'x'.join(map(str, (height, width, *INPUTS[name][0][2:]))) for name in inputs
    )
    return {
        'trt_fp16_enable': False,
        'trt_engine_cache_enable': True,
        'trt_engine_cache_path': str(folder),
        'trt_timing_cache_enable': False,
        **{f'trt_profile_{bound}_shapes': shapes for bound in ('min', 'opt', 'max')},
    }


class SessionEngine:
    """An engine for one image size, in a session of ONNX Runtime."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._inputs = [tensor.name for tensor in session.get_inputs()]
        self._outputs = [tensor.name for tensor in session.get_outputs()]

    def run(self, rgb: np.ndarray, ir: np.ndarray, coverage: np.ndarray, **_: bool) -> RawOutput:
        """Run on (H, W, 3) uint8 and twice (H, W) float32 in [0, 1], or raise ModelError."""
        images = dict(zip(self._inputs, (rgb, ir, coverage), strict=False))
        try:
            return RawOutput(*self._session.run(self._outputs, images))
        except Exception as error:  # ONNX Runtime's errors have no common base
            raise ModelError(f'ONNX Runtime cannot run the engine: {error}') from error


class CudaEngine(SessionEngine):
    """
    The graph of a bundle on an NVIDIA GPU without TensorRT, at any size.

    :raises ConfigError: if ONNX Runtime is built without CUDA.
    :raises ModelError: if the provider is not used.
    """

    name = 'cuda'

    def __init__(self, graph: bytes) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ConfigError(f'{CUDA_NEEDS} ({error})') from None
        if CUDA_PROVIDER not in onnxruntime.get_available_providers():
            found = f'onnxruntime {onnxruntime.__version__} is built without CUDA'
            raise ConfigError(f'{CUDA_NEEDS}; {found}')
        super().__init__(gpu_session(graph, CUDA_PROVIDER, {}))
        self.engine = f'ONNX Runtime {onnxruntime.__version__} with CUDA'


class OrtEngine(SessionEngine):
    """
    The graph of a bundle for one image size, through ONNX Runtime.

    :param folder: contains the engine, or receives it at the first run.
    :raises ModelError: if the provider is not used, or the engine cannot be built.
    """

    def __init__(
        self, graph: bytes, folder: Path, size_hw: tuple[int, int], inputs: Sequence[str]
    ) -> None:
        super().__init__(gpu_session(graph, PROVIDER, provider_options(folder, size_hw, inputs)))
        ir = np.zeros(size_hw, np.float32)
        self.run(np.zeros((*size_hw, 3), np.uint8), ir, np.ones_like(ir))


def gpu_session(graph: bytes, provider: str, settings: dict[str, Any]) -> Any:
    """
    Return a session of ONNX Runtime that uses a provider.

    :raises ModelError: if the provider is not used, or refuses the graph.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=[(provider, settings)])
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise ModelError(f'ONNX Runtime cannot build the engine: {error}') from error
    if session.get_providers()[0] != provider:  # it silently continues without
        library = 'CUDA' if provider == CUDA_PROVIDER else 'TensorRT'
        raise ModelError(
            f'ONNX Runtime cannot load its {library} provider: install the {library} that '
            f'ONNX Runtime {onnxruntime.__version__} was built for'
        )
    return session


def from_files(
    graph: bytes, files: dict[str, bytes], size_hw: tuple[int, int], inputs: Sequence[str]
) -> OrtEngine:
    """Return an engine that :class:`OrtEngine` has built before."""
    with tempfile.TemporaryDirectory(prefix='tdfusion_ros_') as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        return OrtEngine(graph, Path(folder), size_hw, inputs)
