"""
TensorRT itself on our networks: TensorRT for RTX compiles ahead of time, without GPU or driver.

This proves that TensorRT takes each layer of the graph that we export for it and has kernels for
the whole graph, for named GPUs. It cannot prove what the kernels compute, or how fast; and that
Torch-TensorRT converts the graph is tested against its signatures alone.
"""

import pytest

torch = pytest.importorskip('torch')
trt = pytest.importorskip('tensorrt_rtx_bindings', reason='pip install tensorrt-rtx-cu13-*')

from tdfusion_ros.backends import torch_network as network  # noqa: E402
from tdfusion_ros.nets.blocks import fold_batchnorm  # noqa: E402
from tdfusion_ros.nets.perception import build_perception  # noqa: E402

pytestmark = pytest.mark.torch
SIZE = (64, 96)
INPUTS = {'rgb': (*SIZE, 3), 'ir': SIZE}
OUTPUTS = [(*SIZE, 3), (126, 4), (126, 3)]


class Log(trt.ILogger):
    """Keeps the errors; TensorRT uses one logger per process."""

    def __init__(self):
        super().__init__()
        self.errors = []

    def log(self, severity, message):
        if severity <= trt.ILogger.Severity.ERROR:
            self.errors.append(message)


LOG = Log()


def parsed(content):
    """Return a builder and the strongly typed network that it made of an ONNX file."""
    builder = trt.Builder(LOG)
    strong = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    definition = builder.create_network(strong)
    parser = trt.OnnxParser(definition, LOG)
    assert parser.parse(content), [parser.get_error(i).desc() for i in range(parser.num_errors)]
    return builder, definition


@pytest.fixture(scope='module')
def onnx(request, shipped):
    """Return what the builder exports for TensorRT, as ONNX."""
    if request.param == 'paper':
        torch.manual_seed(0)
        detector = {'name': 'detector', 'repeats': [0] * 5}
        architecture = {'fusion': {'name': 'fusion', 'width': 8}, 'detector': detector}
        model = fold_batchnorm(build_perception(architecture)).requires_grad_(False)
    else:
        model = network.load_network(shipped.architecture, shipped.weights())
    if request.param != 'full':
        model = network.to_half(model)
    program = torch.onnx.export(network.export(model, SIZE), dynamo=True, verbose=False)
    return program.model_proto.SerializeToString()


# Not the paper's network for 7.5, where TensorRT lacks the float32 product of its attention.
@pytest.mark.parametrize(
    ('onnx', 'gpu'),
    [
        *[(kind, gpu) for kind in ('full', 'half') for gpu in ('SM75', 'SM86', 'SM120')],
        ('paper', 'SM86'),
    ],
    indirect=['onnx'],
)
def test_tensorrt_compiles_the_whole_network_for_one_size(onnx, gpu):
    builder, definition = parsed(onnx)
    inputs = [definition.get_input(i) for i in range(definition.num_inputs)]
    outputs = [definition.get_output(i) for i in range(definition.num_outputs)]
    assert {tensor.name: tuple(tensor.shape) for tensor in inputs} == INPUTS
    assert [tuple(tensor.shape) for tensor in outputs] == OUTPUTS
    assert {tensor.dtype for tensor in (*inputs, *outputs)} == {trt.DataType.FLOAT}
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, gpu), 0)
    LOG.errors.clear()
    assert builder.build_serialized_network(definition, config), LOG.errors


@pytest.mark.parametrize(('onnx', 'in_half'), [('full', 0), ('half', 40)], indirect=['onnx'])
def test_convolutions_of_the_half_network_are_compiled_in_half_precision(onnx, in_half):
    _, definition = parsed(onnx)
    layers = [definition.get_layer(i) for i in range(definition.num_layers)]
    types = [x.get_output(0).dtype for x in layers if x.type == trt.LayerType.CONVOLUTION]
    assert types.count(trt.DataType.HALF) == in_half
    assert types.count(trt.DataType.FLOAT) == 42 - in_half
