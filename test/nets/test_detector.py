import pytest

torch = pytest.importorskip('torch')

from tdfusion_ros.nets.blocks import fold_batchnorm  # noqa: E402
from tdfusion_ros.nets.detector import anchor_points  # noqa: E402
from tdfusion_ros.nets.detector import Detector  # noqa: E402
from tdfusion_ros.nets.yolox import joint_logit  # noqa: E402
from tdfusion_ros.nets.yolox import Yolox  # noqa: E402
from tdfusion_ros.nets.yolox import YoloxConfig  # noqa: E402

pytestmark = pytest.mark.torch


def test_detector_returns_a_box_around_each_cell_of_strides_8_16_and_32():
    boxes, logits = Detector().eval()(torch.rand(2, 3, 64, 96))
    cells = 8 * 12 + 4 * 6 + 2 * 3
    assert boxes.shape == (2, cells, 4)
    assert logits.shape == (2, cells, 3)
    boxes, _ = Detector().eval()(torch.rand(1, 3, 64, 64))
    points = torch.cat([anchor_points((64 // s, 64 // s), s, boxes.device) for s in (8, 16, 32)])
    assert (boxes[0, :, :2] <= points).all()
    assert (boxes[0, :, 2:] >= points).all()


def test_folded_detector_matches_the_one_with_batchnorm():
    torch.manual_seed(0)
    detector = Detector()
    with torch.no_grad():
        for _ in range(3):  # statistics that differ from the initial ones
            detector(torch.rand(4, 3, 64, 64))
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected = detector.eval()(image)
        got = fold_batchnorm(detector)(image)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in detector.modules())
    torch.testing.assert_close(got, expected, atol=1e-3, rtol=1e-3)


@pytest.fixture(scope='module')
def yolox():
    torch.manual_seed(0)
    return Yolox(YoloxConfig((1, 2))).eval()


def test_yolox_has_the_published_size_of_0_91_million_less_the_folded_norms():
    parameters = sum(p.numel() for p in Yolox(YoloxConfig((1,) * 80)).parameters())
    assert 0.90e6 < parameters < 0.91e6


@torch.inference_mode()
def test_boxes_are_centers_relative_to_the_corner_of_a_cell_and_log_sides(yolox):
    image = torch.rand(1, 3, 64, 96)
    raw = yolox.raw(yolox.features(image))[1].boxes[0]
    boxes = yolox(image)[0][0, 96 : 96 + 24]
    corners = anchor_points((4, 6), 16, boxes.device) - 8
    torch.testing.assert_close((boxes[:, :2] + boxes[:, 2:]) / 2, corners + 16 * raw[:, :2])
    torch.testing.assert_close(boxes[:, 2:] - boxes[:, :2], 16 * raw[:, 2:].exp())


@torch.inference_mode()
def test_the_score_is_objectness_times_the_best_probability_of_the_outputs_of_a_class(yolox):
    image = torch.rand(1, 3, 32, 32)
    raw = torch.cat(
        [torch.cat(level[1:], -1) for level in yolox.raw(yolox.features(image))], 1
    ).sigmoid()
    expected = raw[..., :1] * torch.stack((raw[..., 1], raw[..., 2:].amax(-1)), -1)
    torch.testing.assert_close(yolox(image)[1].sigmoid(), expected)


def test_the_logit_of_a_score_keeps_its_gradient_where_probabilities_round():
    logits = torch.tensor([-80.0, -30.0, 0.0, 30.0, 80.0], requires_grad=True)
    joint = joint_logit(logits[:, None], logits)
    assert joint.isfinite().all()
    assert joint[0, 0] == -160
    joint.sum().backward()
    assert (logits.grad > 0).all()


@torch.inference_mode()
def test_a_box_has_a_finite_size_for_any_weights():
    torch.manual_seed(0)
    detector = Yolox().eval()
    for head in detector.heads:
        head.boxes.bias.fill_(1000.0)
    assert detector(torch.rand(1, 3, 32, 32))[0].isfinite().all()
