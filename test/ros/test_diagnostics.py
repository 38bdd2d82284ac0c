"""What /diagnostics reports about a working node, and about cameras that do not work."""

import json
import re
import socket
from time import time_ns

from diagnostic_msgs.msg import DiagnosticArray
import pytest
from rig import pictures
from rig.lifecycle import Manager
from rig.stage import ROOT
from rig.stage import SLOW_NODE
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from std_msgs.msg import String

OK, WARN, ERROR, STALE = 0, 1, 2, 3
STAGES = ('thermal', 'registration', 'network', 'postprocess', 'queue', 'publish', 'latency')


@pytest.fixture(scope='module')
def shared(shared_stage):
    return shared_stage.run({'input_timeout_s': 1.0})


@pytest.fixture
def client(shared):
    """Return a client of a working node that soon reports a missing camera."""
    shared.warm_up()
    shared.drive(lambda: shared.latest().level == OK)
    shared.forget()
    return shared


def test_a_working_node_reports_rates_skew_latencies_and_its_engine(client):
    def same_scene_7_ms_apart(stamp_ns):
        return pictures.pair(stamp_ns, skew_ns=7_000_000)

    before = client.status().values
    sent = client.drive_frames(300, same_scene_7_ms_apart)  # the whole percentile window
    client.results(pictures.header(sent[-1], '').stamp)
    status = client.status()
    values, subjects = status.values, client.statuses
    assert status.level == OK
    assert list(subjects) == ['rgb stream', 'ir stream', 'sync', 'inference']
    assert {s.hardware_id for s in subjects.values()} == {socket.gethostname()}
    assert subjects['inference'].message == f'fusing {values["pairs_rate_hz"]} pairs per second'
    ages = {f'ir_stamp_age_ms_{end}' for end in ('p50', 'p95', 'mean')}
    assert set(subjects['ir stream'].values) >= {'ir', 'ir_rate_hz', 'ir.picture'} | ages
    assert 'skew_ms_p50' in subjects['sync'].values
    assert (values['backend'], values['model']) == ('cpu', 'msrs_rt')
    assert values['engine'].startswith('ONNX Runtime')
    contract = json.loads((ROOT / 'models' / 'msrs_rt' / 'model.json').read_text())
    assert contract['files']['model.onnx'].startswith(values['model_sha256'])
    assert len(values['model_sha256']) == 16
    for name in ('rgb', 'ir', 'pairs'):
        assert float(values[f'{name}_rate_hz']) > 0
    for name in ('skew_ms_p50', 'abs_skew_ms_p95'):
        assert float(values[name]) == pytest.approx(7.0)
    for name in STAGES:
        assert 0.0 <= float(values[f'{name}_ms_p50']) <= float(values[f'{name}_ms_p95'])
    assert 0.0 < float(values['network_ms_p50']) < float(values['latency_ms_p50'])
    fused, dropped = (
        int(values.get(n, 0)) - int(before.get(n, 0)) for n in ('pairs', 'dropped.busy')
    )
    assert fused + dropped == len(sent)


def test_durations_of_a_pair_are_published_for_subscribers(client):
    names = ('latency_ms', 'processing_ms', 'skew_ms')
    numbers = {name: client.numbers(f'tdfusion/debug/{name}') for name in names}
    offset_ns = time_ns() - client.next_stamp_ns() - 10_000_000_000  # stamps 10 s old

    def recent(stamp_ns):
        return pictures.pair(stamp_ns + offset_ns, skew_ns=5_000_000)

    client.drive(lambda: all(numbers.values()), recent)
    assert numbers['skew_ms'][-1] == 5.0
    assert 0.0 < numbers['processing_ms'][-1] < numbers['latency_ms'][-1]
    assert numbers['latency_ms'][0] > 1000.0  # from the stamp, by the robot's clock
    client.trigger('reset_sync')  # the stamps of the next test are older


def test_a_node_that_cannot_start_reports_the_reason(stage):
    stage.start_node({'autostart': False, 'model': 'no_such_model'})
    client = stage.client()
    client.wait_until(lambda: 'not configured' in client.latest().message, 'diagnostics')
    assert not Manager(client).change('configure')
    client.wait_until(
        lambda: "cannot start: model 'no_such_model'" in client.latest().message, 'the reason'
    )
    assert client.statuses['inference'].level == ERROR


def test_streams_that_never_match_are_explained(client):
    def make_pair(stamp_ns):
        return pictures.pair(stamp_ns, skew_ns=-3_600_000_000_000)

    problem = r'(?s)both streams arrive, but no frames match .* behind the rgb stamps: set the clo'
    client.drive(lambda: re.search(problem, client.latest().message), make_pair)
    assert client.statuses['sync'].level == WARN
    client.trigger('reset_sync')


def test_node_works_and_reports_while_the_clock_of_a_bag_stands_still(stage):
    client, received = stage.client(), []
    client.node.create_subscription(DiagnosticArray, '/diagnostics', received.append, 10)
    client.listen('fused/image_raw', 'label_info')
    stage.start_node({'use_sim_time': True})
    client.wait_until(lambda: len(received) >= 2, 'diagnostics without a clock')
    labels = client.wait_until(lambda: client.received['label_info'], 'labels without a clock')
    assert pictures.stamp_ns(labels[0]) == 0
    client.offer('rgb', 'ir')  # after the node looked for publishers for the first time
    client.warm_up()
    last = pictures.pair(client.next_stamp_ns(), seed=1)
    assert client.fuse(*last)['fused/image_raw'].header == last[0].header
    before = len(received)
    client.wait_until(lambda: len(received) >= before + 2, 'diagnostics after the last image')
    clock = client.node.create_publisher(Clock, '/clock', 10)

    def make_pair(stamp_ns):
        clock.publish(Clock(clock=pictures.header(stamp_ns, '').stamp))
        return pictures.pair(stamp_ns)

    client.drive(lambda: any(map(pictures.stamp_ns, client.received['label_info'])), make_pair)


def test_a_second_publisher_on_a_topic_is_named(stage, block):
    client = stage.run(script=SLOW_NODE)
    second = client.node.create_publisher(Image, 'ir/image_raw', 10)
    client.wait_until(
        lambda: 'has 2 publishers, of /client, whose' in client.statuses['ir stream'].message,
        'both publishers',
    )
    client.node.destroy_publisher(second)
    client.drive(lambda: client.latest().level == OK)


def test_a_topic_of_another_type_is_named_with_the_settings_that_read_it(stage):
    node, client = stage.start_node(), stage.client()
    client.node.create_publisher(CompressedImage, 'rgb/image_raw', 10)
    client.node.create_publisher(String, 'ir/image_raw', 10)

    def message(stream):
        return getattr(client.statuses.get(f'{stream} stream'), 'message', '')

    client.wait_until(
        lambda: 'is of type' in message('rgb') and 'is of type' in message('ir'), 'both types'
    )
    assert 'set rgb.image_transport:=compressed and remap' in message('rgb')
    assert node.running()
