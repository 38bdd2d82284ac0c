"""
Backends that run a model bundle, one module each, imported only when chosen.

A named backend that cannot be used is an error; ``auto`` reports which one it took and why not a
better one.
"""

from collections.abc import Callable
import logging

from tdfusion_ros.backends.bundle import Bundle
from tdfusion_ros.backends.gate import check_agreement
from tdfusion_ros.backends.gate import check_run
from tdfusion_ros.backends.gate import padded
from tdfusion_ros.backends.gate import WARM_UP_HW
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.pipeline import Backend

log = logging.getLogger(__name__)
Report = Callable[[str], None]
Sizes = tuple[tuple[int, int], ...]


def open_backend(
    name: str,
    bundle: Bundle,
    report: Report = log.info,
    sizes_hw: Sizes = (),
    *,
    cpu_threads: int = 0,
) -> Backend:
    """
    Return a backend that has run and agrees with the float32 graph on the CPU.

    :param report: takes messages about the choice of ``auto`` and about what takes long.
    :param sizes_hw: image sizes to be ready for; empty: the usual size on this machine.
    :raises ConfigError: if the named backend is not installed.
    :raises ModelError: if the backend refuses the model, or computes something else.
    """
    sizes_hw = tuple(padded(size_hw, bundle.contract) for size_hw in sizes_hw)
    if name == 'auto':
        return _open_best(bundle, report, sizes_hw, cpu_threads)
    try:
        return _open(name, bundle, report, sizes_hw, cpu_threads)
    except FusionError as error:
        if name == 'cpu':
            raise
        raise type(error)(
            f"backend '{name}' cannot be used: {error}; or use cpu or auto"
        ) from error


def _open_best(bundle: Bundle, report: Report, sizes_hw: Sizes, cpu_threads: int) -> Backend:
    """Return the first of trt, cuda, cpu that can be used; report it and why not the others."""
    reasons: dict[str, list[str]] = {}
    for name in ('trt', 'cuda'):
        try:
            backend = _open(name, bundle, report, sizes_hw, cpu_threads)
            break
        except FusionError as error:
            reasons.setdefault(str(error), []).append(name)
    else:
        backend = _open('cpu', bundle, report, sizes_hw, cpu_threads)
    because = ''.join(f'; not {", not ".join(names)}: {why}' for why, names in reasons.items())
    report(f'backend auto: took {backend.name} ({backend.engine}){because}')
    return backend


def _open(name: str, bundle: Bundle, report: Report, sizes_hw: Sizes, cpu_threads: int) -> Backend:
    if name == 'trt':
        from tdfusion_ros.backends.trt import TrtBackend

        return TrtBackend(bundle, report, sizes_hw)  # checks each engine itself
    from tdfusion_ros.backends.cpu import CpuBackend

    backend: Backend
    if name == 'cuda':
        from tdfusion_ros.backends.cuda import open_cuda

        backend, reference = open_cuda(bundle), CpuBackend(bundle.graph)
    else:
        smaller = bundle.detector_graph, bundle.unmasked_graph
        backend = CpuBackend(bundle.graph, *smaller, threads=cpu_threads)
        reference = None
    for size_hw in sizes_hw or (padded(WARM_UP_HW, bundle.contract),):
        check_run(backend, bundle.contract, size_hw)
        if reference:
            check_agreement(backend, reference, bundle.contract, size_hw)
    return backend
