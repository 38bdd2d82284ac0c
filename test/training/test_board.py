from dataclasses import replace
import json
import sys

import pytest

torch = pytest.importorskip('torch')
for package in ('cv2', 'safetensors', 'tqdm', 'yaml'):
    pytest.importorskip(package)

from variants import variant  # noqa: E402

from training.data.datasets import load_samples  # noqa: E402
from training.loop.board import draw_panel  # noqa: E402
from training.loop.board import PANEL  # noqa: E402
from training.loop.board import panel_batch  # noqa: E402
from training.train import make_batch  # noqa: E402
from training.train import TASK  # noqa: E402
from training.train import train  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture
def config(short_run):
    return variant(short_run(), steps=5, crop_hw=(64, 96), panel_every=2)


@pytest.fixture
def read_back():
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def read(run):
        events = EventAccumulator(run)
        events.Reload()
        return events

    return read


def logged(run):
    with open(f'{run}/log.jsonl', encoding='utf-8') as file:
        return [json.loads(line) for line in file]


@pytest.mark.parametrize('task', ['fusion', 'learned'])
def test_board_shows_every_loss_of_the_log(config, data_root, read_back, task):
    train(variant(config, task=task), load_samples(data_root, 'train'))
    events = read_back(config.run)
    log = logged(config.run)
    assert set(events.Tags()['scalars']) == set().union(*log) - {'step'}
    for name in events.Tags()['scalars']:
        written = {line['step']: line[name] for line in log if name in line}
        shown = {event.step: event.value for event in events.Scalars(name)}
        assert shown == pytest.approx(written, rel=1e-6)


@pytest.mark.parametrize(('task', 'images'), [('fusion', 3), ('learned', 4)])
def test_panel_shows_rgb_ir_fused_and_w_where_there_is_one(
    config, data_root, read_back, task, images
):
    import cv2
    import numpy as np

    samples = load_samples(data_root, 'train')
    train(variant(config, task=task), samples)
    panels = read_back(config.run).Images(PANEL)
    assert [panel.step for panel in panels] == [0, 2, 4]
    for panel in panels:
        picture = cv2.imdecode(np.frombuffer(panel.encoded_image_string, np.uint8), 1)
        assert picture.shape == (64, images * 96, 3)
        np.testing.assert_array_equal(picture[:, :96, ::-1], samples[0].rgb[16:80, 16:112])
        np.testing.assert_array_equal(picture[:, 96:192, 0], samples[0].ir[16:80, 16:112])
        written = cv2.imread(f'{config.run}/panels/{panel.step:06}.png')
        assert np.abs(picture.astype(int) - written).max() <= 1  # TensorBoard does not round


def test_panel_has_a_row_for_day_and_one_for_night(config, data_root):
    samples = load_samples(data_root, 'train')
    lights = ('night', 'night', 'day', 'night')
    samples = [replace(s, strata={'light': x}) for s, x in zip(samples, lights, strict=True)]
    shown = panel_batch(samples, (64, 96))
    assert shown.names == (samples[0].name, samples[2].name)
    networks = TASK['fusion'](config, torch.device('cpu')).networks
    assert draw_panel(networks, shown).shape == (3, 2 * 64, 3 * 96)


def test_no_panel_is_drawn_if_none_is_wanted(config, data_root, read_back):
    train(variant(config, panel_every=0), load_samples(data_root, 'train'))
    assert read_back(config.run).Tags()['images'] == []


def test_an_interrupted_run_shows_every_step_once(config, data_root, read_back, monkeypatch):
    samples = load_samples(data_root, 'train')
    config = variant(config, save_every=2)

    def make_batch_until_the_power_fails(samples, config, step):
        if step == 3:
            raise KeyboardInterrupt
        return make_batch(samples, config, step)

    with monkeypatch.context() as patch:
        patch.setattr('training.train.make_batch', make_batch_until_the_power_fails)
        with pytest.raises(KeyboardInterrupt):
            train(config, samples)
    train(config, samples)
    assert [event.step for event in read_back(config.run).Scalars('loss')] == [0, 1, 2, 3, 4]


def test_without_the_tensorboard_package_a_run_says_so_once_and_trains(
    config, data_root, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)
    train(config, load_samples(data_root, 'train'))
    assert capsys.readouterr().err.count('tensorboard is not installed') == 1
    assert len(logged(config.run)) == 5
