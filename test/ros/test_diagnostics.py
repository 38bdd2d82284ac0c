"""What /diagnostics says of a node that works, and of cameras that do not."""

import json
import socket
from time import monotonic
from time import time_ns

import pytest
from rig import pictures
from rig.lifecycle import Manager
from rig.stage import ROOT
from rig.stage import SLOW_NODE

pytestmark = pytest.mark.ros

OK, WARN, ERROR, STALE = 0, 1, 2, 3
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
    subjects = client.statuses
    assert list(subjects) == ['rgb stream', 'ir stream', 'sync', 'inference']
    assert {s.hardware_id for s in subjects.values()} == {socket.gethostname()}
    assert subjects['inference'].message == f'fusing {values["pairs_rate_hz"]} pairs a second'
    ages = {f'ir_stamp_age_ms_{end}' for end in ('p50', 'p95', 'mean')}
    assert set(subjects['ir stream'].values) == {'ir', 'ir_rate_hz', 'ir.picture'} | ages
    assert 'skew_ms_p50' in subjects['sync'].values
    assert (values['backend'], values['model']) == ('cpu', 'msrs_rt')
    assert values['engine'].startswith('ONNX Runtime')
    contract = json.loads((ROOT / 'models' / 'msrs_rt' / 'model.json').read_text())
    assert contract['files']['model.onnx'].startswith(values['model_sha256'])
    assert len(values['model_sha256']) == 16
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


def test_times_of_a_pair_are_published_for_whoever_subscribes(client):
    numbers = {
        name: client.numbers(f'tdfusion/debug/{name}')
        for name in ('latency_ms', 'processing_ms', 'skew_ms')
    }
    client.warm_up(pictures.pair)
    now = time_ns()
    client.fuse(*pictures.pair(now - 3_000_000_000, skew_ns=5_000_000))  # a time jump, forwards
    client.wait_until(lambda: all(numbers.values()), 'numbers')
    client.fuse(*pictures.pair(now - 1_000_000_000, skew_ns=5_000_000))
    before = len(numbers['skew_ms'])
    client.wait_until(lambda: len(numbers['latency_ms']) >= before, 'numbers')
    assert numbers['skew_ms'][-1] == 5.0
    since_stamp, since_arrival = numbers['latency_ms'][-1], numbers['processing_ms'][-1]
    assert 0.0 < since_arrival < 1000.0
    assert since_stamp > 1000.0
    assert since_stamp - since_arrival < 30_000.0  # the stamp's clock is the robot's


def test_while_the_model_is_loaded_the_diagnostics_say_so(stage, monkeypatch):
    monkeypatch.setenv('SLOW_START_S', '8.0')
    stage.start_node(script=SLOW_NODE)
    client = stage.client()
    times = set()

    def told():
        found = client.statuses.get('inference')
        if found and found.message == 'loading the model: loading':
            times.add(found.at_ns)
            assert found.level == WARN
        return len(times) >= 5

    client.wait_until(told, 'five messages while it loads')
    client.wait_until(lambda: 'no usable rgb' in said(client), 'the node to be active')


def test_a_node_that_cannot_start_says_why_in_the_diagnostics(stage):
    stage.start_node({'autostart': False, 'model': 'no_such_model'})
    client = stage.client()
    client.wait_until(lambda: 'not configured' in said(client), 'diagnostics')
    assert not Manager(client).change('configure')
    client.wait_until(lambda: "cannot start: model 'no_such_model'" in said(client), 'the reason')
    assert client.statuses['inference'].level == ERROR


def test_a_pair_that_fails_is_an_error_until_one_succeeds(stage):
    stage.start_node(script=SLOW_NODE)
    client = stage.client()
    client.offer('rgb', 'ir')
    client.listen('detections')
    client.warm_up(pictures.pair)
    rgb, ir = pictures.pair(client.next_stamp_ns())
    rgb.header.frame_id = 'faulty'
    client.send('rgb', rgb)
    client.send('ir', ir)
    client.wait_until(lambda: 'nobody foresaw this' in said(client), 'the reason')
    assert client.statuses['inference'].level == ERROR
    client.fuse(*pictures.pair(client.next_stamp_ns()))
    client.wait_until(lambda: client.statuses['inference'].level == OK, 'the end of it')


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
    assert status.level == client.statuses[f'{stopped} stream'].level == ERROR
    assert complaint in status.message
    assert client.statuses[f'{going} stream'].level == OK
    stream(client, 1.5, streams=(going,))  # as long as a pair is news
    client.status()
    assert client.statuses['sync'].level == STALE
    assert client.statuses['inference'].level == WARN
    assert client.statuses['inference'].message.startswith(f'{going}_only: ')
    stream(client, 20.0, until=lambda: client.latest().level == OK)
    assert client.statuses['inference'].message.startswith('fusing ')
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
