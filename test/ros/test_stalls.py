"""A camera that hangs, dies or closes its shutter: the other one continues, marked as such."""

import numpy as np
import pytest
from rig import pictures

OK, WARN, ERROR = 0, 1, 2
TOPICS = ('detections', 'fused/image_raw', 'overlay/image_raw')


def scene(stamp_ns):
    return stamp_ns // 100_000_000 % 7


def pair(stamp_ns):
    """Return a pair of another scene than before."""
    return pictures.pair(stamp_ns, seed=scene(stamp_ns))


def frozen(stamp_ns):
    rgb, ir = pair(stamp_ns)
    ir.data = pictures.pair(0, seed=8)[1].data
    return rgb, ir


def flat(stamp_ns):
    rgb, ir = pair(stamp_ns)
    ir.data = pictures.packed(bytes(len(ir.data)))
    return rgb, ir


@pytest.fixture(scope='module')
def shared(shared_stage):
    return shared_stage.run({'ir.on_stall': 'rgb_only'}, listen=TOPICS, make_pair=pair)


@pytest.fixture
def client(shared):
    """Return a client of a node that continues with rgb only, and knows both frame rates."""
    shared.warm_up(pair)
    shared.drive_frames(10, pair)
    shared.drive(lambda: shared.latest().level == OK, pair)
    shared.forget()
    return shared


def is_marked(overlay):
    """Return whether the overlay has the red band of a warning."""
    first_row = pictures.pixels(overlay)[0]
    return bool((first_row[:, 0] > 150).all() and (first_row[:, 1] < 50).all())


def stamps(client, topic='detections'):
    return [pictures.stamp_ns(m) for m in client.received[topic]]


def check_recovery(client):
    """Check that the node fuses again, without problems, marks and repeated results."""
    client.drive(lambda: client.latest().level == OK, pair)
    assert client.statuses['inference'].message.startswith('fusing ')
    client.forget()
    client.drive_frames(10, pair)
    client.drive(lambda: len(client.received['overlay/image_raw']) >= 10, pair)
    assert not any(map(is_marked, client.received['overlay/image_raw']))
    assert client.total('exceptions') == 0
    for topic in TOPICS:
        assert stamps(client, topic) == sorted(set(stamps(client, topic)))


@pytest.mark.parametrize(
    ('make_pair', 'problem'),
    [(frozen, 'the ir image has not changed'), (flat, 'the ir image has shown no detail')],
)
def test_a_frozen_or_flat_ir_picture_is_left_out_until_it_returns(client, make_pair, problem):
    before = client.status().values
    client.drive_frames(20, make_pair)
    client.drive(lambda: client.latest().level == WARN, make_pair)
    assert problem in client.latest().message
    assert client.statuses['ir stream'].message.endswith(': rgb_only')
    assert client.statuses['inference'].message.startswith('rgb_only: ')
    values = client.status().values
    assert values['ir.picture'] == make_pair.__name__
    assert int(values['stalls.ir']) == int(before.get('stalls.ir', 0)) + 1
    last = client.received['fused/image_raw'][-1]
    assert last.header.frame_id == 'rgb_optical_frame'
    rgb = pictures.scene(scene(pictures.stamp_ns(last)))[0]
    np.testing.assert_array_equal(pictures.pixels(last), rgb)
    # At 10 Hz a stall is certain after a few frames; from then on all results are marked.
    assert len(client.received['overlay/image_raw']) >= 10
    assert all(map(is_marked, client.received['overlay/image_raw'][-10:]))
    check_recovery(client)


@pytest.mark.parametrize('camera', ['ir', 'rgb'])
def test_a_dead_camera_is_left_out_until_it_restarts(client, camera):
    other, mode = {'ir': ('rgb', 'rgb_only'), 'rgb': ('ir', 'ir_only')}[camera]
    before = int(client.status().values.get(mode, 0))
    client.withdraw(camera)
    stream = f'{camera} stream'
    client.drive(lambda: client.statuses[stream].level == ERROR, pair, (other,))
    client.drive_frames(10, pair, (other,))
    status = client.status()
    assert client.statuses[stream].message.startswith(f'no {camera} image for')
    assert client.statuses['inference'].level == WARN
    assert client.statuses['inference'].message.startswith(f'{mode}: ')
    assert status.values[f'{camera}.picture'] == 'missing'
    assert int(status.values[mode]) >= before + 10
    assert all(map(is_marked, client.received['overlay/image_raw'][-10:]))
    for topic in TOPICS:
        assert {m.header.frame_id for m in client.received[topic]} == {'rgb_optical_frame'}
    fused = client.received['fused/image_raw'][-1]
    assert (fused.height, fused.width) == pictures.SMALL_HW
    is_gray = np.ptp(pictures.pixels(fused).astype(int), axis=2).max() == 0
    assert is_gray == (camera == 'rgb')
    client.offer(camera)
    client.connect()
    check_recovery(client)


def test_by_default_the_last_good_ir_image_is_used_for_a_while_and_the_stall_is_logged(stage):
    parameters = {'sync.max_age_ms': 1000.0}
    topics = (*TOPICS, 'ir_registered/image_raw')
    client = stage.run(parameters, listen=topics, make_pair=pair)
    last = client.drive_frames(10, pair)[-1]
    before = client.results(pictures.header(last, '').stamp)['ir_registered/image_raw']
    held_before = client.total('held')
    client.forget()
    client.drive(lambda: client.latest().values['mode'] == 'rgb_only', flat)
    number = client.total('held') - held_before
    held = client.received['ir_registered/image_raw'][:number]
    assert held
    # Smoothing changes the range of 16-bit counts over time, but the scene stays.
    for message in held:
        difference = pictures.pixels(message).astype(int) - pictures.pixels(before)
        assert np.abs(difference).mean() < 8
    assert all(map(is_marked, client.received['overlay/image_raw']))
    check_recovery(client)
    assert any(
        'hold the last good one for 1 s, then rgb_only' in line
        for line in client.process.lines('WARN')
    )
    assert 'the ir camera is back after' in client.process.log()


def test_rgb_hold_gives_a_result_for_every_rgb_image_and_the_age_of_ir(stage):
    client = stage.run({'sync.mode': 'rgb_hold', 'sync.hold_max_age_ms': 400.0}, make_pair=pair)
    before, sent = client.total('dropped.busy'), client.drive_frames(3, pair)
    for _ in range(8):
        sent += client.drive_frames(1, pair)
        sent += client.drive_frames(2, pair, ('rgb',))

    def finished():
        busy = int(client.latest().values.get('dropped.busy', 0)) - before
        return len(set(sent).intersection(stamps(client))) + busy == len(sent)

    client.wait_until(finished, 'a result or a drop for every rgb image')
    assert 0.0 < float(client.status().values['ir_age_ms_p50']) <= 200.0
