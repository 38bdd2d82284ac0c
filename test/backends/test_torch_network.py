"""The network rebuilt from a bundle: equal to the graph, and correct in half precision."""

from copy import deepcopy

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('safetensors')

from safetensors.torch import load  # noqa: E402
from safetensors.torch import save  # noqa: E402

from tdfusion_ros.backends import torch_network as network  # noqa: E402
from tdfusion_ros.backends.cpu import CpuBackend  # noqa: E402
from tdfusion_ros.backends.gate import check_agreement  # noqa: E402
from tdfusion_ros.core.data import RawOutput  # noqa: E402
from tdfusion_ros.core.errors import ModelError  # noqa: E402
from tdfusion_ros.nets.blocks import fold_batchnorm  # noqa: E402
from tdfusion_ros.nets.perception import build_perception  # noqa: E402
from tdfusion_ros.nets.segmenter import MaskHead  # noqa: E402
from tdfusion_ros.nets.segmenter import MaskHeadConfig  # noqa: E402

pytestmark = pytest.mark.torch
SIZE = (64, 96)


class InTorch:
    """A network on the CPU as a backend."""

    name = 'torch'

    def __init__(self, model):
        self.model = model

    def run(self, *images):
        with torch.inference_mode():
            outputs = self.model(*map(torch.from_numpy, images))
        return RawOutput(*(tensor.numpy() for tensor in outputs))


@pytest.fixture(scope='module')
def model(shipped):
    return network.load_network(shipped.architecture, shipped.weights())


@pytest.fixture(scope='module')
def untrained(shipped):
    """Return an untrained network with changed settings: ``untrained(fusion, detector)``."""

    def build(fusion=None, **detector):
        torch.manual_seed(0)
        known = {} if 'name' in detector else shipped.architecture['detector']
        architecture = {
            'fusion': fusion or shipped.architecture['fusion'],
            'detector': {**known, **detector},
        }
        return fold_batchnorm(build_perception(architecture)).requires_grad_(False)

    return build


@pytest.fixture(scope='module')
def paper(untrained):
    """Return the paper's network with half its channels, and a small detector."""
    small = {'name': 'detector', 'repeats': [0] * 5, 'widths': [8] * 5}
    return untrained({'name': 'fusion', 'width': 8}, **small)


def test_rebuilt_network_equals_the_graph_of_the_bundle(model, shipped):
    found = check_agreement(InTorch(model), CpuBackend(shipped.graph), shipped.contract, SIZE)
    assert found.image_largest <= 1
    assert found.box_px < 0.01
    assert found.score < 1e-4


@pytest.mark.parametrize(('inputs', 'masks'), [(2, False), (3, False), (3, True)])
def test_exported_network_equals_the_network_except_for_casts_to_uint8(untrained, inputs, masks):
    """For detectors of the fused image and of the sources, and with masks."""
    model = network.to_half(untrained(inputs=inputs))
    model.mask_head = MaskHead(MaskHeadConfig(('a', 'b', 'c'))).eval() if masks else None
    rgb = torch.randint(0, 256, (*SIZE, 3), dtype=torch.uint8)
    others = torch.rand(SIZE), torch.rand(SIZE)
    fused, *found = network.export(model, SIZE).module()(rgb.float(), *others)
    assert {tensor.dtype for tensor in (fused, *found)} == {torch.float32}
    assert len(found) == 2 + masks
    for got, expected in zip((fused, *found), model(rgb, *others), strict=True):
        torch.testing.assert_close(got.to(expected.dtype), expected, rtol=0, atol=0)


@pytest.mark.parametrize('inputs', [3, 4])
def test_half_precision_of_a_detector_with_pretrained_form_stays_close(shipped, inputs):
    torch.manual_seed(0)
    detector = {'name': 'yolox', 'outputs': [1, 1, 3], 'inputs': inputs}
    full = build_perception({**shipped.architecture, 'detector': detector}).eval()
    half = network.to_half(deepcopy(full))
    rgb = torch.randint(0, 256, (*SIZE, 3), dtype=torch.uint8)
    images = rgb, torch.full(SIZE, 0.5), torch.ones(SIZE)
    outputs = [model.requires_grad_(False)(*images) for model in (full, half)]
    (_, boxes, scores), (_, *found) = outputs
    assert {tensor.dtype for tensor in found} == {torch.float32}
    assert (found[0] - boxes).abs().max() < 0.5
    assert (found[1] - scores).abs().max() < 0.002


@pytest.mark.parametrize('form', ['torch', 'onnx'])
def test_half_precision_is_correct_for_real_pairs(model, shipped, demo_pairs, form):
    half = network.to_half(deepcopy(model))
    # ONNX Runtime on the CPU computes the graph in float32: only torch rounds the maps.
    bound = 0.01 if form == 'torch' else 0.002
    backend = InTorch(half) if form == 'torch' else CpuBackend(shipped.half_graph)
    reference, found = CpuBackend(shipped.graph), 0
    for pair in demo_pairs[::11]:
        ir = pair.ir.pixels / np.float32(255)
        given = pair.rgb.pixels, ir, np.ones_like(ir)
        expected, got = reference.run(*given), backend.run(*given)
        assert np.abs(expected.fused.astype(int) - got.fused).max() <= 1
        moved, best = np.abs(expected.scores - got.scores).max(1), expected.scores.max(1)
        assert moved.max() < bound
        assert moved[best > 0.05].mean() < 0.001
        boxes = np.abs(expected.boxes_xyxy - got.boxes_xyxy)[best > 0.3]
        assert boxes.max(initial=0) < 0.5
        found += len(boxes)
    assert found > 0


def test_paper_network_is_correct_in_half_precision_even_for_a_black_frame(paper, shipped):
    half = network.to_half(deepcopy(paper))
    found = check_agreement(InTorch(half), InTorch(paper), shipped.contract, SIZE)
    assert found.image_largest <= 2
    types = {name: value.dtype for name, value in half.fusion.named_parameters()}
    assert {t for n, t in types.items() if 'norm' in n or 'temperature' in n} == {torch.float32}
    assert {t for n, t in types.items() if not ('norm' in n or 'temperature' in n)} == {torch.half}


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


def test_bundle_with_an_earlier_form_of_a_network_is_refused_in_one_short_sentence(shipped):
    weights = load(shipped.weights())
    del weights['fusion.noise'], weights['fusion.wide.0.bias']
    weights['fusion.head.bias'] = weights['fusion.head.bias'][1:].clone()
    with pytest.raises(ModelError, match=r'head\.bias and 2 others .*train the model') as caught:
        network.load_network(shipped.architecture, save(weights))
    assert len(str(caught.value)) < 160
