"""
Engines that run a model bundle, one module each, imported only when chosen.

``open_backend`` never falls back in silence: a named engine that is not there is an error, and
``auto`` says what it took and why not a better one.
"""

from collections.abc import Callable
import logging
from typing import Protocol

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


class Engine(Backend, Protocol):
    """A backend that also says in words what runs the model."""

    engine: str


def open_backend(
    name: str, bundle: Bundle, report: Report = log.info, sizes_hw: Sizes = ()
) -> Engine:
    """
    Return an engine that has run and, if it is not the reference itself, agrees with it.

    :param name: ``auto``, ``cpu``, ``cuda`` or ``trt``.
    :param report: takes the sentences that say what ``auto`` chose, and what takes long.
    :param sizes_hw: of the images to be ready for; empty: what is usual on this machine.
    :raises ConfigError: if the named engine is not there.
    :raises ModelError: if the engine refuses the model, or computes something else.
    """
    sizes_hw = tuple(padded(size_hw, bundle.contract) for size_hw in sizes_hw)
    if name == 'auto':
        return _best(bundle, report, sizes_hw)
    try:
        return _open(name, bundle, report, sizes_hw)
    except FusionError as error:
        if name == 'cpu':
            raise
        raise type(error)(
            f"backend '{name}' cannot be used: {error}; or use cpu or auto"
        ) from error


def _best(bundle: Bundle, report: Report, sizes_hw: Sizes) -> Engine:
    """Return the first of trt, cuda, cpu that can be used; say which, and why not the others."""
    reasons: dict[str, list[str]] = {}
    for name in ('trt', 'cuda'):
        try:
            backend = _open(name, bundle, report, sizes_hw)
            break
        except FusionError as error:
            reasons.setdefault(str(error), []).append(name)
    else:
        backend = _open('cpu', bundle, report, sizes_hw)
    because = ''.join(f'; not {", not ".join(names)}: {why}' for why, names in reasons.items())
    report(f'backend auto: took {backend.name} ({backend.engine}){because}')
    return backend


def _open(name: str, bundle: Bundle, report: Report, sizes_hw: Sizes) -> Engine:
    from tdfusion_ros.backends.cpu import CpuBackend

    if name == 'trt':
        from tdfusion_ros.backends.trt import TrtBackend

        return TrtBackend(bundle, report, sizes_hw)
    sizes_hw = sizes_hw or (padded(WARM_UP_HW, bundle.contract),)
    if name == 'cpu':
        cpu = CpuBackend(bundle.graph, bundle.detector_graph)
        for size_hw in sizes_hw:
            check_run(cpu, bundle.contract, size_hw)
        return cpu
    from tdfusion_ros.backends.cuda import CudaBackend

    cuda, reference = CudaBackend(bundle), CpuBackend(bundle.graph)
    for size_hw in sizes_hw:
        check_run(cuda, bundle.contract, size_hw)
        check_agreement(cuda, reference, size_hw)
    return cuda
