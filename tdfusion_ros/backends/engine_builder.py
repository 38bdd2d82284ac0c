"""
Probe TensorRT and build engines, in a process of its own.

    python -m tdfusion_ros.backends.engine_builder RESULT.json REQUEST

A broken installation can end its process, and Torch-TensorRT prints to standard output and raises
a bare Exception when a library is missing. So the node itself never imports torch_tensorrt.
"""

from collections.abc import Callable
from collections.abc import Mapping
import ctypes
import inspect
import json
import logging
import os
from pathlib import Path
import signal
import sys
from typing import Any

from tdfusion_ros.backends import gpu
from tdfusion_ros.backends import ort_rtx
from tdfusion_ros.backends.bundle import Bundle
from tdfusion_ros.backends.bundle import read_bundle
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.errors import ModelError

PLAN_FILE = 'engine.plan'
TIMING_FILE = 'timing'
PR_SET_PDEATHSIG = 1


def options(convert: Callable[..., Any], folder: Path) -> dict[str, Any]:
    """
    Return the options for Torch-TensorRT that its installed version has.

    Only those in its signature: ``**kwargs`` silently accepts any other. Strong typing, so that
    the engine keeps the types of the exported network: 2.6 to 2.12 have a switch for it, 2.13 and
    later always do it and have no ``enabled_precisions``.

    :param convert: ``torch_tensorrt.dynamo.convert_exported_program_to_serialized_trt_engine``.
    :param folder: private; by default the timing cache is in /tmp, shared by all users.
    :raises ConfigError: if the version has weak typing only.
    """
    known = inspect.signature(convert).parameters
    if 'use_explicit_typing' not in known and 'enabled_precisions' in known:
        raise ConfigError(
            'this torch_tensorrt cannot keep parts of a network in float32: install 2.8 or later'
        )
    chosen = {
        'use_explicit_typing': True,
        'use_fp32_acc': True,
        'disable_tf32': True,  # what is float32 is so on purpose
        'require_full_compilation': True,
        'immutable_weights': True,
        # Its own cache: the key lacks GPU, TensorRT and weights, and its entries are pickles.
        'cache_built_engines': False,
        'reuse_cached_engines': False,
        'timing_cache_path': str(folder / TIMING_FILE),
    }
    return {name: value for name, value in chosen.items() if name in known}


def probe_torch_tensorrt() -> dict[str, Any]:
    """
    Return ``key``, what engines depend on besides the model, and ``description``.

    :raises ConfigError: if there is no GPU, or the versions do not match.
    """
    import torch

    if not torch.cuda.is_available():
        raise ConfigError(f'torch {torch.__version__} sees no GPU')
    import tensorrt
    import torch_tensorrt

    pair = torch.__version__, torch_tensorrt.__version__
    # Other minor versions can be imported, but lack operators.
    if pair[0].split('.')[:2] != pair[1].split('.')[:2]:
        raise ConfigError(
            f'torch {pair[0]} and torch_tensorrt {pair[1]} do not match: '
            'install the same major.minor version of both'
        )
    options(torch_tensorrt.dynamo.convert_exported_program_to_serialized_trt_engine, Path())
    return _found('torch_tensorrt', pair[1], tensorrt.__version__, torch=pair[0])


def probe_onnxruntime() -> dict[str, Any]:
    """Return as :func:`probe_torch_tensorrt`; ConfigError without a provider, or a GPU."""
    import onnxruntime

    from tdfusion_ros.backends.ort_gpu import PROVIDER

    if PROVIDER not in onnxruntime.get_available_providers():
        raise ConfigError(f'ONNX Runtime {onnxruntime.__version__} has no TensorRT provider')
    return _found('onnxruntime', onnxruntime.__version__, gpu.tensorrt_version())


def _found(package: str, version: str, tensorrt: str, **others: str) -> dict[str, Any]:
    """Return the result of a probe: what an engine depends on, and a description of it."""
    key = {package: version, 'tensorrt': tensorrt, **others, **gpu.properties()}
    text = f'TensorRT {tensorrt} through {package} {version}, on {key["gpu"]}'
    return {'key': key, 'description': text}


