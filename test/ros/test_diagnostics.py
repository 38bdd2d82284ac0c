"""What /diagnostics says of a node that works, and of cameras that do not."""

from time import monotonic

import pytest
from rig import pictures

pytestmark = pytest.mark.ros

OK, WARN = 0, 1
STAGES = ('thermal', 'registration', 'network', 'postprocess', 'queue', 'publish', 'latency')


@pytest.fixture
def client(stage):
    """Return a client of a node that soon misses a camera."""
    stage.start_node({'input_timeout_s': 1.0})
    client = stage.client()
    client.offer('rgb', 'ir')
    client.listen('detections')
    return client


def stream(client, seconds, *, streams=('rgb', 'ir'), until=lambda: False):
    """Send pairs at 20 Hz, or only one of their images; return when they were sent [s]."""
    begun = at = monotonic()
    times = []
    while at < begun + seconds and not until():
        messages = pictures.pair(client.next_stamp_ns(), skew_ns=7_000_000)
        for name, message in zip(('rgb', 'ir'), messages, strict=True):
            if name in streams:
                client.send(name, message)
        times.append(monotonic())
        at = max(at + 0.05, monotonic())
        client.watch(at)
    return times


def said(client):
    """Return the latest sentence."""
    return client.latest().message


def test_diagnostics_of_a_working_node_tell_rates_skew_latencies_and_backend(client):
    client.warm_up(pictures.pair)
    before = client.status().values
    times = stream(client, 6.0)
    status = client.status()
    values = status.values
    assert status.level == OK
    assert status.message == f'fusing {values["pairs_rate_hz"]} pairs a second'
    assert status.hardware_id == 'msrs_rt'
    assert values['backend'] == 'cpu'
    recent = [t for t in times if t > times[-1] - 5.0]  # as far as the rates look back
    sent_hz = (len(recent) - 1) / (recent[-1] - recent[0])
    for name in ('rgb', 'ir'):
        assert float(values[f'{name}_rate_hz']) == pytest.approx(sent_hz, rel=0.1)
    assert 0.0 < float(values['pairs_rate_hz']) <= 1.1 * sent_hz
    assert float(values['skew_ms_p50']) == pytest.approx(7.0)
    assert float(values['abs_skew_ms_p95']) <= 8.0  # the warm-up's
    for name in STAGES:
        p50, p95 = (float(values[f'{name}_ms_{p}']) for p in ('p50', 'p95'))
        assert 0.0 <= p50 <= p95
    assert 0.0 < float(values['network_ms_p50']) < float(values['latency_ms_p50']) < 1000.0
    ends = ('pairs', 'dropped.busy')  # of every pair, whatever else the machine does
    assert sum(int(values.get(n, 0)) - int(before.get(n, 0)) for n in ends) == len(times)


def test_frames_without_a_partner_are_counted_by_cause(client):
    client.warm_up(pictures.pair)
    before = client.total('dropped.no_partner')
    stream(client, 0.5)
    for _ in range(3):
        client.send('rgb', pictures.pair(client.next_stamp_ns())[0])
    stream(client, 0.5)
    client.wait_for_count('dropped.no_partner', before + 3)
    assert client.total('dropped.no_partner') == before + 3


def test_a_node_without_cameras_says_what_it_waits_for(client):
    client.withdraw('rgb', 'ir')
    client.wait_until(lambda: 'no usable ir image' in said(client), 'a complaint')
    status = client.status()
    assert status.level == WARN
    assert 'no usable rgb image yet' in status.message
    assert 'no usable ir image yet' in status.message


@pytest.mark.parametrize(('stopped', 'going'), [('ir', 'rgb'), ('rgb', 'ir')])
def test_a_stream_that_stops_is_named_until_it_comes_back(client, stopped, going):
    client.warm_up(pictures.pair)
    stream(client, 1.0)
    assert client.status().level == OK
    complaint = f'no usable {stopped} image for'
    stream(client, 20.0, streams=(going,), until=lambda: complaint in said(client))
    status = client.latest()
    assert status.level == WARN
    assert complaint in status.message
    assert f'no usable {going}' not in status.message
    stream(client, 20.0, until=lambda: client.latest().level == OK)
    assert said(client).startswith('fusing ')
    client.warm_up(pictures.pair)


def test_a_camera_that_stops_and_is_restarted_is_fused_again(client):
    client.warm_up(pictures.pair)
    client.withdraw('ir')
    client.wait_until(lambda: 'no usable ir image for' in said(client), 'a complaint')
    client.offer('ir', reliable=False)
    client.warm_up(pictures.pair)
    client.wait_until(lambda: 'no usable ir' not in said(client), 'the complaint to end')


def test_the_rate_of_a_stream_that_stopped_falls(client):
    client.warm_up(pictures.pair)
    times = stream(client, 1.0)
    client.watch(monotonic() + 2.0)
    rate = float(client.status().values['ir_rate_hz'])
    sent_hz = (len(times) - 1) / (times[-1] - times[0])
    assert 0.0 < rate < 0.6 * sent_hz  # one second of images in three or four


def test_images_that_never_pair_are_explained(client):
    client.connect()

    def unpaired(seconds, until):
        stream_end = monotonic() + seconds
        while monotonic() < stream_end and not until():
            client.send('rgb', pictures.pair(client.next_stamp_ns())[0])
            client.send('ir', pictures.pair(client.next_stamp_ns())[1])
            client.watch(monotonic() + 0.05)

    unpaired(20.0, lambda: 'compare the stamps of both cameras' in said(client))
    status = client.latest()
    assert status.level == WARN
    assert 'images arrive but no pair' in status.message
    assert not client.received['detections']
