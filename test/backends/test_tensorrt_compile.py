"""
TensorRT itself on our graphs: TensorRT for RTX compiles ahead of time, without GPU or driver.

This proves that TensorRT takes each layer of the graphs of a bundle and has kernels for the whole
graph, for named GPUs. It cannot prove what the kernels compute, or how fast; and that
Torch-TensorRT converts the graph is tested against its signatures alone.
"""

from collections import Counter
from time import perf_counter

import pytest

pytest.importorskip('onnx')
trt = pytest.importorskip('tensorrt_rtx_bindings', reason='pip install tensorrt-rtx-cu13-*')

from tdfusion_ros.backends import rtx_compiler  # noqa: E402
from tdfusion_ros.backends.bundle import read_bundle  # noqa: E402
from tdfusion_ros.core.errors import ModelError  # noqa: E402

TARGETS = ('sm75', 'sm80', 'sm86', 'sm89', 'sm120')
SIZES = {'640x480': ((480, 640),) * 3, '1280x1024': ((1024, 1280),) * 3}
GRAPHS = {'full': 'graph', 'half': 'half_graph'}


@pytest.fixture(scope='module')
def bundles(root):
    found = [read_bundle(path.parent) for path in sorted(root.glob('models/*/model.json'))]
    assert found
    return found


def convolutions(network):
    layers = [network.definition.get_layer(i) for i in range(network.definition.num_layers)]
    kind = trt.LayerType.CONVOLUTION
    return Counter(layer.get_output(0).dtype.name for layer in layers if layer.type == kind)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('precision', GRAPHS)
def test_tensorrt_compiles_every_shipped_bundle_whole(bundles, capsys, precision, size):
    for bundle in bundles:
        network = rtx_compiler.Network(getattr(bundle, GRAPHS[precision]))
        for target in TARGETS:
            begun = perf_counter()
            plan = network.plan([target], SIZES[size])
            seconds = perf_counter() - begun
            assert len(plan) > 500_000  # the weights alone take more
            with capsys.disabled():
                print(
                    f'\n| {bundle.contract.name} | {size} | {target} | {precision} | '
                    f'{len(plan) / 1e6:.2f} MB | {seconds:.1f} s |',
                    end='',
                )


@pytest.mark.parametrize('precision', GRAPHS)
def test_tensorrt_compiles_every_shipped_bundle_for_any_size(bundles, capsys, precision):
    for bundle in bundles:
        network = rtx_compiler.Network(getattr(bundle, GRAPHS[precision]))
        plan = network.plan(TARGETS, ((32, 32), (480, 640), (2048, 2048)))
        with capsys.disabled():
            row = f'{bundle.contract.name} | 32 to 2048 | all targets | {precision}'
            print(f'\n| {row} | {len(plan) / 1e6:.2f} MB |', end='')


def test_convolutions_have_the_intended_precision(bundles):
    for bundle in bundles:
        full, half = (
            convolutions(rtx_compiler.Network(getattr(bundle, name))) for name in GRAPHS.values()
        )
        assert set(full) == {'FLOAT'}
        assert set(half) == {'FLOAT', 'HALF'}
        assert sum(full.values()) == sum(half.values())
        torch = pytest.importorskip('torch')
        from tdfusion_ros.backends.torch_network import load_network
        from tdfusion_ros.backends.torch_network import to_half

        model = to_half(load_network(bundle.architecture, bundle.weights()))
        types = {
            name: layer.weight.dtype
            for name, layer in model.named_modules()
            if isinstance(layer, torch.nn.Conv2d)
        }
        halves = {name for name, type_ in types.items() if type_ == torch.half}
        parts = 'fusion.body', 'fusion.head', 'detector.neck', 'detector.heads'
        assert halves == {name for name in types if name.startswith(parts)}
        # The others of the graph interpolate and move pixels: no layers, and always in float32.
        assert half['HALF'] == len(halves)


@pytest.mark.torch
def test_the_network_of_the_paper_compiles_in_half_precision():
    """Not for 7.5, where TensorRT lacks the float32 product of its attention."""
    torch = pytest.importorskip('torch')
    from tdfusion_ros.backends import torch_network
    from tdfusion_ros.nets.blocks import fold_batchnorm
    from tdfusion_ros.nets.perception import build_perception

    torch.manual_seed(0)
    detector = {'name': 'detector', 'repeats': [0] * 5}
    model = build_perception({'fusion': {'name': 'fusion', 'width': 8}, 'detector': detector})
    half = torch_network.to_half(fold_batchnorm(model).requires_grad_(False))
    program = torch.onnx.export(torch_network.export(half, (32, 64)), dynamo=True, verbose=False)
    network = rtx_compiler.Network(program.model_proto.SerializeToString())
    assert convolutions(network) == {'HALF': 77}
    for target in ('sm86', 'sm120'):
        assert network.plan([target], ((32, 64),) * 3)


def test_images_stay_as_they_are_at_the_border_of_the_graph(bundles):
    for bundle in bundles:
        definition = rtx_compiler.Network(bundle.half_graph).definition
        inputs = [definition.get_input(i) for i in range(definition.num_inputs)]
        outputs = [definition.get_output(i) for i in range(definition.num_outputs)]
        assert [tensor.dtype.name for tensor in inputs] == ['UINT8', 'FLOAT', 'FLOAT']
        assert [tensor.dtype.name for tensor in outputs] == ['UINT8', 'FLOAT', 'FLOAT']


def test_graph_that_tensorrt_does_not_take_is_refused_with_its_reason():
    with pytest.raises(ModelError, match='TensorRT refuses the graph'):
        rtx_compiler.Network(b'no graph')
