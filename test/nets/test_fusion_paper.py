import pytest

torch = pytest.importorskip('torch')

from tdfusion_ros.nets.fusion import FusionPaper  # noqa: E402
from training.method.loss_net import LossNetPaper  # noqa: E402
from training.method.loss_net import LossNetRT  # noqa: E402

pytestmark = pytest.mark.torch


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def macs_per_pixel(network, height=16, width=24):
    counts = []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(
                lambda m, _, out: counts.append(out[0].numel() * m.weight[0].numel())
            )
    image = torch.rand(1, 1, height, width)
    with torch.inference_mode():
        network(image, image)
    return sum(counts) / (height * width)


def test_paper_networks_have_the_size_that_the_authors_have():
    assert parameters(FusionPaper()) == 59_856
    assert parameters(LossNetPaper()) == 44_529
    assert macs_per_pixel(FusionPaper()) == 59_280
    assert macs_per_pixel(LossNetPaper()) == 43_968


@pytest.mark.parametrize('hw', [(16, 16), (17, 31), (40, 8)])
def test_paper_fusion_takes_any_size_and_stays_within_0_and_1(hw):
    luma, ir = torch.rand(2, 2, 1, *hw)
    with torch.inference_mode():
        fused = FusionPaper()(luma, ir)
    assert fused.shape == luma.shape
    assert fused.min() > 0
    assert fused.max() < 1


@pytest.mark.parametrize('network', [LossNetPaper, LossNetRT])
def test_loss_net_starts_close_to_one_half_everywhere(network):
    torch.manual_seed(0)
    # Smooth, as pictures are.
    luma, ir = torch.nn.functional.interpolate(torch.rand(2, 1, 8, 8), scale_factor=8).unsqueeze(1)
    with torch.inference_mode():
        weight = network()(luma, ir)
    assert weight.mean() == pytest.approx(0.5, abs=0.02)
    assert weight.std() < 0.02


def test_swapping_the_sources_is_no_exact_symmetry():
    luma, ir = torch.rand(2, 1, 1, 16, 16)
    network = LossNetPaper()
    with torch.inference_mode():
        assert not torch.allclose(network(luma, ir), 1 - network(ir, luma), atol=1e-6)
