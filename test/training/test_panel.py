from dataclasses import replace
import sys

import cv2
import numpy as np
import pytest
import torch

from training.loop.run_log import draw_panel
from training.loop.run_log import PANEL
from training.loop.run_log import panel_batch
from training.train import train
from training.train import TRAININGS

pytestmark = pytest.mark.usefixtures('tiny_detector')


@pytest.fixture
def config(short_run):
    return lambda task='fusion', **changes: short_run(
        task, **{'steps': 3, 'crop_hw': (64, 96), 'panel_every': 2, **changes}
    )


@pytest.fixture
def events():
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def read(run):
        events = EventAccumulator(run)
        events.Reload()
        return events

    return read


@pytest.mark.parametrize(('task', 'images'), [('fusion', 3), ('learned', 3 + 4)])
def test_tensorboard_shows_every_loss_and_panels_of_rgb_ir_fused_and_the_maps(
    config, samples, events, logged, task, images
):
    config = config(task, validate_every=2)
    train(config, samples)
    board, log = events(config.run), logged(config.run)
    losses = set().union(*log) - {'step'}
    [validation] = set(board.Tags()['scalars']) - losses
    log += [{f'val/{k}': v for k, v in line.items()} for line in logged(config.run, 'validation')]
    for name in (*losses, validation):
        written = {
            line.get('step', line.get('val/step')): line[name] for line in log if name in line
        }
        shown = {event.step: event.value for event in board.Scalars(name)}
        assert shown == pytest.approx(written, rel=1e-6)
    panels = board.Images(PANEL)
    assert [panel.step for panel in panels] == [0, 2]
    for panel in panels:
        picture = cv2.imdecode(np.frombuffer(panel.encoded_image_string, np.uint8), 1)
        assert picture.shape == (64, images * 96, 3)
        np.testing.assert_array_equal(picture[:, :96, ::-1], samples[0].rgb[16:80, 16:112])
        np.testing.assert_array_equal(picture[:, 96:192, 0], samples[0].ir[16:80, 16:112])
        written = cv2.imread(f'{config.run}/panels/{panel.step:06}.png')
        assert np.abs(picture.astype(int) - written).max() <= 1  # TensorBoard does not round


def test_panel_has_a_row_for_day_and_one_for_night(config, samples):
    lights = ('night', 'night', 'day', 'night')
    samples = [replace(s, strata={'light': x}) for s, x in zip(samples, lights, strict=True)]
    shown = panel_batch(samples, (64, 96))
    assert shown.names == (samples[0].name, samples[2].name)
    networks = TRAININGS['fusion'](config(), torch.device('cpu')).networks
    assert draw_panel(networks, shown).shape == (3, 2 * 64, 3 * 96)


def test_an_interrupted_run_shows_every_step_once_and_no_panel_if_none_is_wanted(
    config, samples, events, interrupt, monkeypatch
):
    from tensorboard.summary.writer import event_file_writer as writer

    # Files of one second and process are read in the order of their names, and 10 sorts before 9.
    monkeypatch.setattr(writer, '_global_uid', writer.AtomicCounter(0))
    config = config(steps=4, save_every=2, panel_every=0)
    interrupt(3, train, config, samples)
    train(config, samples)
    board = events(config.run)
    assert [event.step for event in board.Scalars('loss')] == [0, 1, 2, 3]
    assert board.Tags()['images'] == []


def test_without_tensorboard_a_run_says_so_once(config, samples, monkeypatch, capsys, logged):
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)
    config = config()
    train(config, samples)
    assert capsys.readouterr().err.count('tensorboard is not installed') == 1
    assert len(logged(config.run)) == 3
