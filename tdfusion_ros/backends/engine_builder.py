"""
What runs in a process of its own: looking whether TensorRT works, and building an engine with it.

    python -m tdfusion_ros.backends.engine_builder ANSWER.json < QUESTION.json

A broken installation may end its process (and Torch-TensorRT prints to standard output, and raises
a bare Exception when a library is missing), so the node never imports torch_tensorrt itself.
"""

from collections.abc import Callable
from collections.abc import Mapping
import inspect
import json
import logging
import os
from pathlib import Path
import sys
from threading import Thread
from typing import Any

from tdfusion_ros.backends import gpu
from tdfusion_ros.backends.bundle import Bundle
from tdfusion_ros.backends.bundle import read_bundle
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.core.errors import ModelError

PLAN_FILE = 'engine.plan'
TIMING_FILE = 'timing'
Size = tuple[int, int]


def options(convert: Callable[..., Any], folder: Path) -> dict[str, Any]:
    """
    Return the options of Torch-TensorRT that this version has, by the names in its signature.

    Only named ones: ``**kwargs`` swallows the rest without a word. Strong typing, so that the
    types of the exported network are those of the engine: 2.6 to 2.12 have a switch for it, 2.13
    and later know nothing else and have no ``enabled_precisions`` (deploy.md 1.3).

    :param convert: ``torch_tensorrt.dynamo.convert_exported_program_to_serialized_trt_engine``.
    :param folder: private; by default the timing cache is in the /tmp of all users.
    :raises ConfigError: if the version knows weak typing only.
    """
    known = inspect.signature(convert).parameters
    if 'use_explicit_typing' not in known and 'enabled_precisions' in known:
        raise ConfigError(
            'this torch_tensorrt cannot keep parts of a network in float32: install 2.8 or later'
        )
    wanted = {
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
    return {name: value for name, value in wanted.items() if name in known}


def probe_torch_tensorrt() -> dict[str, Any]:
    """
    Return what an engine of Torch-TensorRT depends on besides the model.

    No trial engine is built: the real one is built in such a process, too.
    """
    import torch

    if not torch.cuda.is_available():
        raise ConfigError(f'torch {torch.__version__} sees no GPU')
    import tensorrt
    import torch_tensorrt

    pair = torch.__version__, torch_tensorrt.__version__
    # Other minors can be imported, but then lack operators (deploy.md 1.3, trap 3).
    if pair[0].split('.')[:2] != pair[1].split('.')[:2]:
        raise ConfigError(
            f'torch {pair[0]} and torch_tensorrt {pair[1]} do not belong together: '
            'install those of the same major.minor version'
        )
    options(torch_tensorrt.dynamo.convert_exported_program_to_serialized_trt_engine, Path())
    return {
        'precision': 'half with float32 islands, strongly typed',
        'torch': pair[0],
        'torch_tensorrt': pair[1],
        'tensorrt': tensorrt.__version__,
        **gpu.facts(),
    }


def probe_onnxruntime() -> dict[str, Any]:
    """Return what an engine of ONNX Runtime depends on besides the model."""
    import onnxruntime

    from tdfusion_ros.backends.ort_tensorrt import PROVIDER

    if PROVIDER not in onnxruntime.get_available_providers():
        raise ConfigError(
            f'neither is torch_tensorrt installed, nor has ONNX Runtime {onnxruntime.__version__} '
            'the TensorRT provider: install one of torch_tensorrt and onnxruntime-gpu'
        )
    return {
        'precision': 'float32, TF32 allowed',
        'onnxruntime': onnxruntime.__version__,
        'tensorrt': gpu.tensorrt_version(),
        **gpu.facts(),
    }


class LastError(logging.Handler):
    """
    Keep the last error that was logged.

    Up to 2.12 Torch-TensorRT logs why a conversion failed, goes on, and stumbles over the missing
    result (read in ``convert_exported_program_to_serialized_trt_engine`` at v2.8.0, v2.10.0).
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.text = ''

    def emit(self, record: logging.LogRecord) -> None:
        cause = record.exc_info[1] if record.exc_info else None
        self.text = repr(cause) if cause else record.getMessage()


def build_torch_tensorrt(bundle: Bundle, size_hw: Size, folder: Path, device: str) -> None:
    """
    Write a serialized TensorRT engine of the network.

    That, and no torch program: reading it executes no Python, where ``torch_tensorrt.load``
    unpickles, and TensorRT alone runs it, so that torch_tensorrt stays out of the node.
    """
    import torch
    from torch_tensorrt.dynamo import convert_exported_program_to_serialized_trt_engine as convert

    from tdfusion_ros.backends import torch_network as network

    model = network.to_half(network.load_network(bundle.architecture, bundle.weights()))
    logged = LastError()
    logging.getLogger('torch_tensorrt').addHandler(logged)
    try:
        program = network.export(model.to(device), size_hw)
        inputs, _ = program.example_inputs
        with torch.no_grad():
            plan = convert(program, arg_inputs=inputs, **options(convert, folder))
    except Exception as error:  # the converters, TensorRT and torch have no common base
        raise ModelError(
            f'Torch-TensorRT cannot build it: {logged.text or repr(error)}'
        ) from error
    (folder / PLAN_FILE).write_bytes(plan)
    (folder / TIMING_FILE).unlink(missing_ok=True)


def build_onnxruntime(bundle: Bundle, size_hw: Size, folder: Path) -> None:
    """Let ONNX Runtime write its engine."""
    from tdfusion_ros.backends.ort_tensorrt import OrtEngine

    OrtEngine(bundle.graph, folder, size_hw)


def answer(question: Mapping[str, Any]) -> dict[str, Any]:
    """Do what is asked: ``task`` probe or build, ``route`` torch_tensorrt or onnxruntime."""
    by_torch = question['route'] == 'torch_tensorrt'
    if question['task'] == 'probe':
        return probe_torch_tensorrt() if by_torch else probe_onnxruntime()
    bundle = read_bundle(Path(question['bundle']))
    if dict(bundle.contract.sha256) != question['files']:
        raise ModelError('the model bundle was changed meanwhile; start again')
    height, width = question['size_hw']
    folder = Path(question['folder'])
    if by_torch:
        build_torch_tensorrt(bundle, (height, width), folder, 'cuda')
    else:
        build_onnxruntime(bundle, (height, width), folder)
    return {}


def main() -> None:
    """Answer one question; what goes wrong is an answer, too."""
    question = json.loads(sys.stdin.readline())
    Thread(target=_end_with_parent, daemon=True).start()
    try:
        told = answer(question)
    except FusionError as error:
        told = {'error': str(error), 'kind': type(error).__name__}
    except Exception as error:  # torch_tensorrt raises a bare one where TensorRT is missing
        told = {'error': f'{type(error).__name__}: {error}', 'kind': 'ModelError'}
    Path(sys.argv[1]).write_text(json.dumps(told), encoding='utf-8')
    sys.stdout.flush()
    os._exit(0)  # what libraries do at an orderly end can only go wrong from here


def _end_with_parent() -> None:
    """Wait for the end of standard input: nobody waits for the answer any more."""
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == '__main__':
    main()
