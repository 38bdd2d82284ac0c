"""
Engines that run a model bundle, one module each, imported only when chosen.

``open_backend`` never falls back in silence: a named engine that is not there is an error, and
``auto`` says what it took and why.
"""

from collections.abc import Callable
import logging

from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.pipeline import Backend

log = logging.getLogger(__name__)


def open_backend(name: str, graph: bytes, report: Callable[[str], None] = log.info) -> Backend:
    """
    Return a ready engine.

    :param name: ``auto``, ``cpu``, ``cuda`` or ``trt``.
    :param graph: the bundle's ONNX graph.
    :param report: takes the sentence that says what ``auto`` chose.
    :raises ConfigError: if the named engine is not there.
    :raises ModelError: if the engine refuses the graph.
    """
    if name in ('cuda', 'trt'):
        raise ConfigError(f"backend '{name}' is not part of this version yet; use cpu or auto")
    from tdfusion_ros.backends.cpu import CpuBackend

    backend = CpuBackend(graph)
    if name == 'auto':
        report(f'backend auto: took cpu ({backend.engine}), the only engine of this version')
    return backend
