import pytest

torch = pytest.importorskip('torch')

from torch.nn import functional  # noqa: E402

from tdfusion_ros.backends.torch_network import to_half  # noqa: E402
from tdfusion_ros.nets.blocks import luma  # noqa: E402
from tdfusion_ros.nets.blocks import recolor  # noqa: E402
from tdfusion_ros.nets.perception import build_network  # noqa: E402
from tdfusion_ros.nets.perception import build_perception  # noqa: E402
from tdfusion_ros.nets.segmenter import best_class  # noqa: E402
from tdfusion_ros.nets.segmenter import Segmenter  # noqa: E402
from tdfusion_ros.nets.segmenter import SegmenterConfig  # noqa: E402

pytestmark = pytest.mark.torch
DETECTOR = {'name': 'detector', 'classes': 2, 'neck': 8, 'head': 8}
DETECTOR |= {'widths': [4, 4, 8, 8, 8], 'repeats': [0, 0, 1, 0, 0]}


@pytest.fixture(params=[('detector', 2), ('detector', 3), ('yolox', 3), ('yolox', 4)])
def model(request):
    """Return a small network with a detector of the sources or of the fused image (3 channels)."""
    torch.manual_seed(0)
    fusion = {'name': 'fusion_rt', 'width': 8, 'depth': 3}
    name, inputs = request.param
    small = DETECTOR if name == 'detector' else {'name': 'yolox', 'outputs': [1, 2]}
    detector = {**small, 'inputs': inputs}
    return build_perception({'fusion': fusion, 'detector': detector}).eval()


@pytest.fixture
def rgb():
    torch.manual_seed(1)
    return torch.randint(0, 256, (64, 96, 3), dtype=torch.uint8)


@pytest.fixture
def ir():
    torch.manual_seed(2)
    return torch.rand(64, 96)


def test_outputs_have_no_batch_dimension_and_the_documented_types(model, rgb, ir):
    fused, boxes, scores = model(rgb, ir, torch.ones_like(ir))
    assert fused.shape == (64, 96, 3)
    assert fused.dtype == torch.uint8
    assert boxes.shape == (len(scores), 4)
    assert scores.shape[1] == 2
    assert 0 <= scores.min() <= scores.max() <= 1


@pytest.mark.parametrize('model', [('detector', 2), ('yolox', 4)], indirect=True)
def test_detector_of_two_or_four_channels_reads_the_sources_only(model, rgb, ir):
    fused, boxes, scores = model(rgb, ir, torch.ones_like(ir))
    torch.nn.init.normal_(model.fusion.head.bias)
    changed = model(rgb, ir, torch.ones_like(ir))
    assert not torch.equal(changed[0], fused)
    assert torch.equal(changed[1], boxes)
    assert torch.equal(changed[2], scores)
    color = rgb.permute(2, 0, 1)[None].float()
    color = color if model.detector_inputs == 4 else luma(color)
    image = torch.cat((color / 255, ir[None, None]), 1)
    assert torch.equal(model.detector(image)[0][0], boxes)


def test_fused_image_is_the_recolored_fused_luma(model, rgb, ir):
    image = rgb.permute(2, 0, 1)[None] / 255
    expected = recolor(image, model.fusion(luma(image), ir[None, None]))[0].permute(1, 2, 0) * 255
    assert (model(rgb, ir, torch.ones_like(ir))[0] - expected).abs().max() < 0.501


def test_unknown_network_is_an_error_that_names_the_known_ones():
    with pytest.raises(ValueError, match="unknown network 'other'; known: fusion_rt, fusion, det"):
        build_network({'name': 'other'})


@pytest.mark.parametrize('model', [('yolox', 3), ('yolox', 4)], indirect=True)
def test_masks_are_the_best_class_of_the_head_on_what_the_detector_sees(model, rgb, ir):
    coverage = torch.ones_like(ir)
    inputs = model.detector_inputs
    segmenter = Segmenter(SegmenterConfig(('a', 'b', 'c'), inputs)).eval()
    model.detector.load_state_dict(segmenter.state_dict(), strict=False)
    noise = torch.rand(1, inputs, 64, 96)
    segmenter.head.classify.bias.data -= segmenter(noise).mean((0, 2, 3)).detach()
    without = model(rgb, ir, coverage)
    model.mask_head = segmenter.head
    *others, masks = model(rgb, ir, coverage)
    for one, other in zip(without, others, strict=True):
        assert torch.equal(one, other)
    assert masks.dtype == torch.uint8
    read = others[0] if inputs == 3 else torch.cat((rgb, 255 * ir[..., None]), -1)
    logits = segmenter(read.permute(2, 0, 1)[None] / 255)
    best = functional.interpolate(logits, (64, 96), mode='bilinear').argmax(1)[0]
    assert len(masks.unique()) > 1
    assert (masks == best).float().mean() > 0.9  # it reads unrounded levels, answers in cells
    assert (masks == best_class(logits)[0]).float().mean() > 0.98
    assert len(model(rgb, ir, coverage, segmentation=False)) == 3
    assert len(model.detect(rgb, ir, coverage)) == 2


def test_half_precision_leaves_the_mask_head_as_it_is(rgb, ir):
    torch.manual_seed(0)
    settings = {'name': 'mask_head', 'classes': ['a', 'b', 'c']}
    parts = {'fusion': {'name': 'fusion_rt'}, 'detector': {'name': 'yolox'}, 'mask_head': settings}
    half = to_half(build_perception(parts).eval())
    assert {p.dtype for p in half.mask_head.parameters()} == {torch.float32}
    assert half(rgb, ir, torch.ones_like(ir))[3].shape == (64, 96)
