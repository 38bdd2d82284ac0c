"""TensorRT, through Torch-TensorRT or ONNX Runtime: engines built here, kept, and checked."""

from collections.abc import Callable
from hashlib import sha256
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from tdfusion_ros.backends import engine_process as child
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
    Run a bundle with TensorRT, one engine for each size of image.

    Engines are made on the machine that runs them: a TensorRT engine is tied to GPU, driver and
    versions. At the start there is one for ``sizes_hw``, or if that is empty for the size that was
    used last here, or else for 640x480; for any other size the first pair waits for it.

    :param report: takes sentences about what takes long, and about the cache.
    :raises ConfigError: if TensorRT is not there or does not work.
    :raises ModelError: if no engine can be built, or the engine computes something else.
    """

    name = 'trt'

    def __init__(
        self, bundle: Bundle, report: Callable[[str], None], sizes_hw: tuple[Size, ...] = ()
    ) -> None:
        self.engine, self._route, self._facts = find_tensorrt(report)
        self._bundle = bundle
        self._report = report
        self._cache = Cache(cache_folder(), report)
        self._engines: dict[tuple[int, ...], Backend] = {}
        self._refused: dict[tuple[int, ...], ModelError] = {}
        if not sizes_hw:
            last = self._cache.latest(self._key((0, 0)), 'size_hw')
            sizes_hw = (tuple(last) if last else gate.padded(gate.WARM_UP_HW, bundle.contract),)
        for size_hw in sizes_hw:
            self._engines[size_hw] = self._checked(size_hw)

    def run(self, rgb: np.ndarray, ir: np.ndarray, *, fused: bool = True) -> RawOutput:
        """
        Run on (H, W, 3) uint8 and (H, W) float32 in [0, 1]; a new size is built for first.

        :param fused: it is made in any case: another engine would have to be built.
        :raises ModelError: if the engine breaks off, or there can be none for this size.
        """
        size_hw = ir.shape[0], ir.shape[1]
        if size_hw in self._refused:  # not every pair shall wait for minutes
            raise self._refused[size_hw]
        try:
            if size_hw not in self._engines:
                self._engines[size_hw] = self._checked(size_hw)
        except ModelError as error:
            self._refused[size_hw] = error
            raise
        return self._engines[size_hw].run(rgb, ir)

    def _checked(self, size_hw: Size) -> Backend:
        """Return an engine that agrees with the float32 graph."""
        files = self._cache.get(self._key(size_hw), lambda folder: self._build(size_hw, folder))
        engine = self._load(files, size_hw)
        gate.check_run(engine, self._bundle.contract, size_hw)
        found = gate.check_agreement(engine, CpuBackend(self._bundle.graph), size_hw)
        self._report(f'engine for {_words(size_hw)} differs from float32 by at most {found}')
        return engine

    def _key(self, size_hw: Size) -> dict[str, Any]:
        return {
            'route': self._route,
            'size_hw': list(size_hw),
            'files': dict(self._bundle.contract.sha256),
            'code': _code(),
            **self._facts,
        }

    def _build(self, size_hw: Size, folder: Path) -> None:
        what = f'building the TensorRT engine for {_words(size_hw)}'
        self._report(f'{what}: this takes minutes, and is done once on this machine')
        question = {
            'task': 'build',
            'route': self._route,
            'bundle': str(self._bundle.folder.resolve()),
            'files': dict(self._bundle.contract.sha256),
            'size_hw': size_hw,
            'folder': str(folder),
        }
        child.ask(question, what, self._report, BUILD_LIMIT_S)

    def _load(self, files: dict[str, bytes], size_hw: Size) -> Backend:
        try:
            if self._route == 'onnxruntime':
                from tdfusion_ros.backends import ort_tensorrt as ort

                return ort.from_files(self._bundle.graph, files, size_hw)
            from tdfusion_ros.backends import trt_plan as plan
            from tdfusion_ros.backends.engine_builder import PLAN_FILE

            return plan.PlanEngine(files[PLAN_FILE], size_hw)
        except ModelError:
            raise
        except Exception as error:  # TensorRT, torch and a broken installation share no base
            raise ModelError(f'the TensorRT engine cannot be loaded: {error}') from error


def find_tensorrt(report: Callable[[str], None]) -> tuple[str, str, dict[str, Any]]:
    """
    Return the TensorRT of this machine in words, the package it comes through, and its facts.

    :raises ConfigError: if it is not there or does not work.
    """
    gpu.require_driver()
    route = _route()
    question = {'task': 'probe', 'route': route}
    facts = child.ask(question, 'looking for TensorRT', report, PROBE_LIMIT_S)
    words = (
        f'TensorRT {facts["tensorrt"]} through {route} {facts[route]}, '
        f'{facts["precision"]}, on {facts["gpu"]}'
    )
    return words, route, facts


def _route() -> str:
    """Return the package that brings TensorRT; whether it works is for the probe to say."""
    for name in ('torch_tensorrt', 'onnxruntime'):
        if importlib.util.find_spec(name):
            return name
    raise ConfigError('install torch_tensorrt and safetensors, or onnxruntime-gpu, for it')


def _code() -> str:
    """Return a hash of the code that a network and its engine are made by."""
    package = Path(__file__).resolve().parents[1]
    files = [*sorted((package / 'nets').glob('*.py'))]
    files += [
        package / 'backends' / f'{name}.py'
        for name in ('engine_builder', 'torch_network', 'ort_tensorrt')
    ]
    return sha256(b''.join(path.read_bytes() for path in files)).hexdigest()


def _words(size_hw: Size) -> str:
    return f'{size_hw[1]}x{size_hw[0]}'
