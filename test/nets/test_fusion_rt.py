from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from torch.nn import functional  # noqa: E402

from tdfusion_ros.core.coverage import soft  # noqa: E402
from tdfusion_ros.nets.blocks import luma  # noqa: E402
from tdfusion_ros.nets.blocks import recolor  # noqa: E402
from tdfusion_ros.nets.fusion_paper import FusionPaper  # noqa: E402
from tdfusion_ros.nets.fusion_rt import bilinear_kernels  # noqa: E402
from tdfusion_ros.nets.fusion_rt import FusionRT  # noqa: E402
from tdfusion_ros.nets.fusion_rt import FusionRTConfig  # noqa: E402
from tdfusion_ros.nets.fusion_rt import LARGEST_GAIN  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def constant(*bias, scale=2):
    """Return a network whose maps depend only on biases: ir, luma, offset, both gains."""
    network = FusionRT(FusionRTConfig(scale=scale))
    torch.nn.init.zeros_(network.head.weight)
    network.head.bias.data = torch.tensor(bias)
    for values in network.scene[-1].parameters():
        torch.nn.init.zeros_(values)
    return network


def steady(**size):
    return FusionRT(FusionRTConfig(**size, steady=True))


def test_fused_luma_keeps_range_and_shape():
    y, ir = torch.rand(2, 2, 1, 32, 64)
    fused = FusionRT()(y, ir)
    assert fused.shape == y.shape
    assert 0 <= fused.min() <= fused.max() <= 1


@pytest.mark.parametrize('size', [(32, 48), (100, 64)])
def test_sides_that_are_no_multiples_of_32_are_refused_by_name(size):
    with pytest.raises(ValueError, match=f'multiples of 32, got {size[0]}x{size[1]}'):
        FusionRT()(*torch.rand(2, 1, 1, *size))


@pytest.mark.parametrize('scale', [2, 4])
def test_maps_are_interpolated_as_torch_does(scale):
    cells = torch.rand(2, 1, 5, 7)
    padded = functional.pad(cells, (1, 1, 1, 1), mode='replicate')
    pixels = functional.conv2d(padded, bilinear_kernels(scale))
    expected = functional.interpolate(cells, scale_factor=float(scale), mode='bilinear')
    torch.testing.assert_close(functional.pixel_shuffle(pixels, scale), expected)


def test_maps_have_no_checkerboard():
    maps = FusionRT().maps(*torch.rand(2, 1, 1, 32, 32))
    checkerboard = 1.0 - 2.0 * (torch.arange(32)[:, None] + torch.arange(32)).remainder(2)
    for found in maps:
        inner = (found * checkerboard)[..., 2:-2, 2:-2]
        assert inner.mean().abs() < 0.02 * found.std()


def test_weights_of_sum_1_without_gain_and_offset_keep_equal_sources():
    network = constant(1.0, -1.0, 0.0, -100.0, -100.0)  # weights s(1) + s(-1) = 1
    image = torch.full((1, 1, 32, 32), 0.4)
    torch.testing.assert_close(network(image, image), image)


@pytest.mark.parametrize(('bias', 'offset'), [(-100.0, -0.5), (100.0, 0.5)])
def test_weights_are_independent_the_offset_is_at_most_a_half_and_only_forward_clamps(
    bias, offset
):
    network = constant(100.0, 100.0, bias, -100.0, -100.0)
    y, ir = torch.full((1, 1, 32, 32), 0.6), torch.full((1, 1, 32, 32), 0.5)
    torch.testing.assert_close(network.mix(y, ir), y + ir + offset)
    torch.testing.assert_close(network(y, ir), (y + ir + offset).clamp(max=1.0))


def test_each_pixel_depends_on_the_far_side_of_the_scene():
    y, ir = torch.rand(2, 1, 1, 32, 192)
    changed = ir.clone()
    changed[..., 160:] = 1.0
    network = FusionRT(FusionRTConfig(depth=3))
    before, after = network(y, ir)[..., :32], network(y, changed)[..., :32]
    assert (before - after).abs().max() > 1e-6
    network.scene[-1].weight.data.zero_()
    torch.testing.assert_close(network(y, changed)[..., :32], network(y, ir)[..., :32])


