"""TensorRT, through Torch-TensorRT or ONNX Runtime: engines built here, kept, and checked."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from tdfusion_ros.backends import engine_process
from tdfusion_ros.backends import gate
from tdfusion_ros.backends import gpu
from tdfusion_ros.backends.bundle import Bundle
from tdfusion_ros.backends.cpu import CpuBackend
from tdfusion_ros.backends.engine_cache import Cache
from tdfusion_ros.backends.engine_cache import cache_folder
from tdfusion_ros.core.data import RawOutput
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import ModelError
from tdfusion_ros.core.pipeline import Backend

PROBE_LIMIT_S = 180.0
BUILD_LIMIT_S = 3600.0
Size = tuple[int, int]


class TrtBackend:
    """
    Run a bundle with TensorRT, one engine per image size.

    Engines are built on the machine that runs them, because an engine is tied to GPU, driver and
    versions. At startup there is one for each of ``sizes_hw``; if that is empty, for the size used
    last on this machine, or for 640x480. The first pair of any other size waits for its engine.

    :param report: takes messages about progress and about the cache.
    :raises ConfigError: if TensorRT is not installed or does not work.
    :raises ModelError: if no engine can be built, or the engine differs from the float32 graph.
    """

    name = 'trt'

    def __init__(
        self, bundle: Bundle, report: Callable[[str], None], sizes_hw: tuple[Size, ...] = ()
    ) -> None:
        self._tensorrt = find_tensorrt(report)
        self.engine = str(self._tensorrt)
        self._bundle = bundle
        self._report = report
        self._cache = Cache(cache_folder(), report)
        self._engines: dict[Size, Backend | str] = {}  # or why there can be none
        if not sizes_hw:
            last = self._cache.latest(self._key((0, 0)), 'size_hw')
            sizes_hw = (tuple(last) if last else gate.padded(gate.WARM_UP_HW, bundle.contract),)
        for size_hw in sizes_hw:
            self._engines[size_hw] = self._checked_engine(size_hw)

    def run(
        self, rgb: np.ndarray, ir: np.ndarray, coverage: np.ndarray, *, fused: bool = True
    ) -> RawOutput:
        """
        Run on (H, W, 3) uint8 and twice (H, W) float32 in [0, 1]; build an engine for a new size.

        :param fused: ignored: an engine without the fused image would have to be built.
        :raises ModelError: if the engine fails, or cannot be built for this size.
        """
        size_hw = ir.shape[0], ir.shape[1]
        if size_hw not in self._engines:
            try:
                self._engines[size_hw] = self._checked_engine(size_hw)
            except ModelError as error:  # do not try again with every pair, for minutes
                self._engines[size_hw] = str(error)
        engine = self._engines[size_hw]
        if isinstance(engine, str):
            raise ModelError(engine)
        return engine.run(rgb, ir, coverage)

    def _checked_engine(self, size_hw: Size) -> Backend:
        """Return an engine that agrees with the float32 graph."""
        what = f'{size_hw[1]}x{size_hw[0]}'
        files = self._cache.get(
            self._key(size_hw), lambda folder: self._build(size_hw, what, folder)
        )
        engine = self._load(files, size_hw)
        gate.check_run(engine, self._bundle.contract, size_hw)
        reference = CpuBackend(self._bundle.graph)
        found = gate.check_agreement(engine, reference, self._bundle.contract, size_hw)
        self._report(f'the engine for {what} differs from the float32 graph by at most {found}')
        return engine

    def _key(self, size_hw: Size) -> dict[str, Any]:
        """Return everything that an engine depends on."""
        return {
            'route': self._tensorrt.route,
            'size_hw': list(size_hw),
            'files': dict(self._bundle.contract.sha256),
            'code': _code_hash(),
            **self._tensorrt.properties,
        }

    def _build(self, size_hw: Size, what: str, folder: Path) -> None:
        task = f'building the TensorRT engine for {what}'
        self._report(f'{task}: this takes minutes, once on this machine')
        request = {
            'task': 'build',
            'route': self._tensorrt.route,
            'bundle': str(self._bundle.folder.resolve()),
            'files': dict(self._bundle.contract.sha256),
            'size_hw': size_hw,
            'folder': str(folder),
        }
        engine_process.run_builder(request, task, self._report, BUILD_LIMIT_S)

    def _load(self, files: dict[str, bytes], size_hw: Size) -> Backend:
        try:
            if self._tensorrt.route == 'onnxruntime':
                from tdfusion_ros.backends import ort_tensorrt

                inputs = self._bundle.contract.inputs
                return ort_tensorrt.from_files(self._bundle.graph, files, size_hw, inputs)
            from tdfusion_ros.backends import trt_plan
            from tdfusion_ros.backends.engine_builder import PLAN_FILE

            return trt_plan.PlanEngine(files[PLAN_FILE], size_hw)
        except ModelError:
            raise
        except Exception as error:  # TensorRT, torch and a broken installation have no common base
            raise ModelError(f'the TensorRT engine cannot be loaded: {error}') from error


@dataclass(frozen=True)
class TensorRT:
    """
    The TensorRT of this machine.

    :param route: the package that provides it, torch_tensorrt or onnxruntime.
    :param properties: what its engines depend on besides the model.
    """

    route: str
    properties: dict[str, Any]

    def __str__(self) -> str:
        return (
            f'TensorRT {self.properties["tensorrt"]} '
            f'through {self.route} {self.properties[self.route]}, '
            f'{self.properties["precision"]}, on {self.properties["gpu"]}'
        )


def find_tensorrt(report: Callable[[str], None]) -> TensorRT:
    """
    Return the TensorRT of this machine, after a probe in another process.

    :raises ConfigError: if it is not installed or does not work.
    """
    gpu.require_driver()
    for route in ('torch_tensorrt', 'onnxruntime'):
        if importlib.util.find_spec(route):
            request = {'task': 'probe', 'route': route}
            what = 'looking for TensorRT'
            properties = engine_process.run_builder(request, what, report, PROBE_LIMIT_S)
            return TensorRT(route, properties)
    raise ConfigError('install torch_tensorrt and safetensors, or onnxruntime-gpu, for it')


def _code_hash() -> str:
    """Return a hash of the code that makes a network and its engine."""
    package = Path(__file__).resolve().parents[1]
    names = ('engine_builder', 'torch_network', 'ort_tensorrt')
    files = [*sorted((package / 'nets').glob('*.py'))]
    files += [package / 'backends' / f'{name}.py' for name in names]
    return sha256(b''.join(path.read_bytes() for path in files)).hexdigest()
