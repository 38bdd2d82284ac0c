"""The networks of the paper, and what the real-time ones cost beside them."""

import pytest

torch = pytest.importorskip('torch')

from tdfusion_ros.nets.detector import Detector  # noqa: E402
from tdfusion_ros.nets.fusion_paper import FusionPaper  # noqa: E402
from tdfusion_ros.nets.fusion_rt import FusionRT  # noqa: E402
from training.method.loss_net import LossNetPaper  # noqa: E402
from training.method.loss_net import LossNetRT  # noqa: E402

pytestmark = pytest.mark.torch


def macs(network, *shapes):
    """Count the multiply-accumulates of all convolutions for one image."""
    counts = []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(
                lambda m, _, out: counts.append(out[0].numel() * m.weight[0].numel())
            )
    with torch.inference_mode():
        network.eval()(*(torch.rand(shape) for shape in shapes))
    return sum(counts)


def test_fusion_needs_at_most_5_kmac_per_pixel_and_the_detector_1_2_gmac_at_640x480():
    assert macs(FusionRT(), *[(1, 1, 64, 96)] * 2) <= 5e3 * 64 * 96
    assert macs(Detector(), (1, 3, 480, 640)) <= 1.2e9


@pytest.mark.parametrize(
    ('network', 'parameters', 'macs_per_pixel'),
    [(FusionPaper, 59_856, 59_280), (LossNetPaper, 44_529, 43_968)],
)
def test_paper_networks_have_the_published_size(network, parameters, macs_per_pixel):
    assert sum(p.numel() for p in network().parameters()) == parameters
    assert macs(network(), *[(1, 1, 16, 24)] * 2) == macs_per_pixel * 16 * 24


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
