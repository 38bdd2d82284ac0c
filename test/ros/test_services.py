"""The node's services, over DDS: pause, forget, save."""

import json
from pathlib import Path
from time import monotonic

import cv2
import numpy as np
import pytest
from rig import pictures

from tdfusion_ros.core.config import IrConfig
from tdfusion_ros.core.thermal import ThermalScaler
from training.data.datasets import open_dataset

pytestmark = pytest.mark.ros


@pytest.fixture
def client(stage, tmp_path):
    """Return a client of a node that saves pairs in a folder of its own."""
    stage.start_node({'save_folder': tmp_path / 'pairs'})
    client = stage.client()
    client.offer('rgb', 'ir', 'rgb_info')
    client.listen('detections')
    return client


def test_a_paused_node_takes_no_image_and_begins_again(client):
    client.warm_up(pictures.pair)
    before = client.status().values
    for _ in range(2):
        response = client.enable(False)
        assert response.success
        assert 'paused' in response.message
        client.wait_until(
            lambda: client.readers('rgb') == client.readers('ir') == 0, 'the end of subscriptions'
        )
        client.wait_until(
            lambda: client.latest().message.endswith('paused by ~/enable'), 'the diagnostics'
        )
        assert client.latest().level == 0
        assert client.status().values['backend'] == 'cpu'  # the model stays
        for name in ('rgb', 'ir', 'pairs'):  # and what was counted
            assert int(client.latest().values[name]) >= int(before[name])
        assert client.enable(True).message == 'fusing'
        client.warm_up(pictures.pair)


def test_forgetting_counts_the_waiting_frames_and_fuses_on(client):
    client.warm_up(pictures.pair)
    client.send('rgb', pictures.pair(client.next_stamp_ns())[0])
    before = client.total('rgb')
    response = client.trigger('reset_sync')
    assert response.success
    client.wait_for_count('dropped.reset', 1)
    assert client.total('rgb') == before
    client.fuse(*pictures.pair(client.next_stamp_ns()))


def test_what_cannot_be_done_now_is_said(client):
    response = client.trigger('save_pair')
    assert not response.success
    assert 'there is no pair yet' in response.message
    assert client.enable(False).success
    response = client.trigger('reset_sync')
    assert not response.success
    assert 'activate or enable' in response.message


def saved(client):
    response = client.trigger('save_pair')
    assert response.success, response.message
    return Path(response.message.partition(', a pair')[0])


def test_a_saved_pair_is_what_the_cameras_sent_and_training_data_at_once(client, tmp_path):
    client.warm_up(pictures.pair)
    client.send('rgb_info', pictures.camera_info(pictures.header(0, 'rgb_optical_frame')))
    rgb, ir = pictures.pair(client.next_stamp_ns())
    client.fuse(rgb, ir)
    path = saved(client)
    folder = tmp_path / 'pairs'
    assert path == folder / 'meta' / f'{pictures.stamp_ns(rgb)}.json'
    sent_rgb, sent_ir = pictures.scene()
    read = {
        kind: cv2.imread(str(folder / kind / f'{path.stem}.png'), cv2.IMREAD_UNCHANGED)
        for kind in ('rgb', 'ir')
    }
    np.testing.assert_array_equal(read['rgb'][..., ::-1], sent_rgb)
    np.testing.assert_array_equal(read['ir'], sent_ir)
    assert read['ir'].dtype == np.uint16
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
    assert saved(client) == path  # the same pair is not saved twice
    assert len(list(folder.rglob('*'))) == 6
    (sample,) = open_dataset(folder, 'all')
    np.testing.assert_array_equal(sample.rgb, sent_rgb)
    heat = ThermalScaler(IrConfig()).scale(sent_ir)  # as the node sees its first frame
    np.testing.assert_allclose(sample.ir / 255, heat, atol=0.5 / 255 + 1e-6)


def test_of_a_camera_alone_no_pair_is_saved(client, tmp_path):
    client.warm_up(pictures.pair)
    last = saved(client)
    client.withdraw('ir')
    begun = monotonic()
    while 'rgb_only' not in client.latest().values and monotonic() < begun + 20.0:
        client.send('rgb', pictures.pair(client.next_stamp_ns())[0])
        client.watch(monotonic() + 0.1)
    assert int(client.latest().values['rgb_only']) >= 1
    assert saved(client) == last
    assert len(list((tmp_path / 'pairs' / 'meta').iterdir())) == 1


def test_forgetting_begins_the_watch_over_a_stalled_camera_anew(client):
    client.warm_up(pictures.pair)
    begun = monotonic()
    client.withdraw('ir')
    while 'rgb_only' not in client.latest().values and monotonic() < begun + 20.0:
        client.send('rgb', pictures.pair(client.next_stamp_ns())[0])
        client.watch(monotonic() + 0.1)
    assert 'no ir image for' in client.statuses['ir stream'].message
    assert client.trigger('reset_sync').success
    client.status()
    assert 'no ir image for' not in client.statuses['ir stream'].message


def test_a_folder_that_leads_elsewhere_is_refused(client, tmp_path):
    client.warm_up(pictures.pair)
    (tmp_path / 'pairs').mkdir()
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'pairs' / 'rgb').symlink_to(tmp_path / 'elsewhere')
    response = client.trigger('save_pair')
    assert not response.success
    assert 'leads out of save_folder' in response.message
    assert not list((tmp_path / 'elsewhere').iterdir())
    (tmp_path / 'pairs' / 'rgb').unlink()
    assert saved(client).is_file()
