import pytest

torch = pytest.importorskip('torch')

from tdfusion_ros.nets.detector import Detector  # noqa: E402
from tdfusion_ros.nets.fusion_rt import FusionRT  # noqa: E402

pytestmark = pytest.mark.torch


def macs(network, *inputs):
    """Count the multiply-accumulates of all convolutions for one image."""
    counts = []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(
                lambda m, _, out: counts.append(out[0].numel() * m.weight[0].numel())
            )
    with torch.inference_mode():
        network.eval()(*inputs)
    return sum(counts)


def test_fusion_network_needs_at_most_5_kmac_per_pixel():
    image = torch.rand(1, 1, 64, 96)
    assert macs(FusionRT(), image, image) <= 5e3 * 64 * 96


def test_detector_needs_at_most_1_2_gmac_at_640x480():
    assert macs(Detector(), torch.rand(1, 3, 480, 640)) <= 1.2e9
