import pytest

torch = pytest.importorskip('torch')

from tdfusion_ros.nets.blocks import fold_batchnorm  # noqa: E402
from tdfusion_ros.nets.detector import anchor_points  # noqa: E402
from tdfusion_ros.nets.detector import Detector  # noqa: E402

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
