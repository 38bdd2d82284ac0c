import pytest

from tdfusion_ros.core.errors import ConfigError
from training.config import recorded_settings
from training.config import RENAMED
from training.config import result_settings
from training.config import TASKS
from training.config_reader import config_from_mapping
from training.config_reader import load_config

PLACES = ['data=DATA', 'run=RUN']


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['step=3'], r"'step': did you mean steps\? python -m training.train --help lists"),
        (['task=fuse'], 'task must be one of fusion, learned'),
        (['meta_lr=1'], 'meta_lr belongs to task learned, not to fusion'),
        (['task=learned', 'source=ir'], 'source belongs to task detection and segmentation'),
        (['task=learned', 'look_ahead=2'], 'look_ahead is now called inner_steps'),
        (['task=detection', 'pull=1'], 'pull belongs to task learned, not to detection'),
        (['steps=many'], "steps must be of type int, got 'many'"),
        (['amp=1'], 'amp must be of type bool, got 1'),
        (['crop_hw=[64]'], 'crop_hw must be a list of 2 numbers'),
        (['crop_hw=[100, 96]'], 'multiples of 32'),
        (['crop_hw=[64'], 'not valid YAML'),
        (['device=tpu'], 'device must be one of auto, cpu, cuda'),
        (['workers=-2'], 'workers must be -1 or more'),
        (['panel_every=-1'], 'panel_every must be 0 or more'),
        (['validate_every=-1'], 'validate_every must be 0 or more'),
        (['task=imitation', 'imitate=a', 'views=-1'], 'views must be 0 or more'),
        (['task=detection', 'pretrained_share=2'], 'pretrained_share must be between 0 and 1'),
        (['task=imitation'], 'needs imitate=RUN'),
        (['task=detection', 'source=fused'], 'fusion=RUN, .*or choose source=early'),
        (['run=RUN'], 'data is missing: add data=FOLDER'),
        (['data=DATA'], 'run is missing: add run=FOLDER'),
        (['nowhere/a.yaml'], 'cannot read the settings file nowhere/a.yaml'),
    ],
)
def test_wrong_settings_are_refused_by_name(arguments, message):
    places = [] if message[:4] in ('data', 'run ') else PLACES
    with pytest.raises(ConfigError, match=message):
        load_config([*places, *arguments])


@pytest.mark.parametrize('text', ['- a\n- b\n', '{', b'\xff'])
def test_a_file_that_is_not_a_yaml_mapping_is_refused(tmp_path, text):
    path = tmp_path / 'a.yaml'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=r'a\.yaml'):
        load_config([str(path)])


def test_later_arguments_win_and_paths_in_a_file_are_relative_to_it(tmp_path):
    path = tmp_path / 'a' / 'b.yaml'
    path.parent.mkdir()
    lines = ['data: ../set', 'run: /runs/a', 'steps: 7', 'lr: 1e-3', 'crop_hw: [64, 96]']
    path.write_text('\n'.join(lines), encoding='utf-8')
    config = load_config(['data=DATA', str(path), 'steps=9', 'fusion=here'])
    assert (config.steps, config.lr, config.crop_hw) == (9, 1e-3, (64, 96))
    assert (config.data, config.run, config.fusion) == (str(tmp_path / 'set'), '/runs/a', 'here')


def test_settings_of_an_earlier_version_are_read_for_its_task():
    old = {'task': 'learned', 'source': 'fused', 'pull': 0.1, 'teacher': 'both', 'imitate': ''}
    config = config_from_mapping(recorded_settings(old))
    assert (config.prior_strength, config.task_networks) == (0.1, 'both')
    assert set(RENAMED.values()) <= set(vars(TASKS['learned']()))


def test_a_run_may_resume_with_other_paths_threads_and_intervals_only():
    plain = result_settings(load_config(PLACES))
    others = ['threads=9', 'device=cpu', 'workers=3', 'save_every=1', 'panel_every=0']
    assert result_settings(load_config(['data=B', 'run=C', 'fusion=D', *others])) == plain
    for setting in ('amp=true', 'validate_every=9', 'split=other'):
        assert result_settings(load_config([*PLACES, setting])) != plain
