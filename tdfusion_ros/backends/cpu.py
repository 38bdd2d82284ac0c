"""ONNX Runtime on the CPU: one wheel, x86 and Arm, starts in a second, runs everywhere."""

from typing import Any

import numpy as np

from tdfusion_ros.core.contract import INPUTS
from tdfusion_ros.core.contract import OUTPUTS
from tdfusion_ros.core.data import RawOutput
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import ModelError


class CpuBackend:
    """Run the graph with ONNX Runtime, on all cores."""

    name = 'cpu'

    def __init__(self, graph: bytes) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise ConfigError('backend cpu needs ONNX Runtime: pip install onnxruntime') from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only; a warning a frame would bury the log
        # Threads that wait in a busy loop take the cores from the camera drivers: with two cores
        # half taken a pair took 141 ms with spinning and 77 ms without; idle, 50 and 53 ms.
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        try:
            self._session: Any = onnxruntime.InferenceSession(
                graph, options, providers=['CPUExecutionProvider']
            )
        except Exception as error:  # ONNX Runtime has no common base for what it raises here
            raise ModelError(f'ONNX Runtime refuses the model: {error}') from error
        self.engine = f'ONNX Runtime {onnxruntime.__version__}'
        for given, wanted in (
            (self._session.get_inputs(), INPUTS),
            (self._session.get_outputs(), OUTPUTS),
        ):
            if [tensor.name for tensor in given] != list(wanted):
                raise ModelError(
                    f'the graph has {[t.name for t in given]}, the contract says '
                    f'{list(wanted)}; export the model again'
                )

    def run(self, rgb: np.ndarray, ir: np.ndarray) -> RawOutput:
        """
        Run the graph on (H, W, 3) uint8 and (H, W) float32 in [0, 1].

        :raises ModelError: if the engine breaks off, as at a size that the graph does not take.
        """
        try:
            return RawOutput(*self._session.run(list(OUTPUTS), {'rgb': rgb, 'ir': ir}))
        except Exception as error:  # as above
            raise ModelError(f'ONNX Runtime cannot run the model: {error}') from error
