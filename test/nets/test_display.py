import pytest

torch = pytest.importorskip('torch')

from torch.nn import functional  # noqa: E402

from tdfusion_ros.nets.display import Display  # noqa: E402
from tdfusion_ros.nets.display import DisplayConfig  # noqa: E402
from tdfusion_ros.nets.perception import build_perception  # noqa: E402

pytestmark = pytest.mark.torch
EVERYWHERE = torch.ones(1, 1, 96, 128)


@pytest.fixture
def view():
    """Return a soft coverage of a part of the image."""
    seen = functional.pad(torch.ones(1, 1, 48, 64), (33, 31, 20, 28))
    return functional.avg_pool2d(seen, 9, 1, 4) * seen


def scene(mean, contrast):
    """Return an image with stripes of this mean and standard deviation, (1, 1, 96, 128)."""
    stripes = torch.tensor([1.0, 1.0, -1.0, -1.0]).repeat(32)
    return (mean + contrast * stripes).expand(1, 1, 96, 128)


@torch.no_grad()
def test_clear_luma_by_day_comes_back_but_not_over_a_warm_person():
    luma, ir = scene(0.5, 0.15), scene(0.3, 0.02).clone()
    ir[..., 32:64, 32:64] = scene(0.6, 0.35)[..., 32:64, 32:64]
    fused = (luma + 0.5 * (ir - 0.3)).clamp(0, 1)
    kept = (Display()(luma, ir, fused, EVERYWHERE) - luma) / (fused - luma)
    assert kept[..., 100:].max() < 0.15
    assert kept[..., 40:56, 40:56].mean() > 0.5


@torch.no_grad()
def test_mean_brightness_of_a_region_comes_back_less_than_details():
    luma, ir = scene(0.5, 0.15), scene(0.3, 0.0)
    brighter, sharper = luma + 0.1, scene(0.5, 0.2)
    by_tone, by_details = (Display()(luma, ir, x, EVERYWHERE) - luma for x in (brighter, sharper))
    assert 0.05 < by_tone.mean() < 0.07
    assert by_details.abs().max() < 0.1 * 0.1


@torch.no_grad()
@pytest.mark.parametrize('luma', [scene(0.5, 0.0), scene(0.1, 0.09)], ids=['flat', 'night'])
def test_luma_that_shows_nothing_and_night_keep_the_fused_image(luma):
    fused = scene(0.3, 0.15)
    shown = Display()(luma, scene(0.3, 0.1), fused, EVERYWHERE)
    torch.testing.assert_close(shown, fused, rtol=0, atol=0.04)


@torch.no_grad()
def test_dark_images_get_brighter_in_the_same_order():
    dark = torch.linspace(0, 0.2, 128).expand(1, 1, 96, 128)
    shown = Display()(dark, dark, dark, EVERYWHERE)
    assert 0.18 < shown.mean() < 0.2
    assert (shown.diff() > 0).all()
    black = Display()(0 * dark, 0 * dark, 0.01 * EVERYWHERE, EVERYWHERE)
    assert black.max() < 0.02  # limited: noise is not stretched to an image
    bright = torch.linspace(0, 1, 128).expand(1, 1, 96, 128)
    given, plain = (dark, dark, bright, EVERYWHERE), Display(DisplayConfig(dark=0.0))
    assert torch.equal(Display()(*given), plain(*given))


@torch.no_grad()
def test_what_lies_outside_of_the_thermal_view_changes_nothing_inside(view):
    first, second = torch.rand(2, 3, 1, 1, 96, 128)
    inside = view > 0
    changed = torch.where(inside, first, second)
    one, other = Display()(*first, view), Display()(*changed, view)
    torch.testing.assert_close(one[inside], other[inside], rtol=0, atol=1e-6)
    assert (one - other).abs().max() > 0.1
    assert Display()(*first, torch.zeros_like(view)).isfinite().all()


@torch.no_grad()
def test_brightening_fades_toward_the_border_of_the_thermal_view():
    dark = torch.full((1, 1, 256, 512), 0.1)
    view = torch.zeros_like(dark)
    view[..., :256] = 1
    gain = Display()(dark, dark, dark, view)[0, 0, 128] - 0.1
    assert gain[100] > 0.08
    assert gain[250] < 0.25 * gain[100]
    assert gain[:255].diff().abs().max() < 0.02 * gain[100]


@torch.no_grad()
@pytest.mark.parametrize('inputs', [3, 4])
def test_detections_do_not_depend_on_the_display(inputs):
    torch.manual_seed(0)
    parts = {'fusion': {'name': 'fusion_rt', 'width': 8, 'depth': 3}}
    parts |= {'detector': {'name': 'yolox', 'outputs': [1, 2], 'inputs': inputs}}
    model = build_perception(parts | {'display': {'name': 'display'}}).eval()
    pair = torch.randint(0, 60, (96, 128, 3), dtype=torch.uint8), torch.rand(96, 128)
    view = EVERYWHERE[0, 0].clone()
    view[:, 64:] = 0
    fused, *found = model(*pair, view)
    model.display = None
    plain, *expected = model(*pair, view)
    assert all(map(torch.equal, found, expected))
    assert not torch.equal(fused, plain)
    assert torch.equal(fused[:, 64:], pair[0][:, 64:])
