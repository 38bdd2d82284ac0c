"""ONNX Runtime's plug-in provider of TensorRT for RTX: TensorRT on a PC by pip alone."""

from collections.abc import Sequence
from functools import cache
import importlib
from importlib import metadata
import importlib.util
from typing import Any

from tdfusion_ros.backends import gpu
from tdfusion_ros.backends.engine_cache import cache_folder
from tdfusion_ros.backends.ort_gpu import SessionEngine
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import ModelError

PACKAGE = 'onnxruntime_ep_nv_tensorrt_rtx'
COMPILER = ('onnx', 'tensorrt_rtx_bindings')
PROVIDER = 'NvTensorRTRTXExecutionProvider'
ENGINE_FILE = 'engine.onnx'
TARGETS = ('sm86', 'sm89', 'sm120', 'sm121')
"""The GPUs on which the provider runs engines: RTX 30, RTX 40, RTX 50, and DGX Spark."""


def target_of(capability: Sequence[int]) -> str:
    """
    Return the target to compile for, as ``sm89``, of a capability (major, minor).

    :raises ConfigError: if the provider does not run on such a GPU.
    """
    target = ''.join(('sm', *map(str, capability)))
    if target not in TARGETS:
        known = ', '.join(f'{name[2:-1]}.{name[-1]}' for name in TARGETS)
        raise ConfigError(
            f'TensorRT for RTX runs on GPUs of compute capability {known}, '
            f'this one has {".".join(map(str, capability))}'
        )
    return target


def check_packages(names: Sequence[str]) -> None:
    """Raise ConfigError if a package is not installed; import none."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f'TensorRT for RTX needs {", ".join(missing)}: pip install "tdfusion_ros[rtx]"'
        )


@cache
def devices() -> list[Any]:
    """Register the provider once, and return its GPUs; ConfigError if there is none."""
    import onnxruntime

    try:
        package = importlib.import_module(PACKAGE)
        name, library = package.get_ep_name(), package.get_library_path()
        onnxruntime.register_execution_provider_library(name, library)
        found = [device for device in onnxruntime.get_ep_devices() if device.ep_name == name]
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise ConfigError(
            f'ONNX Runtime {onnxruntime.__version__} cannot load its provider of TensorRT for '
            f'RTX: {error}'
        ) from error
    if not found:
        raise ConfigError('the provider of TensorRT for RTX lists no GPU: check with nvidia-smi')
    return found


def engine_key(target: str) -> dict[str, Any]:
    """
    Return what an engine depends on besides the model.

    The kind of GPU, not the GPU and its driver: another machine may have compiled it.

    :raises ConfigError: for a target not in ``TARGETS``, and if a package that compiles is
        missing.
    """
    if target not in TARGETS:
        raise ConfigError(f'the target must be one of {", ".join(TARGETS)}, got {target!r}')
    check_packages(COMPILER)
    (name, *_) = metadata.packages_distributions()['tensorrt_rtx_bindings']
    return {'target': target, 'tensorrt_rtx': '.'.join(metadata.version(name).split('.')[:3])}


def probe() -> dict[str, Any]:
    """
    Return ``key`` of the engines for this machine and their ``description``.

    :raises ConfigError: if a package is missing, or if the GPU or the driver cannot be used.
    """
    facts = gpu.properties()
    target = target_of(facts['capability'])
    check_packages(('onnxruntime', PACKAGE))
    key = engine_key(target)
    devices()
    description = (
        f'TensorRT for RTX {key["tensorrt_rtx"]} through onnxruntime '
        f'{metadata.version("onnxruntime")}, on {facts["gpu"]}'
    )
    return {'key': key, 'description': description}


class RtxEngine(SessionEngine):
    """
    A compiled engine for one image size, from a ``wrapped`` model.

    :raises ConfigError: if the provider cannot be used; ModelError: if it refuses the engine.
    """

    def __init__(self, model: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.add_session_config_entry('session.disable_cpu_ep_fallback', '1')
        options.add_provider_for_devices(devices()[:1], provider_options())
        try:
            session = onnxruntime.InferenceSession(model, options)
        except Exception as error:  # as above
            raise ModelError(f'ONNX Runtime cannot load the engine: {error}') from error
        super().__init__(session)


def provider_options() -> dict[str, str]:
    """
    Return the options of the provider for one image size.

    TensorRT compiles the kernels for this GPU at the first start and keeps them; it also captures
    the CUDA graph itself. Source: tensorrt_rtx_provider_options.h of version 0.5.
    """
    return {
        'enable_cuda_graph': '1',
        'nv_persistent_context_memory': '1',
        'nv_runtime_cache_path': str(cache_folder() / 'tensorrt_rtx'),
    }