class LastError(logging.Handler):
    """
    Keep the last logged error.

    Up to 2.12 Torch-TensorRT logs why a conversion failed, continues, and then fails because the
    result is missing (read in its source at v2.8.0 and v2.10.0).
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.text = ''

    def emit(self, record: logging.LogRecord) -> None:
        cause = record.exc_info[1] if record.exc_info else None
        self.text = repr(cause) if cause else record.getMessage()


def build_torch_tensorrt(bundle: Bundle, size_hw: tuple[int, int], folder: Path) -> None:
    """
    Write a serialized TensorRT engine of the network.

    A plan, not a torch program: loading a plan executes no Python, while ``torch_tensorrt.load``
    unpickles. TensorRT alone runs it, so the node does not need torch_tensorrt.

    :raises ModelError: if it cannot be built, with the reason that was logged.
    """
    import torch
    from torch_tensorrt.dynamo import convert_exported_program_to_serialized_trt_engine as convert

    from tdfusion_ros.backends import torch_network as network

    model = network.to_half(network.load_network(bundle.architecture, bundle.weights()))
    logged = LastError()
    logging.getLogger('torch_tensorrt').addHandler(logged)
    try:
        program = network.export(model.to(torch.device('cuda')), size_hw)
        inputs, _ = program.example_inputs
        with torch.no_grad():
            plan = convert(program, arg_inputs=inputs, **options(convert, folder))
    except Exception as error:  # the converters, TensorRT and torch have no common base
        raise ModelError(
            f'Torch-TensorRT cannot build the engine: {logged.text or repr(error)}'
        ) from error
    (folder / PLAN_FILE).write_bytes(plan)
    (folder / TIMING_FILE).unlink(missing_ok=True)


def build_rtx(bundle: Bundle, size_hw: tuple[int, int], folder: Path, target: str) -> None:
    """
    Write an engine of TensorRT for RTX for a target, as ``sm89``; needs no GPU.

    :raises FusionError: if TensorRT refuses target or graph.
    """
    from tdfusion_ros.backends.rtx_compiler import Network
    from tdfusion_ros.backends.rtx_compiler import wrapped

    plan = Network(bundle.engine_graph).plan([target], (size_hw,) * 3)
    (folder / ort_rtx.ENGINE_FILE).write_bytes(wrapped(plan, bundle.engine_graph))


PROBES = {
    'torch_tensorrt': probe_torch_tensorrt,
    'onnxruntime': probe_onnxruntime,
    'tensorrt_rtx': ort_rtx.probe,
}


def perform(request: Mapping[str, Any]) -> dict[str, Any]:
    """
    Perform a task.

    :param request: ``task`` (probe or build), ``route`` (a key of ``PROBES``); to build also
        ``bundle`` (its folder), ``files`` (their hashes), ``size_hw``, ``folder``, and ``target``
        for tensorrt_rtx.
    :returns: what the probe found; empty after a build.
    """
    route = request['route']
    if request['task'] == 'probe':
        return PROBES[route]()
    bundle = read_bundle(Path(request['bundle']))
    if dict(bundle.contract.sha256) != request['files']:
        raise ModelError('the model bundle has changed since the start; start again')
    height, width = request['size_hw']
    folder = Path(request['folder'])
    if route == 'torch_tensorrt':
        build_torch_tensorrt(bundle, (height, width), folder)
    elif route == 'tensorrt_rtx':
        build_rtx(bundle, (height, width), folder, request['target'])
    else:
        from tdfusion_ros.backends.ort_gpu import OrtEngine

        OrtEngine(bundle.engine_graph, folder, (height, width), bundle.contract.inputs)
    return {}


def main() -> None:
    """Perform one task and write its result, or its error, as JSON."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # end with the node
    try:
        result = perform(json.loads(sys.argv[2]))
    except FusionError as error:
        result = {'error': str(error), 'kind': type(error).__name__}
    except Exception as error:  # torch_tensorrt raises a bare one where TensorRT is missing
        result = {'error': f'{type(error).__name__}: {error}', 'kind': 'ModelError'}
    Path(sys.argv[1]).write_text(json.dumps(result), encoding='utf-8')
    sys.stdout.flush()
    os._exit(0)  # skip the libraries' exit handlers, which may crash


if __name__ == '__main__':
    main()
