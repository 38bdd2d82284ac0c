"""ONNX Runtime's TensorRT provider: for machines that have no torch_tensorrt that fits."""

from pathlib import Path
import tempfile
from typing import Any

import numpy as np

from tdfusion_ros.core.contract import OUTPUTS
from tdfusion_ros.core.data import RawOutput
from tdfusion_ros.core.errors import ModelError

PROVIDER = 'TensorrtExecutionProvider'


def provider_options(folder: Path, size_hw: tuple[int, int]) -> dict[str, Any]:
    """
    Return the options for one size, whose engine is read from ``folder`` or written to it.

    Float32 (TensorRT takes TF32 where the GPU has it). ``trt_fp16_enable`` types weakly, so that
    islands of float32 need not be kept, and does nothing with TensorRT 11, silently (deploy.md
    1.2, 1.5).

    Source: https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html
    """
    height, width = size_hw
    shapes = f'rgb:{height}x{width}x3,ir:{height}x{width}'
    return {
        'trt_fp16_enable': False,
        'trt_engine_cache_enable': True,
        'trt_engine_cache_path': str(folder),
        'trt_timing_cache_enable': False,
        'trt_profile_min_shapes': shapes,
        'trt_profile_opt_shapes': shapes,
        'trt_profile_max_shapes': shapes,
    }


class OrtEngine:
    """
    The graph of a bundle for one size, through ONNX Runtime.

    :param folder: has the engine, or gets it; ONNX Runtime builds at the first run.
    :raises ModelError: if the provider is not used, whatever ONNX Runtime says of its reasons.
    """

    name = 'trt'

    def __init__(self, graph: bytes, folder: Path, size_hw: tuple[int, int]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(
                graph, options, providers=[(PROVIDER, provider_options(folder, size_hw))]
            )
            if self._session.get_providers()[0] != PROVIDER:  # it goes on without, quietly
                raise ModelError(
                    'ONNX Runtime cannot load its TensorRT provider: install the TensorRT that '
                    f'ONNX Runtime {onnxruntime.__version__} was built for'
                )
            self.run(np.zeros((*size_hw, 3), np.uint8), np.zeros(size_hw, np.float32))
        except ModelError:
            raise
        except Exception as error:  # ONNX Runtime has no common base for what it raises here
            raise ModelError(f'ONNX Runtime cannot build the engine: {error}') from error

    def run(self, rgb: np.ndarray, ir: np.ndarray, *, fused: bool = True) -> RawOutput:
        """Run on (H, W, 3) uint8 and (H, W) float32 in [0, 1]."""
        try:
            return RawOutput(*self._session.run(list(OUTPUTS), {'rgb': rgb, 'ir': ir}))
        except Exception as error:  # as above
            raise ModelError(f'ONNX Runtime cannot run the engine: {error}') from error


def from_files(graph: bytes, files: dict[str, bytes], size_hw: tuple[int, int]) -> OrtEngine:
    """Return the engine whose files were built by :class:`OrtEngine` before."""
    with tempfile.TemporaryDirectory(prefix='tdfusion_ros_') as place:
        for name, content in files.items():
            (Path(place) / name).write_bytes(content)
        return OrtEngine(graph, Path(place), size_hw)