@torch.no_grad()
def test_each_pixel_depends_on_its_surroundings_of_64_pixels_without_the_scene():
    y, ir = torch.rand(2, 1, 1, 32, 256)
    changed = ir.clone()
    changed[..., 70:100] = 1.0
    network = FusionRT(FusionRTConfig(width=16, depth=3))
    network.scene[-1].weight.zero_()
    torch.nn.init.normal_(network.wide[-1].weight)
    assert (network(y, ir) - network(y, changed))[..., :32].abs().max() > 1e-6
    changed[..., 70:100] = ir[..., 70:100]
    changed[..., 160:] = 1.0
    torch.testing.assert_close(network(y, changed)[..., :32], network(y, ir)[..., :32])


def test_constant_image_has_no_detail_even_at_the_border():
    image = torch.full((1, 1, 32, 32), 0.7)
    assert constant(-100.0, -100.0, 0.0, 100.0, 100.0).mix(image, image).abs().max() < 1e-6


def details(y, ir, steady=False):
    """Return the details that a network with a gain of 1 takes from two sources."""
    one = float(torch.tensor(1 / LARGEST_GAIN).logit())
    network = constant(-100.0, -100.0, 0.0, one, one)
    network.config = replace(network.config, steady=steady)
    return network.mix(y, ir)


def test_steady_details_are_shared_by_the_strength_of_cells_and_not_of_pixels():
    """Luma has the pattern of a checkerboard and infrared of stripes, twice and once as strong."""
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing='ij')
    y = 0.5 + 0.2 * (1.0 - 2.0 * (rows + columns).remainder(2))[None, None]
    ir = 0.5 + 0.1 * (1.0 - 2.0 * columns.remainder(2).expand(64, 64))[None, None]
    expected = (4 * (y - 0.5) + ir - 0.5) / 5
    found = details(y, ir, steady=True)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
    assert (details(y, ir) - expected).abs().max() < 1e-3  # equal where all pixels are alike
    y[..., ::2, :] = 0.5
    pixels = details(y, ir)[..., 8:-8:2, 8:-8]
    assert (pixels - (ir - 0.5)[..., 8:-8:2, 8:-8]).abs().max() < 2e-3
    assert details(y, ir, steady=True)[..., 8:-8:2, 8:-8].abs().max() < 0.04  # 1/3 of infrared


def test_detail_is_the_difference_from_surrounding_cells_in_the_source_where_it_is_larger():
    y, ir = torch.rand(1, 1, 32, 64), 0.01 * torch.rand(1, 1, 32, 64)
    cells = y.unfold(2, 2, 2).unfold(3, 2, 2).mean((-2, -1))
    around = cells.unfold(2, 3, 1).unfold(3, 3, 1).mean((-2, -1))  # of inner cells
    smooth = functional.interpolate(around, scale_factor=2, mode='bilinear')
    expected = y[..., 4:-4, 4:-4] - smooth[..., 2:-2, 2:-2]
    strong = expected.abs() > 0.2  # far more than infrared and noise
    found = details(y, ir)[..., 4:-4, 4:-4]
    torch.testing.assert_close(found[strong], expected[strong], atol=0.01, rtol=0)


def test_detail_changes_little_where_a_little_noise_changes_which_source_is_stronger():
    """Without a hard switch, a change of both sources is not amplified."""
    y = 0.5 + 0.05 * torch.randn(1, 1, 64, 64)
    ir = 1 - y  # details of equal strength and opposite sign
    noise = 0.002 * torch.randn(2, 1, 1, 64, 64)
    change = (details(y + noise[0], ir + noise[1]) - details(y, ir)).abs().mean()
    assert change < 2 * noise.abs().mean()


@pytest.mark.parametrize('steady', [False, True])
def test_details_far_below_noise_are_left_out(steady):
    weak = 0.5 + 0.001 * torch.randn(2, 1, 1, 64, 64)
    assert details(*weak, steady).std() < 0.1 * weak.std()


def test_recolor_equals_replacing_y_in_opencvs_ycrcb():
    cv2 = pytest.importorskip('cv2')
    rgb = 0.3 + 0.2 * torch.rand(1, 3, 16, 16)
    fused = (luma(rgb) + 0.05).clamp(0, 1)
    ycrcb = cv2.cvtColor(rgb[0].permute(1, 2, 0).numpy(), cv2.COLOR_RGB2YCrCb)
    ycrcb[..., 0] = fused[0, 0].numpy()
    expected = torch.from_numpy(cv2.cvtColor(ycrcb, cv2.COLOR_YCrCb2RGB)).permute(2, 0, 1)
    torch.testing.assert_close(recolor(rgb, fused)[0], expected, atol=2e-3, rtol=0)


