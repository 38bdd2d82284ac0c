"""ONNX Runtime on the CPU: one wheel, x86 and Arm, starts in a second."""

from collections.abc import Sequence
import os
from threading import Lock
from typing import Any

import numpy as np

from tdfusion_ros.core.contract import INPUTS
from tdfusion_ros.core.contract import OLDER_INPUTS
from tdfusion_ros.core.contract import OUTPUTS
from tdfusion_ros.core.contract import SEGMENTATION
from tdfusion_ros.core.data import RawOutput
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import ModelError

DETECTIONS = list(OUTPUTS)[1:]


class CpuBackend:
    """
    Run the graph with ONNX Runtime.

    :param smaller: graphs without the fused image or the masks, for runs that do not need them:
        ONNX Runtime computes all outputs, also those that are not asked for.
    :param threads: how many compute, the caller's included; 0: one per core.
    """

    name = 'cpu'

    def __init__(self, graph: bytes, *smaller: bytes | None, threads: int = 0) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise ConfigError('backend cpu needs ONNX Runtime: pip install onnxruntime') from None
        self._threads = threads or os.cpu_count() or 1
        self._graphs = graph, *filter(None, smaller)
        self.engine = f'ONNX Runtime {onnxruntime.__version__}'
        self._sessions = _open(self._graphs, threads)
        self._inputs = [tensor.name for tensor in self._sessions[-1][0].get_inputs()]
        self._second = self._sessions
        self.first = Lock()  # held by a run with all threads

    def overlap(self) -> int:
        """
        Be ready for two runs at once, the second with half of the threads; return how many.

        On two cores, two runs with one thread each take 0.5 to 0.85 of the time of two runs with
        two threads, one after the other: most operators are too small to be shared.
        """
        if self._threads < 2:
            return 1
        self._second = _open(self._graphs, self._threads // 2)
        return 2

    def run(
        self,
        rgb: np.ndarray,
        ir: np.ndarray,
        coverage: np.ndarray,
        *,
        fused: bool = True,
        segmentation: bool = True,
    ) -> RawOutput:
        """
        Run on (H, W, 3) uint8 and twice (H, W) float32 in [0, 1].

        :param coverage: an older graph without this input does not get it.
        :raises ModelError: if the run fails, as at a size that the graph does not accept.
        """
        images = dict(zip(self._inputs, (rgb, ir, coverage), strict=False))
        not_wanted = {'fused': not fused, 'segmentation': not segmentation}
        needed = [name for name in self._sessions[-1][1] if not not_wanted.get(name)]
        is_first = self.first.acquire(blocking=False)
        sessions = self._sessions if is_first else self._second
        session, names = next(pair for pair in sessions if {*needed} <= {*pair[1]})
        try:
            values = session.run(names, images)
        except Exception as error:  # ONNX Runtime's errors have no common base
            raise ModelError(f'ONNX Runtime cannot run the model: {error}') from error
        finally:
            if is_first:
                self.first.release()
        return RawOutput(**{'fused': None, **dict(zip(names, values, strict=True))})


def _open(graphs: Sequence[bytes], threads: int) -> list[tuple[Any, list[str]]]:
    """Return sessions with the names of their outputs, those with the fewest outputs first."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors only; there would be a warning per frame
    for key, value in _spinning(onnxruntime.__version__).items():
        options.add_session_config_entry(f'session.intra_op.{key}', value)

    def session(graph: bytes, *outputs: list[str]) -> tuple[Any, list[str]]:
        try:
            opened = onnxruntime.InferenceSession(
                graph, options, providers=['CPUExecutionProvider']
            )
        except Exception as error:  # ONNX Runtime's errors have no common base
            raise ModelError(f'ONNX Runtime refuses the model: {error}') from error
        _check_names(opened.get_inputs(), list(INPUTS), list(OLDER_INPUTS))
        return opened, _check_names(opened.get_outputs(), *outputs)

    whole = session(graphs[0], list(OUTPUTS), [*OUTPUTS, *SEGMENTATION])
    others = [session(each, DETECTIONS, list(OUTPUTS)) for each in graphs[1:]]
    return sorted((*others, whole), key=lambda pair: len(pair[1]))


def _spinning(version: str) -> dict[str, str]:
    """
    Return how long idle threads of ONNX Runtime spin before they sleep.

    Long spinning takes the cores from the camera drivers: with two cores half busy a pair took
    141 ms with the default and 77 ms without. 20 us take nothing from them, and save 7 to 13 % of
    a pair where the cores are free (two cores, ratios of alternating runs).
    """
    if tuple(map(int, version.split('.')[:2])) < (1, 26):  # has no setting for the duration
        return {'allow_spinning': '0'}
    return {'spin_duration_us': '20'}


def _check_names(tensors: Sequence[Any], *accepted: list[str]) -> list[str]:
    names = [tensor.name for tensor in tensors]
    if names not in accepted:
        raise ModelError(
            f'the graph has {names}, the contract says {accepted[0]}; export the model again'
        )
    return names
