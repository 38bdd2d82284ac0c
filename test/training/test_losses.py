import pytest
import torch

from tdfusion_ros.nets.fusion_rt import FusionRT
from training.data.augmentation import Batch
from training.method.losses import fusion_loss
from training.method.losses import gradient_loss
from training.method.losses import imitation_loss
from training.method.losses import intensity_loss
from training.method.losses import sobel
from training.method.losses import sources_of

HALF = torch.tensor(0.5)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_sobel_is_zero_for_a_constant_and_eight_times_the_slope_of_a_ramp():
    assert sobel(torch.full((1, 1, 8, 8), 0.9)).abs().max() < 1e-6  # also at the border
    inner = sobel((torch.arange(8.0) * 0.1).expand(1, 1, 8, 8))[..., 1:-1, 1:-1]
    torch.testing.assert_close(inner[:, 0], torch.full((1, 6, 6), 0.8))
    assert inner[:, 1].abs().max() < 1e-6


def test_fusing_an_image_with_itself_or_imitating_it_has_no_loss():
    image = torch.rand(1, 1, 16, 16)
    assert fusion_loss(image, image, image, HALF)['loss'] == 0
    assert imitation_loss(image, image)['loss'] == 0


def test_gradient_loss_targets_the_stronger_signed_gradient_in_x_and_y_separately():
    columns = torch.rand(1, 1, 1, 16).expand(1, 1, 16, 16)
    rows = torch.rand(1, 1, 16, 1).expand(1, 1, 16, 16)
    flat = torch.full((1, 1, 16, 16), 0.5)
    assert gradient_loss(columns, columns, flat) == gradient_loss(columns, flat, columns) == 0
    assert gradient_loss(1 - columns, columns, flat) > 0.1
    assert gradient_loss(columns + rows, columns, rows) < 1e-5


def test_intensity_loss_takes_a_map_of_weights_and_gives_it_a_gradient():
    y, ir = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    weight_ir = torch.zeros(1, 1, 4, 4)
    weight_ir[..., :2] = 1.0
    fused = weight_ir.clone()
    assert intensity_loss(fused, y, ir, weight_ir) == 0
    weight_ir.requires_grad_()
    intensity_loss(torch.full_like(fused, 0.3), y, ir, weight_ir).backward()
    # Moving weight to ir costs (0.3 - 1)^2 and saves (0.3 - 0)^2 at each of 16 pixels.
    torch.testing.assert_close(weight_ir.grad, torch.full_like(fused, (0.49 - 0.09) / 16))


def test_imitation_counts_dark_differences_and_edges_and_rises_from_below_black():
    dark, bright = torch.full((1, 1, 16, 16), 0.0), torch.full((1, 1, 16, 16), 0.9)
    of_dark, of_bright = (imitation_loss(image + 0.05, image) for image in (dark, bright))
    torch.testing.assert_close(of_dark['intensity'], 10 * of_bright['intensity'])
    assert of_dark['gradient'] < 1e-5
    shown = torch.full((1, 1, 16, 16), 0.5)
    mixed = shown.clone()
    mixed[..., 8:] += 0.1
    plain, heavy = (imitation_loss(mixed, shown, weight) for weight in (1.0, 3.0))
    assert plain['gradient'] > 0.05
    torch.testing.assert_close(heavy['loss'], plain['loss'] + 2 * plain['gradient'])
    mixed = torch.full((1, 1, 16, 16), -0.1, requires_grad=True)
    (slope,) = torch.autograd.grad(imitation_loss(mixed, torch.zeros(1, 1, 16, 16))['loss'], mixed)
    assert (slope < 0).all()


def test_what_lies_outside_of_the_thermal_view_contributes_nothing_to_the_loss():
    rgb, ir = torch.rand(1, 3, 32, 64), torch.rand(1, 1, 32, 64)
    coverage = torch.zeros(1, 1, 32, 64)
    coverage[..., 8:24, 8:40] = 1
    none = torch.zeros(1, 0)
    batch = Batch(('a',), rgb, ir * coverage, none, none, none, coverage=coverage)
    pair = batch.pair
    luma, seen = sources_of(pair)
    assert torch.equal(seen[coverage == 0], luma[coverage == 0])
    torch.testing.assert_close(seen[coverage == 1], ir[coverage == 1])
    fused = FusionRT()(*pair)
    whole = fusion_loss(fused, luma, seen, HALF)['loss'] * 32 * 64
    # Sobel reaches a pixel out, and its replicated border another one.
    parts = [image[..., 6:26, 6:42] for image in (fused, luma, seen)]
    torch.testing.assert_close(whole, fusion_loss(*parts, HALF)['loss'] * parts[0].numel())