@pytest.fixture(params=[FusionRT, steady, FusionPaper])
def trained(request):
    """Return a network whose parts all matter, as after training."""
    torch.manual_seed(0)
    network = request.param()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


@pytest.fixture
def view():
    """Return a coverage of the middle, soft at its border, (1, 1, 96, 128)."""
    seen = np.zeros((96, 128), bool)
    seen[20:70, 33:101] = True
    return torch.from_numpy(soft(seen))[None, None]


@torch.no_grad()
def test_what_lies_outside_of_the_thermal_view_changes_nothing_inside(trained, view):
    first, second = torch.rand(2, 2, 1, 1, 96, 128)
    inside = view > 0
    changed = torch.where(inside, first, second)
    one, other = trained(*first, view), trained(*changed, view)
    torch.testing.assert_close(one[inside], other[inside], rtol=0, atol=1e-6)
    assert (one - other).abs().max() > 0.1


@torch.no_grad()
def test_outside_of_the_thermal_view_fused_is_luma(trained, view):
    y, ir = torch.rand(2, 1, 1, 96, 128)
    assert torch.equal(trained(y, ir, view)[view == 0], y[view == 0])
    assert not torch.equal(trained(y, ir, view)[view == 1], y[view == 1])
    nothing = torch.zeros_like(view)
    assert torch.equal(trained(y, ir, nothing), y)
    assert trained.covered(y, ir, nothing).isfinite().all()


@torch.no_grad()
def test_full_coverage_equals_no_coverage(trained):
    y, ir = torch.rand(2, 2, 1, 64, 96)
    difference = trained(y, ir, torch.ones_like(y)) - trained(y, ir)
    assert difference.abs().max() < 1e-6


@torch.no_grad()
@pytest.mark.parametrize('make', [lambda **size: FusionRT(FusionRTConfig(**size)), steady])
def test_edge_of_the_thermal_view_acts_as_the_edge_of_an_image(make):
    """
    Within a view of whole cells, all maps except the base equal the cut-out's, up to the border.

    The base is not: toward the border it takes the mean change of brightness back.
    """
    torch.manual_seed(0)
    network = make(width=16, depth=2, scale=4).eval()
    y, ir = torch.rand(2, 1, 1, 96, 128)
    view = torch.zeros_like(y)
    view[..., 16:80, 32:96] = 1
    part = [image[..., 16:80, 32:96] for image in (y, ir)]
    whole = [m[..., 16:80, 32:96] for m in network.maps(y, ir, view)[1:]]
    for got, alone in zip(whole, network.maps(*part)[1:], strict=True):
        torch.testing.assert_close(got[..., 4:-4, 4:-4], alone[..., 4:-4, 4:-4])


def test_nothing_seen_gives_finite_gradients(trained):
    y, ir = torch.rand(2, 1, 1, 64, 64)
    trained(y, ir, torch.zeros_like(y)).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in trained.parameters())


@torch.no_grad()
def test_brightness_of_a_region_fades_toward_the_border_and_hot_objects_do_not():
    darker = constant(-100.0, 100.0, -1.0, -100.0, -100.0, scale=4)  # luma plus a negative offset
    luma, ir = torch.full((2, 1, 1, 256, 512), 0.6)
    view = torch.zeros_like(luma)
    view[..., :256] = 1
    change = (darker(luma, ir, view) - luma)[0, 0, 128]
    drop = torch.tensor(-1.0).sigmoid() - 0.5
    torch.testing.assert_close(change[:140], drop.expand(140))  # far inside all of it
    assert change[250].abs() < 0.25 * drop.abs()
    assert change[:255].diff().abs().max() < 0.02 * drop.abs()  # over about 100 px, without a step
    assert (change[256:] == 0).all()

    one = float(torch.tensor(1 / LARGEST_GAIN).logit())
    of_ir = constant(100.0, -100.0, 0.0, -100.0, one, scale=4)  # infrared alone
    ir[..., 120:140, 225:235] += 0.3
    fused = of_ir(luma, ir, view)[0, 0, 130]
    assert fused[230] - fused[210] > 0.25
