"""A camera that hangs, dies or shows its shutter: the rest goes on, marked, until it is back."""

from time import monotonic

import numpy as np
import pytest
from rig import pictures

pytestmark = pytest.mark.ros

OK, WARN, ERROR = 0, 1, 2
TOPICS = ('detections', 'fused/image_raw', 'overlay/image_raw')
RED = 150  # the red of the overlay's warning band is above, its green far below


def pair(stamp_ns, **faults):
    """Return the pair of a time: each time another scene, but for what has a fault."""
    seed = stamp_ns // 100_000_000 % 7
    rgb, ir = pictures.pair(stamp_ns, seed=seed)
    if 'frozen' in faults:
        ir.data = pictures.pair(0, seed=8)[1].data
    if 'flat' in faults:
        ir.data = pictures.packed(bytes(len(ir.data)))
    return rgb, ir


def drive(client, seconds, *, without=(), until=lambda: False, **faults):
    """Send both cameras at 10 Hz, stamped so; return the stamps that were sent."""
    begun = at = monotonic()
    stamps_ns = []
    while at < begun + seconds and not until():
        stamps_ns.append(client.next_stamp_ns())
        for name, message in zip(('rgb', 'ir'), pair(stamps_ns[-1], **faults), strict=True):
            if name not in without:
                client.send(name, message)
        at = max(at + 0.1, monotonic())
        client.watch(at)
    return stamps_ns


@pytest.fixture
def rig(stage):
    """Return a node that goes on with rgb alone, and a client that has been understood."""
    node = stage.start_node({'ir.on_stall': 'rgb_only'})
    client = stage.client()
    client.offer('rgb', 'ir')
    client.listen(*TOPICS)
    client.warm_up(pair)
    drive(client, 1.0)
    client.wait_until(lambda: client.latest().level == OK, 'a node without complaints')
    return node, client


def marked(client):
    """Return for each overlay by its stamp whether a warning stands on it."""
    return {
        pictures.stamp_ns(m): bool(
            (pictures.pixels(m)[0, :, 0] > RED).all() and (pictures.pixels(m)[0, :, 1] < 50).all()
        )
        for m in client.received['overlay/image_raw']
    }


def stamps(client, topic='detections'):
    return [pictures.stamp_ns(m) for m in client.received[topic]]


def check_recovery(node, client, camera):
    """See the node fuse again, without complaint and without a mark, and say so once."""
    drive(client, 20.0, until=lambda: client.latest().level == OK)
    assert client.statuses['inference'].message.startswith('fusing ')
    assert any(f'the {camera} camera is back after' in line for line in node.lines('INFO'))
    client.forget()
    drive(client, 1.0)
    assert marked(client)
    assert not any(marked(client).values())
    assert client.total('exceptions') == 0
    for topic in TOPICS:
        assert stamps(client, topic) == sorted(set(stamps(client, topic)))


