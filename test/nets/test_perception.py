import pytest

torch = pytest.importorskip('torch')

from tdfusion_ros.nets.blocks import luma  # noqa: E402
from tdfusion_ros.nets.blocks import recolor  # noqa: E402
from tdfusion_ros.nets.perception import build_perception  # noqa: E402

pytestmark = pytest.mark.torch

ARCHITECTURE = {
    'fusion': {'name': 'fusion_rt', 'width': 8, 'depth': 3},
    'detector': {
        'name': 'detector',
        'classes': 2,
        'widths': [4, 4, 8, 8, 8],
        'repeats': [0, 0, 1, 0, 0],
        'neck': 8,
        'head': 8,
    },
}


@pytest.fixture
def outputs():
    torch.manual_seed(0)
    rgb = torch.randint(0, 256, (64, 96, 3), dtype=torch.uint8)
    return build_perception(ARCHITECTURE).eval()(rgb, torch.rand(64, 96))


def test_perception_has_no_batch_dimension_at_its_border(outputs):
    fused, boxes, scores = outputs
    assert fused.shape == (64, 96, 3)
    assert fused.dtype == torch.uint8
    assert boxes.shape == (len(scores), 4)
    assert scores.shape[1] == 2


def test_a_detector_of_two_channels_reads_the_sources_whatever_the_fused_image_is():
    detector = {**ARCHITECTURE['detector'], 'inputs': 2}
    torch.manual_seed(0)
    model = build_perception({**ARCHITECTURE, 'detector': detector}).eval()
    rgb, ir = torch.randint(0, 256, (64, 96, 3), dtype=torch.uint8), torch.rand(64, 96)
    fused, boxes, scores = model(rgb, ir)
    torch.nn.init.normal_(model.fusion.head.bias)
    changed = model(rgb, ir)
    assert not torch.equal(changed[0], fused)
    assert torch.equal(changed[1], boxes)
    assert torch.equal(changed[2], scores)
    image = torch.cat((luma(rgb.permute(2, 0, 1)[None].float()) / 255, ir[None, None]), 1)
    assert torch.equal(model.detector(image)[0][0], boxes)


def test_the_fused_image_is_what_recolor_makes_of_the_fused_luma():
    torch.manual_seed(0)
    model = build_perception(ARCHITECTURE).eval()
    rgb, ir = torch.randint(0, 256, (64, 96, 3), dtype=torch.uint8), torch.rand(64, 96)
    image = rgb.permute(2, 0, 1)[None] / 255
    expected = recolor(image, model.fusion(luma(image), ir[None, None]))[0].permute(1, 2, 0) * 255
    assert (model(rgb, ir)[0] - expected).abs().max() < 0.501


@pytest.mark.parametrize('inputs', [2, 3])
def test_detections_are_the_same_without_the_fused_image(inputs):
    torch.manual_seed(0)
    detector = {**ARCHITECTURE['detector'], 'inputs': inputs}
    model = build_perception({**ARCHITECTURE, 'detector': detector}).eval()
    rgb, ir = torch.randint(0, 256, (64, 96, 3), dtype=torch.uint8), torch.rand(64, 96)
    for alone, beside in zip(model.detect(rgb, ir), model(rgb, ir)[1:], strict=True):
        assert torch.equal(alone, beside)


def test_scores_are_probabilities(outputs):
    assert outputs[2].min() >= 0
    assert outputs[2].max() <= 1


def test_perception_returns_a_gray_scene_gray():
    rgb = torch.full((64, 64, 3), 90, dtype=torch.uint8)
    fused, _, _ = build_perception(ARCHITECTURE).eval()(rgb, torch.rand(64, 64))
    assert (fused[..., 0] == fused[..., 1]).all()
    assert (fused[..., 1] == fused[..., 2]).all()


def test_a_blend_returns_an_rgb_image_whose_ir_is_its_luma_and_flat():
    rgb = torch.tensor([200, 100, 50], dtype=torch.uint8).expand(64, 64, 3)
    luma = (0.299 * 200 + 0.587 * 100 + 0.114 * 50) / 255
    model = build_perception(ARCHITECTURE).eval()
    for layer in (model.fusion.head, model.fusion.scene[-2]):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    model.fusion.head.bias.data = torch.tensor([1.0, -1.0, -100.0, 0.0])  # a blend, nothing else
    fused, _, _ = model(rgb, torch.full((64, 64), luma))
    assert (fused.int() - rgb.int()).abs().max() <= 1
