"""ONNX Runtime's TensorRT provider: for machines without a matching torch_tensorrt."""

from collections.abc import Sequence
from pathlib import Path
import tempfile
from typing import Any

import numpy as np

from tdfusion_ros.core.contract import INPUTS
from tdfusion_ros.core.contract import OUTPUTS
from tdfusion_ros.core.data import RawOutput
from tdfusion_ros.core.errors import ModelError

PROVIDER = 'TensorrtExecutionProvider'


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

    name = 'trt'

    def __init__(self, session: Any) -> None:
        self._session = session
        self._inputs = [tensor.name for tensor in session.get_inputs()]

    def run(
        self, rgb: np.ndarray, ir: np.ndarray, coverage: np.ndarray, *, fused: bool = True
    ) -> RawOutput:
        """Run on (H, W, 3) uint8 and twice (H, W) float32 in [0, 1]; or a ModelError."""
        images = dict(zip(self._inputs, (rgb, ir, coverage), strict=False))
        try:
            return RawOutput(*self._session.run(list(OUTPUTS), images))
        except Exception as error:  # ONNX Runtime's errors have no common base
            raise ModelError(f'ONNX Runtime cannot run the engine: {error}') from error


class OrtEngine(SessionEngine):
    """
    The graph of a bundle for one image size, through ONNX Runtime.

    :param folder: contains the engine, or receives it at the first run.
    :raises ModelError: if the provider is not used, or the engine cannot be built.
    """

    def __init__(
        self, graph: bytes, folder: Path, size_hw: tuple[int, int], inputs: Sequence[str]
    ) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(
                graph, options, providers=[(PROVIDER, provider_options(folder, size_hw, inputs))]
            )
        except Exception as error:  # as above
            raise ModelError(f'ONNX Runtime cannot build the engine: {error}') from error
        if session.get_providers()[0] != PROVIDER:  # it silently continues without
            raise ModelError(
                'ONNX Runtime cannot load its TensorRT provider: install the TensorRT that '
                f'ONNX Runtime {onnxruntime.__version__} was built for'
            )
        super().__init__(session)
        ir = np.zeros(size_hw, np.float32)
        self.run(np.zeros((*size_hw, 3), np.uint8), ir, np.ones_like(ir))


def from_files(
    graph: bytes, files: dict[str, bytes], size_hw: tuple[int, int], inputs: Sequence[str]
) -> OrtEngine:
    """Return an engine that :class:`OrtEngine` has built before."""
    with tempfile.TemporaryDirectory(prefix='tdfusion_ros_') as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        return OrtEngine(graph, Path(folder), size_hw, inputs)
