"""
TensorRT itself on our networks: TensorRT for RTX compiles ahead of time, without GPU or driver.

This proves that TensorRT takes each layer of the graph that we export for it and has kernels for
the whole graph, for named GPUs. It cannot prove what the kernels compute, or how fast; and that
Torch-TensorRT converts the graph is tested against its signatures alone.
"""

from collections import Counter

import pytest

torch = pytest.importorskip('torch')
trt = pytest.importorskip('tensorrt_rtx_bindings', reason='pip install tensorrt-rtx-cu13-*')

from tdfusion_ros.backends import torch_network as network  # noqa: E402
from tdfusion_ros.nets.blocks import fold_batchnorm  # noqa: E402
from tdfusion_ros.nets.perception import build_perception  # noqa: E402

pytestmark = pytest.mark.torch
SIZE = (32, 64)
INPUTS = {'rgb': (*SIZE, 3), 'ir': SIZE, 'coverage': SIZE}
OUTPUTS = [(*SIZE, 3), (42, 4), (42, 3)]


class Log(trt.ILogger):
    """Keeps the errors; TensorRT uses one logger per process."""

    def __init__(self):
        super().__init__()
        self.errors = []

    def log(self, severity, message):
        if severity <= trt.ILogger.Severity.ERROR:
            self.errors.append(message)


LOG = Log()


def export(kind, bundle):
    """Return what the builder exports for TensorRT, as ONNX."""
    if kind == 'paper':
        torch.manual_seed(0)
        detector = {'name': 'detector', 'repeats': [0] * 5}
        fusion = {'name': 'fusion', 'width': 8}
        model = build_perception({'fusion': fusion, 'detector': detector})
        model = fold_batchnorm(model).requires_grad_(False)
    else:
        model = network.load_network(bundle.architecture, bundle.weights())
    if kind != 'full':
        model = network.to_half(model)
    program = torch.onnx.export(network.export(model, SIZE), dynamo=True, verbose=False)
    return program.model_proto.SerializeToString()


# Not the paper's network for 7.5, where TensorRT lacks the float32 product of its attention.
@pytest.mark.parametrize(
    ('kind', 'gpus', 'convolutions'),
    [
        ('full', ('SM75', 'SM86', 'SM120'), {'FLOAT': 45}),
        ('half', ('SM75', 'SM86', 'SM120'), {'HALF': 40, 'FLOAT': 5}),
        ('paper', ('SM86', 'SM120'), {'HALF': 77}),
    ],
)
def test_tensorrt_compiles_the_whole_network_in_its_precision(shipped, kind, gpus, convolutions):
    builder = trt.Builder(LOG)
    strong = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    definition = builder.create_network(strong)
    parser = trt.OnnxParser(definition, LOG)
    parsed = parser.parse(export(kind, shipped))
    assert parsed, [parser.get_error(i).desc() for i in range(parser.num_errors)]
    inputs = [definition.get_input(i) for i in range(definition.num_inputs)]
    outputs = [definition.get_output(i) for i in range(definition.num_outputs)]
    assert {tensor.name: tuple(tensor.shape) for tensor in inputs} == INPUTS
    assert [tuple(tensor.shape) for tensor in outputs] == OUTPUTS
    assert {tensor.dtype for tensor in (*inputs, *outputs)} == {trt.DataType.FLOAT}
    layers = [definition.get_layer(i) for i in range(definition.num_layers)]
    types = [x.get_output(0).dtype for x in layers if x.type == trt.LayerType.CONVOLUTION]
    assert Counter(dtype.name for dtype in types) == convolutions
    config = builder.create_builder_config()
    config.num_compute_capabilities = len(gpus)
    for index, gpu in enumerate(gpus):
        config.set_compute_capability(getattr(trt.ComputeCapability, gpu), index)
    assert builder.build_serialized_network(definition, config), LOG.errors
