import pytest

torch = pytest.importorskip('torch')

from tdfusion_ros.nets.fusion_paper import FusionPaper  # noqa: E402
from training.method.loss_net import LossNetPaper  # noqa: E402
from training.method.loss_net import LossNetRT  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.mark.parametrize('hw', [(16, 16), (17, 31), (40, 8)])
def test_paper_fusion_accepts_any_size_and_stays_within_0_and_1(hw):
    luma, ir = torch.rand(2, 2, 1, *hw)
    with torch.inference_mode():
        fused = FusionPaper()(luma, ir)
    assert fused.shape == luma.shape
    assert 0 < fused.min() <= fused.max() < 1


@pytest.mark.parametrize('network', [LossNetPaper, LossNetRT])
def test_loss_net_starts_close_to_the_fixed_loss(network):
    torch.manual_seed(0)
    # Smooth, as real images are.
    luma, ir = torch.nn.functional.interpolate(torch.rand(2, 1, 8, 8), scale_factor=8).unsqueeze(1)
    with torch.inference_mode():
        maps = network()(luma, ir)
    assert maps.abs().mean() < 0.1
    assert maps.std() < 0.1
