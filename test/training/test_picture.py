import pytest
import torch

from training.method.picture import picture

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
    assert (picture(luma, flat(0.3)) - luma).abs().mean() < 2 * LEVEL


def test_a_bright_sky_that_is_cold_stays_bright():
    luma, ir = street()
    change = (picture(luma, ir) - luma)[..., :60, :]
    assert change.abs().max() < 25 * LEVEL  # the mean of both would be darker by 108


def test_mean_luma_of_a_day_image_stays():
    luma, ir = street()
    assert (picture(luma, with_box(ir, 0.9)) - luma).mean().abs() < 5 * LEVEL


def test_what_is_warm_where_luma_is_clear_does_not_darken_the_rest():
    luma, ir = flat(0.5), flat(0.1)
    luma[..., :128] += 0.15 * torch.randn(1, 1, 192, 128)
    ir[..., :128] = 0.9
    assert (picture(luma, ir) - luma).mean().abs() < 5 * LEVEL


def test_a_warm_black_car_by_day_stays_darker_than_the_road():
    luma, ir = street()
    luma, ir = with_box(luma, 0.05, 110, 90, 50, 90), with_box(ir, 0.9, 110, 90, 50, 90)
    target = picture(luma, ir)
    assert target[..., 115:155, 95:175].mean() < target[..., 170:, :].mean() - 0.1


def test_dark_clothes_before_a_bright_road_stay_dark_though_they_are_warm():
    luma, ir = with_box(street()[0], 0.08), with_box(flat(0.2), 0.7)
    change = (picture(luma, ir) - luma)[..., 85:123, 112:128]
    assert change.mean() < 20 * LEVEL  # 56 by the tone alone


def test_infrared_a_few_pixels_off_doubles_no_edge_that_luma_shows():
    luma, ir = with_box(street()[0], 0.08), with_box(flat(0.2), 0.6, x0=115)
    off, registered = picture(luma, ir), picture(luma, with_box(flat(0.2), 0.6))
    assert (off - registered).abs().max() < 25 * LEVEL


@pytest.mark.parametrize('level', [0.03, 0.5])
def test_a_person_whom_only_infrared_shows_appears_by_night_and_in_smoke(level):
    luma = flat(level) + 0.003 * torch.randn(1, 1, 192, 256)
    target = picture(luma, with_box(flat(0.2), 0.8))
    person, around = target[..., 85:123, 113:127].mean(), target[..., 85:123, 60:90].mean()
    assert person > around + 0.12


def test_faint_details_of_a_noisy_camera_are_no_details_of_the_target():
    luma = flat(0.4) + 0.002 * torch.randn(1, 1, 192, 256)
    ir = flat(0.3) + 0.002 * torch.randn(1, 1, 192, 256)
    assert picture(luma, ir).std() < 0.7 * luma.std()


def test_the_stronger_edge_counts():
    luma, ir = with_box(flat(0.4), 0.6), flat(0.5)
    ir[..., 100:] = 0.8
    target = picture(luma, ir)
    assert target[..., 100, 112] - target[..., 100, 106] > 0.15  # of luma, where infrared is flat
    assert target[..., 30, 102] - target[..., 30, 97] > 0.15  # of infrared, where luma is flat


def test_at_night_less_becomes_darker_than_by_day():
    ir = with_box(flat(0.2), 0.8, 0, 0, 192, 128)
    day, night = (picture(flat(value), ir) - value for value in (0.4, 0.1))
    assert night[..., 200:].mean() > 0.85 * day[..., 200:].mean()  # negative both
    assert night[..., :60].mean() > day[..., :60].mean()


def test_in_the_light_of_a_lamp_at_night_infrared_counts_and_by_day_it_does_not():
    lit = 0.5 + 0.15 * torch.randn(1, 1, 192, 100)
    day, night = flat(0.5), flat(0.03)
    day[..., :100] = night[..., :100] = lit
    ir = with_box(flat(0.2), 0.6, x0=40)
    place = (..., slice(85, 123), slice(42, 58))
    by_day, at_night = ((picture(luma, ir) - luma)[place].mean() for luma in (day, night))
    assert at_night > 1.2 * by_day
