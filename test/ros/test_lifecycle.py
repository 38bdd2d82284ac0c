"""The states of the node, driven through its lifecycle services."""

import signal
from time import monotonic

import pytest
from rig import pictures
from rig.lifecycle import Manager
from rig.stage import SLOW_NODE

pytestmark = pytest.mark.ros

SILENCE_S = 0.7  # longer than what a waiting pair or a result needs


@pytest.fixture
def managed(stage):
    """Return a node that waits for its manager, a client of it, and the manager."""
    node = stage.start_node({'autostart': False})
    client = stage.client()
    client.offer('rgb', 'ir')
    client.listen('detections', 'fused/image_raw')
    return node, client, Manager(client)


def bring_up(client, manager):
    """Configure and activate."""
    assert manager.change('configure')
    assert manager.change('activate')
    client.warm_up(pictures.pair)


def check_silent(client, pairs=5):
    """Send pairs and see nothing come of them."""
    client.wait_until(
        lambda: client.readers('rgb') == client.readers('ir') == 0, 'the end of its subscriptions'
    )
    client.forget()
    for _ in range(pairs):
        rgb, ir = pictures.pair(client.next_stamp_ns())
        client.send('rgb', rgb)
        client.send('ir', ir)
    client.watch(monotonic() + SILENCE_S)
    assert not any(client.received.values())


def test_without_autostart_the_node_waits_unconfigured(managed):
    _, client, manager = managed
    assert manager.state() == 'unconfigured'
    check_silent(client)
    assert client.node.count_publishers('detections') == 0


def test_configure_loads_the_model_and_activate_subscribes(managed):
    node, client, manager = managed
    assert manager.change('configure')
    assert manager.state() == 'inactive'
    assert "model 'msrs_rt'" in node.log()
    check_silent(client)
    assert manager.change('activate')
    assert manager.state() == 'active'
    client.warm_up(pictures.pair)


def test_deactivate_publishes_nothing_and_activate_begins_again(managed):
    _, client, manager = managed
    bring_up(client, manager)
    for _ in range(3):
        assert manager.change('deactivate')
        assert manager.state() == 'inactive'
        check_silent(client)
        assert manager.change('activate')
        client.warm_up(pictures.pair)


def test_cleanup_takes_the_outputs_back_and_configure_brings_them_again(managed):
    _, client, manager = managed
    bring_up(client, manager)
    assert manager.change('deactivate')
    assert manager.change('cleanup')
    assert manager.state() == 'unconfigured'
    client.wait_until(
        lambda: client.node.count_publishers('detections') == 0, 'the end of its publishers'
    )
    bring_up(client, manager)


@pytest.mark.parametrize('steps', [(), ('configure',), ('configure', 'activate')])
def test_shutdown_works_in_every_state_and_leaves_a_process_that_ends_well(managed, steps):
    node, client, manager = managed
    for step in steps:
        assert manager.change(step)
    assert manager.change('shutdown')
    assert manager.state() == 'finalized'
    assert node.running()
    client.wait_until(
        lambda: client.node.count_publishers('detections') == 0, 'the end of its publishers'
    )
    node.signal(signal.SIGINT)
    assert node.status() == 0
    assert 'Traceback' not in node.log()


def test_with_autostart_the_node_can_still_be_managed(stage):
    stage.start_node()
    client = stage.client()
    client.offer('rgb', 'ir')
    client.listen('detections')
    client.warm_up(pictures.pair)
    manager = Manager(client)
    assert manager.state() == 'active'
    assert manager.change('deactivate')
    check_silent(client)
    assert manager.change('activate')
    client.warm_up(pictures.pair)


def test_a_pair_at_hand_while_deactivating_is_not_published_afterwards(stage, monkeypatch):
    monkeypatch.setenv('SLOW_INFERENCE_S', '0.5')
    stage.start_node(script=SLOW_NODE)
    client = stage.client()
    client.offer('rgb', 'ir')
    client.listen('detections')
    client.warm_up(pictures.pair)
    manager = Manager(client)
    for _ in range(3):  # one is in work, another waits
        rgb, ir = pictures.pair(client.next_stamp_ns())
        client.send('rgb', rgb)
        client.send('ir', ir)
    client.wait_for_count('ir', 4)
    assert manager.change('deactivate')
    client.forget()
    assert manager.change('activate')
    client.watch(monotonic() + 1.5)
    assert not client.received['detections']
    client.warm_up(pictures.pair)


def test_what_nobody_foresaw_while_configuring_is_told_and_the_node_lives(stage, monkeypatch):
    monkeypatch.setenv('FAULTY_START', '1')
    node = stage.start_node({'autostart': False}, script=SLOW_NODE)
    manager = Manager(stage.client())
    assert not manager.change('configure')
    assert node.running()
    (line,) = node.lines('FATAL')
    assert 'on_configure' in line
    assert 'nobody foresaw this' in node.log()
    node.signal(signal.SIGINT)
    assert node.status() == 0


def test_a_frame_from_before_a_pause_finds_no_partner_after_it(managed):
    _, client, manager = managed
    bring_up(client, manager)
    rgb, ir = pictures.pair(client.next_stamp_ns())
    before = client.total('rgb')
    client.send('rgb', rgb)
    client.wait_for_count('rgb', before + 1)
    assert manager.change('deactivate')
    assert manager.change('activate')
    client.connect()
    before = client.total('ir')
    for late in (ir, pictures.pair(client.next_stamp_ns())[1]):
        client.send('ir', late)
    client.wait_for_count('ir', before + 2)
    client.watch(monotonic() + SILENCE_S)
    assert not client.received['detections']
    client.warm_up(pictures.pair)


def test_the_node_survives_being_switched_off_and_on_under_load(managed):
    node, client, manager = managed
    bring_up(client, manager)
    for step in ('deactivate', 'activate') * 5:
        for _ in range(10):
            rgb, ir = pictures.pair(client.next_stamp_ns())
            client.send('rgb', rgb)
            client.send('ir', ir)
        assert manager.change(step)
    client.warm_up(pictures.pair)
    assert node.running()
    assert not node.lines('ERROR', 'FATAL')
