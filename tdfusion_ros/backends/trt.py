"""TensorRT, through one of three packages: engines are built here, cached, and checked."""

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
from tdfusion_ros.backends import ort_rtx
from tdfusion_ros.backends.bundle import Bundle
from tdfusion_ros.backends.cpu import CpuBackend
from tdfusion_ros.backends.engine_cache import Cache
from tdfusion_ros.backends.engine_cache import cache_folder
from tdfusion_ros.core.data import RawOutput
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.errors import ModelError
from tdfusion_ros.core.pipeline import Engine

PROBE_LIMIT_S = 180.0
BUILD_LIMIT_S = 3600.0
ROUTES = {
    'torch_tensorrt': 'torch_tensorrt',
    'onnxruntime': 'onnxruntime',
    'tensorrt_rtx': ort_rtx.PACKAGE,
}
"""The ways to TensorRT, best first, and the package that each needs."""
HALF = 'half precision with float32 islands'
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
        tensorrt = find_tensorrt(report, with_torch=bool(bundle.architecture))
        self._route = tensorrt.route
        half = self._route == 'torch_tensorrt' or bundle.half_graph
        self.engine = f'{tensorrt}, {HALF if half else "float32"}'
        self._bundle = bundle
        self._report = report
        self._source = EngineSource(tensorrt, bundle, report)
        self._engines: dict[Size, Engine | str] = {}  # or why there can be none
        if not sizes_hw:
            last = self._source.last_size()
            sizes_hw = (last or gate.padded(gate.WARM_UP_HW, bundle.contract),)
        for size_hw in sizes_hw:
            self._engines[size_hw] = self._checked_engine(size_hw)

    def run(self, rgb: np.ndarray, ir: np.ndarray, coverage: np.ndarray, **_: bool) -> RawOutput:
        """
        Run on (H, W, 3) uint8 and twice (H, W) float32 in [0, 1]; build for a new size.

        What is not wanted is computed too: an engine without it would have to be built.

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

    def _checked_engine(self, size_hw: Size) -> Engine:
        """Return an engine that agrees with the float32 graph."""
        engine = self._load(self._source.get(size_hw), size_hw)
        gate.check_run(engine, self._bundle.contract, size_hw)
        reference = CpuBackend(self._bundle.graph)
        found = gate.check_agreement(engine, reference, self._bundle.contract, size_hw)
        self._report(
            f'the engine for {size_hw[1]}x{size_hw[0]} differs from the float32 graph by at most '
            f'{found}'
        )
        return engine

    def _load(self, files: dict[str, bytes], size_hw: Size) -> Engine:
        try:
            if self._route == 'tensorrt_rtx':
                return ort_rtx.RtxEngine(files[ort_rtx.ENGINE_FILE])
            if self._route == 'onnxruntime':
                from tdfusion_ros.backends import ort_gpu

                inputs = self._bundle.contract.inputs
                return ort_gpu.from_files(self._bundle.engine_graph, files, size_hw, inputs)
            from tdfusion_ros.backends import trt_plan
            from tdfusion_ros.backends.engine_builder import PLAN_FILE

            outputs = len(self._bundle.contract.outputs)
            return trt_plan.PlanEngine(files[PLAN_FILE], size_hw, outputs=outputs)
        except FusionError:
            raise
        except Exception as error:  # TensorRT, torch and a broken installation have no common base
            raise ModelError(f'the TensorRT engine cannot be loaded: {error}') from error


@dataclass(frozen=True)
class TensorRT:
    """A TensorRT, of this machine or for another one; ``key``: what its engines depend on."""

    route: str
    key: dict[str, Any]
    description: str

    def __str__(self) -> str:
        return self.description


def find_tensorrt(report: Callable[[str], None], *, with_torch: bool = True) -> TensorRT:
    """
    Return the TensorRT of this machine, after a probe in another process.

    :param report: also takes why a better way that is installed is not used.
    :param with_torch: whether the bundle has its networks in torch; else it is ONNX only.
    :raises ConfigError: if none is installed or works; says why of each that is installed.
    """
    gpu.require_driver()
    reasons = []
    for route, package in ROUTES.items():
        if importlib.util.find_spec(package) is None:
            continue
        if route == 'torch_tensorrt' and not with_torch:
            reasons.append(f'through {route}: the detector of this bundle is ONNX only')
            continue
        request = {'task': 'probe', 'route': route}
        try:
            found = engine_process.run_builder(
                request, 'looking for TensorRT', report, PROBE_LIMIT_S
            )
        except FusionError as error:
            reasons.append(f'through {route}: {error}')
            continue
        for reason in reasons:
            report(f'TensorRT cannot be used {reason}')
        return TensorRT(route, found['key'], found['description'])
    install = (
        'install torch_tensorrt and safetensors, or onnxruntime-gpu, or for a PC with an RTX card '
        'the extra rtx (see docs/deployment.md)'
    )
    raise ConfigError('; '.join((*reasons, install)))


def compile_for(
    target: str, bundle: Bundle, sizes_hw: tuple[Size, ...], report: Callable[[str], None]
) -> list[Path]:
    """
    Compile engines for the GPU of another machine; needs no GPU and no driver.

    :returns: the entries of the cache, which that machine finds in its own cache.
    :raises FusionError: if a package is missing, or TensorRT refuses target or graph.
    """
    tensorrt = TensorRT('tensorrt_rtx', ort_rtx.engine_key(target), f'TensorRT for {target}')
    source = EngineSource(tensorrt, bundle, report)
    places = []
    for size_hw in sizes_hw:
        size_hw = gate.padded(size_hw, bundle.contract)
        source.get(size_hw)
        places.append(source.place(size_hw))
    return places


class EngineSource:
    """The engines of a bundle for one TensorRT: cached ones, else new ones."""

    def __init__(self, tensorrt: TensorRT, bundle: Bundle, report: Callable[[str], None]) -> None:
        self._tensorrt = tensorrt
        self._bundle = bundle
        self._report = report
        self._cache = Cache(cache_folder(), report)

    def get(self, size_hw: Size) -> dict[str, bytes]:
        """Return the files of the engine for an image size; build them if none are kept."""
        return self._cache.get(self._key(size_hw), lambda folder: self._build(size_hw, folder))

    def place(self, size_hw: Size) -> Path:
        """Return where the engine for an image size is kept."""
        return self._cache.place(self._key(size_hw))

    def last_size(self) -> Size | None:
        """Return the image size whose engine was used last, or None."""
        found = self._cache.latest(self._key((0, 0)), 'size_hw')
        return (found[0], found[1]) if found else None

    def _key(self, size_hw: Size) -> dict[str, Any]:
        """Return everything that an engine depends on."""
        return {
            'route': self._tensorrt.route,
            'size_hw': list(size_hw),
            'files': dict(self._bundle.contract.sha256),
            'code': _code_hash(),
            **self._tensorrt.key,
        }

    def _build(self, size_hw: Size, folder: Path) -> None:
        task = f'building the TensorRT engine for {size_hw[1]}x{size_hw[0]}'
        duration = 'seconds' if self._tensorrt.route == 'tensorrt_rtx' else 'minutes'
        self._report(f'{task}: this takes {duration}, once on this machine')
        request = {
            'task': 'build',
            'route': self._tensorrt.route,
            'target': self._tensorrt.key.get('target'),
            'bundle': str(self._bundle.folder.resolve()),
            'files': dict(self._bundle.contract.sha256),
            'size_hw': size_hw,
            'folder': str(folder),
        }
        engine_process.run_builder(request, task, self._report, BUILD_LIMIT_S)


def _code_hash() -> str:
    """Return a hash of the code that makes a network and its engine."""
    package = Path(__file__).resolve().parents[1]
    names = ('engine_builder', 'torch_network', 'ort_gpu', 'rtx_compiler')
    files = [*sorted((package / 'nets').glob('*.py'))]
    files += [package / 'backends' / f'{name}.py' for name in names]
    return sha256(b''.join(path.read_bytes() for path in files)).hexdigest()
