"""ONNX Runtime on the CPU: one wheel, x86 and Arm, starts in a second, runs everywhere."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tdfusion_ros.core.contract import INPUTS
from tdfusion_ros.core.contract import OUTPUTS
from tdfusion_ros.core.data import RawOutput
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import ModelError

DETECTED = list(OUTPUTS)[1:]


class CpuBackend:
    """
    Run the graph with ONNX Runtime, on all cores.

    :param detector_graph: the same without the fused image, for when nobody wants that.
    """

    name = 'cpu'

    def __init__(self, graph: bytes, detector_graph: bytes | None = None) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise ConfigError('backend cpu needs ONNX Runtime: pip install onnxruntime') from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only; a warning a frame would bury the log
        for key, value in _waiting(onnxruntime.__version__).items():
            options.add_session_config_entry(f'session.intra_op.{key}', value)
        self.engine = f'ONNX Runtime {onnxruntime.__version__}'

        def session(graph: bytes, outputs: Sequence[str]) -> Any:
            try:
                made = onnxruntime.InferenceSession(
                    graph, options, providers=['CPUExecutionProvider']
                )
            except Exception as error:  # ONNX Runtime has no common base for what it raises here
                raise ModelError(f'ONNX Runtime refuses the model: {error}') from error
            _check_names(made.get_inputs(), list(INPUTS))
            _check_names(made.get_outputs(), outputs)
            return made

        self._session = session(graph, list(OUTPUTS))
        self._detector = session(detector_graph, DETECTED) if detector_graph else None

    def run(self, rgb: np.ndarray, ir: np.ndarray, *, fused: bool = True) -> RawOutput:
        """
        Run the graph on (H, W, 3) uint8 and (H, W) float32 in [0, 1].

        :param fused: False: leave the fused image out, if there is a graph without.
        :raises ModelError: if the engine breaks off, as at a size that the graph does not take.
        """
        images = {'rgb': rgb, 'ir': ir}
        try:
            if not fused and self._detector is not None:
                return RawOutput(None, *self._detector.run(DETECTED, images))
            return RawOutput(*self._session.run(list(OUTPUTS), images))
        except Exception as error:  # as above
            raise ModelError(f'ONNX Runtime cannot run the model: {error}') from error


def _waiting(version: str) -> dict[str, str]:
    """
    Return how long threads that have nothing to do wait in a busy loop before they sleep.

    A loop answers sooner, but a long one takes the cores from the camera drivers: with two cores
    half taken a pair took 141 ms with the default and 77 ms with none. One of 20 us takes nothing
    from them, and 7 to 13 % off a pair where the cores are free (ratios in turns, two cores).
    """
    if tuple(map(int, version.split('.')[:2])) < (1, 26):  # knows no duration
        return {'allow_spinning': '0'}
    return {'spin_duration_us': '20'}


def _check_names(tensors: Sequence[Any], wanted: Sequence[str]) -> None:
    names = [tensor.name for tensor in tensors]
    if names != list(wanted):
        raise ModelError(
            f'the graph has {names}, the contract says {list(wanted)}; export the model again'
        )
