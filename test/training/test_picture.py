import pytest

torch = pytest.importorskip('torch')

from training.method.picture import picture  # noqa: E402
from training.method.picture import picture_loss  # noqa: E402

pytestmark = pytest.mark.torch
LEVEL = 1 / 255


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def flat(value, height=192, width=256):
    return torch.full((1, 1, height, width), value)


def with_box(image, value, y0=80, x0=110, height=48, width=20):
    image = image.clone()
    image[..., y0 : y0 + height, x0 : x0 + width] = value
    return image


def street():
    """Return luma and infrared of a street by day: bright sky, cold in infrared, and texture."""
    luma, ir = flat(0.45), flat(0.5)
    luma[..., 80:, :] += 0.06 * torch.randn(1, 1, 112, 256)
    luma[..., :80, :], ir[..., :80, :] = 0.95, 0.1
    return luma, ir


def test_where_infrared_is_constant_a_day_image_stays_as_it_is():
    luma = street()[0]
    assert (picture(luma, flat(0.3)).target - luma).abs().mean() < 2 * LEVEL


def test_a_bright_sky_that_is_cold_stays_bright():
    luma, ir = street()
    change = (picture(luma, ir).target - luma)[..., :60, :]
    assert change.abs().max() < 25 * LEVEL  # the mean of both would be darker by 108


def test_mean_luma_of_a_day_image_stays():
    luma, ir = street()
    assert (picture(luma, with_box(ir, 0.9)).target - luma).mean().abs() < 5 * LEVEL


def test_a_warm_black_car_by_day_stays_black():
    luma, ir = street()
    luma, ir = with_box(luma, 0.05, 110, 90, 50, 90), with_box(ir, 0.9, 110, 90, 50, 90)
    assert picture(luma, ir).target[..., 115:155, 95:175].mean() < 0.1


@pytest.mark.parametrize('level', [0.03, 0.5])
def test_a_person_whom_only_infrared_shows_appears_by_night_and_in_smoke(level):
    luma = flat(level) + 0.003 * torch.randn(1, 1, 192, 256)
    target = picture(luma, with_box(flat(0.2), 0.8)).target
    person, around = target[..., 85:123, 113:127].mean(), target[..., 85:123, 60:90].mean()
    assert person > around + 0.12


def test_noise_of_either_camera_is_no_detail_of_the_target():
    luma = flat(0.4) + 0.006 * torch.randn(1, 1, 192, 256)
    ir = flat(0.3) + 0.006 * torch.randn(1, 1, 192, 256)
    assert picture(luma, ir).target.std() < 0.7 * luma.std()


def test_the_stronger_gradient_counts_at_night_and_not_in_a_bright_sky():
    luma, ir = street()
    assert picture(luma, ir).freedom[..., :60, :].max() < 0.1
    assert picture(flat(0.02), with_box(flat(0.1), 0.9)).freedom.min() > 0.9


def test_the_target_itself_has_the_smallest_loss_where_it_is_free_of_the_stronger_gradient():
    luma, ir = street()
    target = picture(luma, ir).target
    least = picture_loss(target, luma, ir)['loss']
    for other in (luma, ir, (luma + ir) / 2):
        assert least < picture_loss(other, luma, ir)['loss']
