import pytest

pytest.importorskip('yaml')

from tdfusion_ros.core.errors import ConfigError
from training.config import facts
from training.config import load_config

pytestmark = pytest.mark.torch


def test_config_names_the_misspelt_key_and_the_known_ones():
    with pytest.raises(ConfigError, match=r"'step'.*known:.*steps"):
        load_config(['step=3'])


def test_config_refuses_a_value_of_the_wrong_type_and_names_its_key():
    with pytest.raises(ConfigError, match='steps must be int'):
        load_config(['steps=many'])


def test_later_arguments_win_over_earlier_ones(tmp_path):
    path = tmp_path / 'a.yaml'
    path.write_text('steps: 7\nlr: 1e-3\ncrop_hw: [64, 96]\n', encoding='utf-8')
    config = load_config([str(path), 'steps=9'])
    assert (config.steps, config.lr, config.crop_hw) == (9, 1e-3, (64, 96))


def test_config_refuses_a_crop_that_the_networks_cannot_take():
    with pytest.raises(ConfigError, match='multiples of 32'):
        load_config(['crop_hw=[100, 96]'])


def test_detector_on_fused_images_asks_for_a_fusion_run():
    with pytest.raises(ConfigError, match='fusion=RUN'):
        load_config(['task=detection', 'source=fused'])


@pytest.mark.parametrize('setting', ['device=tpu', 'workers=-2', 'panel_every=-1'])
def test_config_refuses_what_no_machine_has(setting):
    with pytest.raises(ConfigError, match=setting.partition('=')[0]):
        load_config([setting])


def test_how_a_run_is_carried_out_is_no_fact_that_a_run_must_keep_to():
    plain = load_config([])
    other = load_config(['threads=9', 'device=cpu', 'workers=3', 'save_every=1', 'panel_every=0'])
    assert facts(other) == facts(plain)
    assert facts(load_config(['amp=true'])) != facts(plain)
    assert facts(load_config(['validate_every=9'])) != facts(plain)
