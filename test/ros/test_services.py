"""The node's services: enable, reset_sync and save_pair."""

import json
from pathlib import Path

import numpy as np
import pytest
from rig import pictures
from rig.stage import SLOW_NODE
from std_srvs.srv import Trigger

from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.thermal import ThermalScaler
from training.data.datasets import open_dataset


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('save_folder') / 'pairs'


@pytest.fixture(scope='module')
def shared(shared_stage, folder):
    client = shared_stage.run({'save_folder': folder})
    client.offer('rgb_info')
    client.connect()
    return client


@pytest.fixture
def client(shared):
    """Return a client of a node that saves pairs in ``folder``."""
    shared.warm_up()
    return shared


def save(client):
    response = client.trigger('save_pair')
    assert response.success, response.message
    return Path(response.message.partition(', received')[0])


def test_requests_that_cannot_be_served_say_why(client):
    assert client.enable(False).success
    for name, reason in (('save_pair', 'no pair yet'), ('reset_sync', 'activate or enable')):
        response = client.trigger(name)
        assert not response.success
        assert reason in response.message
    assert client.enable(True).message == 'fusing'


def test_a_paused_node_unsubscribes_and_keeps_its_model_and_counters(client):
    before = client.status().values
    for _ in range(2):
        response = client.enable(False)
        assert response.success
        assert 'paused' in response.message
        client.wait_until(lambda: client.readers('rgb') == client.readers('ir') == 0, 'no reader')
        client.wait_until(
            lambda: client.latest().message.endswith('paused by ~/enable'), 'the diagnostics'
        )
        status = client.status()
        assert status.level == 0
        assert status.values['backend'] == 'cpu'
        for name in ('rgb', 'ir', 'pairs'):
            assert int(status.values[name]) >= int(before[name])
        assert client.enable(True).message == 'fusing'
        client.warm_up()


def test_reset_discards_waiting_frames_and_counts_them(client):
    before = client.status().values
    client.send('rgb', pictures.pair(client.next_stamp_ns())[0])
    client.wait_for_count('rgb', int(before['rgb']) + 1)
    assert client.trigger('reset_sync').success
    client.wait_for_count('dropped.reset', int(before.get('dropped.reset', 0)) + 1)
    client.fuse(*pictures.pair(client.next_stamp_ns()))


def test_a_saved_pair_is_what_the_cameras_sent_and_a_data_set(client, tmp_path):
    client.send('rgb_info', pictures.camera_info(pictures.header(0, 'rgb_optical_frame')))
    rgb, ir = pictures.pair(client.next_stamp_ns())
    client.fuse(rgb, ir)
    path = save(client)
    folder = path.parents[1]
    assert path == folder / 'meta' / f'{pictures.stamp_ns(rgb)}.json'
    sent_rgb, sent_ir = pictures.scene()
    meta = json.loads(path.read_text())
    assert meta['skew_ms'] == 8.0
    assert meta['ir'] == {
        'stamp_ns': pictures.stamp_ns(ir),
        'frame_id': 'ir_optical_frame',
        'encoding': 'mono16',
        'size_hw': [96, 128],
    }
    assert meta['rgb']['encoding'] == 'rgb8'
    assert meta['camera_info']['rgb']['k'][0] == 554.0
    assert meta['model']['model'] == 'msrs_rt'
    assert meta['config']['save_folder'] == str(folder)
    assert save(client) == path  # the same pair is not saved twice
    assert len(list(folder.rglob('*'))) == 6
    (sample,) = open_dataset(folder, 'all')
    np.testing.assert_array_equal(sample.rgb, sent_rgb)
    scaled = ThermalScaler(IrConfig()).scale(sent_ir)  # as the node scales its first frame
    np.testing.assert_allclose(sample.ir / 255, scaled, atol=0.5 / 255 + 1e-6)


def test_frames_of_one_camera_are_not_saved_and_reset_forgets_its_stall(client, folder):
    saved = save(client)
    number = len(list((folder / 'meta').iterdir()))
    client.drive(lambda: 'no ir image' in client.statuses['ir stream'].message, streams=('rgb',))
    client.wait_for_count('rgb_only', 1)
    assert save(client) == saved
    assert len(list((folder / 'meta').iterdir())) == number
    assert client.trigger('reset_sync').success
    client.status()
    assert 'no ir image for' not in client.statuses['ir stream'].message


def test_the_node_receives_and_fuses_while_a_pair_is_being_saved(stage, block, tmp_path):
    client = stage.run({'save_folder': tmp_path / 'slow'}, script=SLOW_NODE)
    saving = block('save')
    response = client.request(Trigger, 'save_pair', Trigger.Request())
    for _ in range(5):
        client.fuse(*pictures.pair(client.next_stamp_ns()))
        assert client.trigger('reset_sync').success
    assert not response.done()
    saving.unlink()
    client.wait_until(response.done, 'the response')
    assert response.result().success
