"""The network rebuilt from a bundle: the same as the graph, and right in half precision."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('safetensors')

from tdfusion_ros.backends import torch_network as network  # noqa: E402
from tdfusion_ros.backends.cpu import CpuBackend  # noqa: E402
from tdfusion_ros.backends.gate import check_agreement  # noqa: E402
from tdfusion_ros.core.data import RawOutput  # noqa: E402
from tdfusion_ros.core.errors import ModelError  # noqa: E402
from tdfusion_ros.nets.blocks import fold_batchnorm  # noqa: E402
from tdfusion_ros.nets.perception import build_perception  # noqa: E402

pytestmark = pytest.mark.torch
SIZE = (96, 160)


class InTorch:
    """A network on the CPU as a backend."""

    name = 'torch'

    def __init__(self, model):
        self.model = model

    def run(self, rgb, ir):
        with torch.inference_mode():
            outputs = self.model(torch.from_numpy(rgb), torch.from_numpy(ir))
        return RawOutput(*(tensor.numpy() for tensor in outputs))


@pytest.fixture(scope='module')
def model(shipped):
    return network.load_network(shipped.architecture, shipped.weights())


@pytest.fixture(scope='module')
def half(model):
    return network.to_half(copy.deepcopy(model))


@pytest.fixture(scope='module')
def paper(shipped):
    """Return the paper's network, untrained, behind the shipped detector."""
    torch.manual_seed(0)
    architecture = {**shipped.architecture, 'fusion': {'name': 'fusion'}}
    return fold_batchnorm(build_perception(architecture)).requires_grad_(False)


def test_rebuilt_network_is_the_graph_of_the_bundle(model, shipped):
    found = check_agreement(InTorch(model), CpuBackend(shipped.graph), SIZE)
    assert found.image_largest <= 1
    assert found.box_largest_px < 0.01
    assert found.score_largest < 1e-4


@pytest.mark.parametrize('inputs', [2, 3])
def test_exported_network_is_the_network_but_for_the_cast_to_bytes(shipped, inputs):
    """Both kinds of detector: of the fused image, and of the sources."""
    torch.manual_seed(0)
    detector = {**shipped.architecture['detector'], 'inputs': inputs}
    model = build_perception({**shipped.architecture, 'detector': detector})
    model = network.to_half(fold_batchnorm(model).requires_grad_(False))
    rgb = torch.randint(0, 256, (*SIZE, 3), dtype=torch.uint8)
    ir = torch.rand(SIZE)
    fused, *found = network.export(model, SIZE).module()(rgb.float(), ir)
    assert {tensor.dtype for tensor in (fused, *found)} == {torch.float32}
    for got, wanted in zip((fused.to(torch.uint8), *found), model(rgb, ir), strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=0)


def test_network_that_does_not_end_in_bytes_is_not_exported(model):
    class Other(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, rgb, ir):
            fused, boxes_xyxy, scores = self.inner(rgb, ir)
            return fused.float(), boxes_xyxy, scores

    with pytest.raises(ModelError, match='not in a cast to uint8'):
        network.export(Other(), SIZE)


def test_half_precision_passes_the_gate_with_room(half, shipped):
    found = check_agreement(InTorch(half), CpuBackend(shipped.graph), SIZE)
    assert found.image_largest <= 1
    assert found.box_largest_px < 0.5
    assert found.score_largest < 0.002


def test_half_precision_is_right_on_real_pairs(half, model, demo_pairs):
    for pair in (demo_pairs[0], demo_pairs[20]):
        given = pair.rgb.pixels, pair.ir.pixels / np.float32(255)
        wanted, got = InTorch(model).run(*given), InTorch(half).run(*given)
        assert np.abs(wanted.fused.astype(int) - got.fused).max() <= 1
        assert np.abs(wanted.scores - got.scores).max() < 0.005
        seen = wanted.scores.max(1) > 0.3
        assert seen.any()
        assert np.abs(wanted.boxes_xyxy - got.boxes_xyxy)[seen].max() < 0.5


def test_every_convolution_is_in_half(half):
    scene = set(half.fusion.scene.parameters())  # of one number a channel
    kinds = {parameter.dtype for parameter in set(half.parameters()) - scene}
    assert kinds == {torch.half}
    seen = []
    for module in half.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda _, given, result: seen.append(result.dtype))
    half(torch.zeros(*SIZE, 3, dtype=torch.uint8), torch.zeros(SIZE))
    assert set(seen) == {torch.half}


def test_network_of_the_paper_is_right_in_half_precision_even_on_a_black_frame(paper):
    exact = InTorch(copy.deepcopy(paper))
    found = check_agreement(InTorch(network.to_half(copy.deepcopy(paper))), exact, SIZE)
    assert found.image_largest <= 2


def test_network_of_the_paper_has_no_half_beyond_its_convolutions(paper):
    half = network.to_half(copy.deepcopy(paper))
    names = [n for n, p in half.fusion.named_parameters() if p.dtype != torch.half]
    assert names
    assert all('norm' in name or 'temperature' in name for name in names)


def test_paper_without_islands_fails_the_gate(paper):
    """What the islands are for: all of it in half, a black frame gives no number."""
    naive = copy.deepcopy(paper)
    fusion = naive.fusion.half()
    forward = fusion.forward
    fusion.forward = lambda luma, ir: forward(luma.half(), ir.half()).float()
    with pytest.raises(ModelError):
        check_agreement(InTorch(naive), InTorch(paper), SIZE)


@pytest.mark.parametrize(
    'change',
    [
        lambda a: {},
        lambda a: {**a, 'fusion': {'name': 'fusion_xl'}},
        lambda a: {**a, 'fusion': {**a['fusion'], 'width': 8}},
        lambda a: {**a, 'fusion': {**a['fusion'], 'color': 1}},
        lambda a: {**a, 'detector': {'name': 'fusion_rt'}},
    ],
)
def test_architecture_that_does_not_fit_the_weights_is_refused(shipped, change):
    with pytest.raises(ModelError, match='do not fit'):
        network.load_network(change(shipped.architecture), shipped.weights())


def test_weights_that_are_none_are_refused(shipped):
    with pytest.raises(ModelError, match='do not fit'):
        network.load_network(shipped.architecture, b'\x80\x04pickle')