@pytest.mark.parametrize('fault', ['frozen', 'flat'])
def test_ir_that_stands_still_or_shows_a_shutter_is_left_out_and_comes_back(rig, fault):
    node, client = rig
    client.forget()
    sent = drive(client, 2.0, **{fault: True})
    client.wait_until(lambda: client.latest().level == WARN, 'a warning')
    sentence = {'frozen': 'has not changed', 'flat': 'has shown no detail'}
    assert f'the ir image {sentence[fault]}' in client.latest().message
    assert client.statuses['ir stream'].message.endswith(': rgb_only')
    assert client.statuses['inference'].message.startswith('rgb_only: ')
    values = client.status().values
    assert values['ir.picture'] == fault
    assert int(values['rgb_only']) >= 10
    assert int(values['stalls.ir']) == 1
    told = [line for line in node.lines('WARN') if 'ir stream:' not in line]
    assert len(told) == 1  # besides the summary of every ten seconds
    late = [at for at in sent if at > sent[0] + 500_000_000]
    marks = marked(client)
    assert all(marks[at] for at in late if at in marks)
    assert sum(at in marks for at in late) >= len(late) - 2
    # What is shown meanwhile is the rgb image itself.
    last = client.received['fused/image_raw'][-1]
    assert last.header.frame_id == 'rgb_optical_frame'
    rgb = pictures.scene(pictures.stamp_ns(last) // 100_000_000 % 7)[0]
    np.testing.assert_array_equal(pictures.pixels(last), rgb)
    check_recovery(node, client, 'ir')


def test_by_default_the_last_good_ir_image_is_held_for_a_while_and_marked(stage):
    node = stage.start_node({'sync.max_age_ms': 1000.0})
    client = stage.client()
    client.offer('rgb', 'ir')
    client.listen(*TOPICS, 'ir_registered/image_raw')
    client.warm_up(pair)
    drive(client, 1.0)
    before = client.received['ir_registered/image_raw'][-1]
    client.forget()
    drive(client, 0.8, flat=True)
    status = client.status()
    assert status.level == WARN
    assert 'hold the last good one for 1 s, then rgb_only' in status.message
    assert status.values['mode'] == 'held'
    held = client.received['ir_registered/image_raw']
    assert len(held) >= 5
    # Two ranges, as 16-bit counts are scaled over time, but one scene, and not a black one.
    for message in held:
        apart = pictures.pixels(message).astype(int) - pictures.pixels(before)
        assert np.abs(apart).mean() < 8
    assert all(marked(client).values())
    drive(client, 1.0, flat=True)
    assert client.status().values['mode'] == 'rgb_only'
    check_recovery(node, client, 'ir')


@pytest.mark.parametrize('camera', ['ir', 'rgb'])
def test_a_camera_that_dies_is_done_without_until_it_is_started_again(rig, camera):
    node, client = rig
    mode = {'ir': 'rgb_only', 'rgb': 'ir_only'}[camera]
    client.withdraw(camera)
    client.forget()
    stream = f'{camera} stream'
    drive(client, 20.0, without=(camera,), until=lambda: client.statuses[stream].level == ERROR)
    status = client.status()
    assert client.statuses[stream].message.startswith(f'no {camera} image for')
    assert client.statuses['inference'].level == WARN
    assert client.statuses['inference'].message.startswith(f'{mode}: ')
    assert status.values[f'{camera}.picture'] == 'missing'
    assert int(status.values[mode]) >= 10
    assert len(client.received['detections']) >= 10
    assert all(marked(client).values())
    for topic in TOPICS:
        assert {m.header.frame_id for m in client.received[topic]} == {'rgb_optical_frame'}
    fused = client.received['fused/image_raw'][-1]
    assert (fused.height, fused.width) == pictures.SMALL_HW
    gray = np.ptp(pictures.pixels(fused).astype(int), axis=2).max()
    assert (gray == 0) == (camera == 'rgb')
    client.offer(camera)
    client.connect()
    check_recovery(node, client, camera)


def test_hold_mode_gives_a_result_for_every_rgb_image_and_says_how_old_ir_is(stage):
    stage.start_node({'sync.mode': 'rgb_hold', 'sync.hold_max_age_ms': 400.0})
    client = stage.client()
    client.offer('rgb', 'ir')
    client.listen('detections')
    client.warm_up(pair)
    client.forget()
    sent = []
    for count in range(24):
        sent.append(client.next_stamp_ns())
        rgb, ir = pair(sent[-1])
        if count % 3 == 0:
            client.send('ir', ir)
        client.watch(monotonic() + 0.05)
        client.send('rgb', rgb)
        client.watch(monotonic() + 0.05)
    client.wait_until(lambda: len(stamps(client)) >= 22, 'a result for nearly every rgb image')
    assert set(stamps(client)) <= set(sent)
    values = client.status().values
    assert 0.0 < float(values['ir_age_ms_p50']) <= 200.0
    assert client.latest().level == OK


def test_false_colors_in_ir_are_refused_in_a_sentence(rig):
    _, client = rig

    def colored(stamp_ns):
        rgb, ir = pair(stamp_ns)
        return rgb, pictures.image(pictures.pixels(rgb)[::-1], 'rgb8', ir.header)

    for _ in range(5):
        for name, message in zip(('rgb', 'ir'), colored(client.next_stamp_ns()), strict=True):
            client.send(name, message)
        client.watch(monotonic() + 0.1)
    client.wait_until(lambda: 'false colors' in client.latest().message, 'the sentence')
    assert client.statuses['inference'].level == ERROR
    assert 'ir.color' in client.latest().message


def test_stamps_that_an_hour_lies_between_are_explained(stage):
    stage.start_node({'input_timeout_s': 0.5})
    client = stage.client()
    client.offer('rgb', 'ir')
    client.listen('detections')
    client.connect()
    end = monotonic() + 20.0
    while 'clocks' not in client.latest().message and monotonic() < end:
        rgb, ir = pair(client.next_stamp_ns())
        ir.header.stamp.sec -= 3600
        client.send('rgb', rgb)
        client.send('ir', ir)
        client.watch(monotonic() + 0.1)
    message = client.latest().message
    assert 'images arrive but no pair' in message
    assert 'about 3600 s behind those of rgb' in message
    assert 'set the clocks' in message
    assert not client.received['detections']
