"""
Take a network through all of Torch-TensorRT, with a TensorRT that computes its layers with torch.

    python conversion.py TORCH_TENSORRT_FOLDER BUNDLE CASE

CASE is half, float32, paper, or unsupported (a network that no version can convert). The folder
holds the package's Python files without its libraries; $PLAYED_TENSORRT is the version of TensorRT
to play. Prints one line of JSON last.
"""

from contextlib import redirect_stdout
import importlib.metadata
import io
import json
import logging
from pathlib import Path
import sys
import tempfile
from types import SimpleNamespace

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), sys.argv[1], str(HERE.parents[2])]

import tensorrt  # noqa: E402
import torch  # noqa: E402

# A GPU, and a TensorRT that pip installed, as far as anybody looks.
torch.cuda.get_device_capability = lambda *device: (9, 0)
torch.cuda.get_device_name = lambda *device: 'played'
torch.cuda.current_device = lambda: 0
torch.cuda.mem_get_info = lambda *device: (32 << 30, 64 << 30)
torch._C._CudaDeviceProperties = SimpleNamespace
version = importlib.metadata.version
importlib.metadata.version = lambda package: (
    tensorrt.__version__ if package == 'tensorrt' else version(package)
)

from torch_tensorrt.dynamo import _compiler  # noqa: E402

from tdfusion_ros.backends import engine_builder as builder  # noqa: E402
from tdfusion_ros.backends import torch_network as network  # noqa: E402
from tdfusion_ros.backends.bundle import read_bundle  # noqa: E402
from tdfusion_ros.core.errors import ModelError  # noqa: E402
from tdfusion_ros.nets.blocks import fold_batchnorm  # noqa: E402
from tdfusion_ros.nets.perception import build_perception  # noqa: E402

SIZE = (96, 160)
load, to_half = network.load_network, network.to_half


class Unsupported(torch.nn.Module):
    """Downscale with antialiasing: ``upsample_bilinear2d_aa`` has no converter."""

    def forward(self, luma, ir):
        small = torch.nn.functional.interpolate(
            luma, scale_factor=0.5, mode='bilinear', antialias=True
        )
        return torch.nn.functional.interpolate(small, scale_factor=2.0) * ir


def exact(bundle, case):
    """Return the network of a case in float32."""
    if case == 'paper':
        torch.manual_seed(0)
        architecture = {**bundle.architecture, 'fusion': {'name': 'fusion'}}
        return fold_batchnorm(build_perception(architecture)).requires_grad_(False)
    model = load(bundle.architecture, bundle.weights())
    if case == 'unsupported':
        model.fusion = Unsupported()
    return model


def converted(bundle):
    """Return what the real builder has TensorRT build."""
    with tempfile.TemporaryDirectory() as folder:
        builder.build_torch_tensorrt(bundle, SIZE, Path(folder), 'cpu')
        assert [path.name for path in Path(folder).iterdir()] == [builder.PLAN_FILE]
    return tensorrt.Builder.last


def engines(model):
    """Return how many engines Torch-TensorRT would make if it might also leave parts in torch."""
    told = io.StringIO()
    logging.getLogger().addHandler(logging.StreamHandler(told))
    options = builder.options(_compiler.compile, Path('/nowhere'))
    options['require_full_compilation'] = False
    with redirect_stdout(told), torch.no_grad():
        program = network.export(model, SIZE)
        inputs, _ = program.example_inputs
        _compiler.compile(program, arg_inputs=inputs, dryrun=True, min_block_size=1, **options)
    return sum(line.strip().startswith('TRT Engine #') for line in told.getvalue().splitlines())


def main():
    """Print the facts of a case."""
    bundle, case = read_bundle(Path(sys.argv[2])), sys.argv[3]
    network.load_network = lambda *given: exact(bundle, case)
    network.to_half = to_half if case in ('half', 'paper') else lambda model: model
    try:
        made = converted(bundle)
    except ModelError as error:
        print(json.dumps({'error': str(error)}))
        return
    rgb, ir = (tensor.value for tensor in made.inputs)
    with torch.no_grad():
        wanted = exact(bundle, case)(rgb.to(torch.uint8), ir)
    fused, *found = (tensor.value for tensor in made.outputs)
    got = fused.to(torch.uint8), *found  # as whoever runs the engine does
    facts = {
        'layers': len(made.layers),
        'strong': made.strong,
        'inputs': [(t.name, str(t.value.dtype)) for t in made.inputs],
        'outputs': [(t.name, str(t.value.dtype)) for t in made.outputs],
        'differences': [
            float((a.float() - b.float()).abs().max()) for a, b in zip(wanted, got, strict=True)
        ],
        'convolutions': sorted(
            {str(layer.given(0).dtype) for layer in made.layers if hasattr(layer, 'dilation_nd')}
        ),
        'engines': engines(network.to_half(exact(bundle, case))),
    }
    print(json.dumps(facts))


if __name__ == '__main__':
    main()
