"""The states of the node, driven through its lifecycle services."""

from pathlib import Path
import signal

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
import pytest
from rig import pictures
from rig.lifecycle import Manager
from rig.stage import SLOW_NODE

CONFIGURE = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))


def start(stage):
    """Return a client of a node that waits for its manager, and the manager."""
    client = stage.client()
    client.process = stage.start_node({'autostart': False})
    client.offer('rgb', 'ir')
    client.listen('detections', 'fused/image_raw')
    return client, Manager(client)


@pytest.fixture(scope='module')
def shared(shared_stage):
    return start(shared_stage)


@pytest.fixture
def managed(shared):
    """Return the client and the manager of an unconfigured node that tests share."""
    client, manager = shared
    for state, step in (('active', 'deactivate'), ('inactive', 'cleanup')):
        if manager.state() == state:
            assert manager.change(step)
    assert manager.state() == 'unconfigured'
    client.forget()
    return client, manager


def bring_up(client, manager):
    assert manager.change('configure')
    assert manager.change('activate')
    client.warm_up()


def send_unread_pairs(client):
    """Send pairs while nobody subscribes to the cameras; return their stamps [ns]."""
    client.wait_until(lambda: client.readers('rgb') == client.readers('ir') == 0, 'unsubscribing')
    stamps_ns = [client.next_stamp_ns() for _ in range(5)]
    for stamp_ns in stamps_ns:
        client.send_pair(*pictures.pair(stamp_ns))
    return stamps_ns


def received_ns(client):
    return {pictures.stamp_ns(m) for messages in client.received.values() for m in messages}


def wait_for_no_outputs(client):
    client.wait_until(lambda: client.node.count_publishers('detections') == 0, 'their end')


def test_the_node_subscribes_only_while_it_is_active(managed):
    client, manager = managed
    unread = send_unread_pairs(client)
    assert client.node.count_publishers('detections') == 0
    assert manager.change('configure')
    assert manager.state() == 'inactive'
    assert "model 'msrs_rt'" in client.process.log()
    for _ in range(3):
        unread += send_unread_pairs(client)
        assert not received_ns(client)
        assert manager.change('activate')
        assert manager.state() == 'active'
        client.drive(lambda: client.received['detections'] and client.received['fused/image_raw'])
        assert not received_ns(client) & set(unread)
        assert manager.change('deactivate')
        assert manager.state() == 'inactive'
        client.forget()


def test_cleanup_removes_the_outputs_and_configure_creates_them_again(managed):
    client, manager = managed
    bring_up(client, manager)
    assert manager.change('deactivate')
    assert manager.change('cleanup')
    assert manager.state() == 'unconfigured'
    wait_for_no_outputs(client)
    bring_up(client, manager)


def test_the_node_survives_deactivation_and_activation_under_load(managed):
    client, manager = managed
    bring_up(client, manager)
    for step in ('deactivate', 'activate') * 5:
        for _ in range(10):
            client.send_pair(*pictures.pair(client.next_stamp_ns()))
        assert manager.change(step)
    client.warm_up()
    assert client.process.running()
    assert not client.process.lines('ERROR', 'FATAL')


def test_a_transition_that_is_impossible_is_refused(managed):
    client, manager = managed
    assert not manager.change('activate')
    assert manager.change('configure')
    assert not manager.change('configure')
    assert manager.state() == 'inactive'
    assert client.process.running()
    refused = 'transition 1 is impossible in the state inactive; possible: cleanup, activate, shut'
    assert refused in client.process.log()


@pytest.mark.parametrize('autostart', [True, False])
def test_services_answer_and_a_warning_says_so_while_a_model_loads(stage, block, autostart):
    blocked = block('load')
    client, times = stage.client(), set()
    client.process = stage.start_node({'autostart': autostart}, script=SLOW_NODE)
    manager = Manager(client)

    def reported():
        found = client.statuses.get('inference')
        if found and found.message == 'loading the model: loading':
            times.add(found.at_ns)
            assert found.level == 1  # WARN
        return len(times) >= 3

    if not autostart:
        assert manager.state() == 'unconfigured'
        configured = client.request(ChangeState, 'change_state', CONFIGURE)
    client.wait_until(reported, 'three warnings during loading')
    assert manager.state() == 'configuring'
    assert manager.get('backend') == 'auto'
    assert 'being loaded' in manager.set('score_threshold', 0.5)
    assert 'configured' in manager.set('backend', 'cpu')
    assert not manager.change('configure')
    assert 'there is no pair yet' in client.trigger('save_pair').message
    assert client.enable(True).success
    blocked.unlink()
    if not autostart:
        client.wait_until(configured.done, 'the transition')
        assert configured.result().success
        assert manager.change('activate')
    client.wait_until(lambda: manager.state() == 'active', 'the node to be active')
    assert not manager.set('score_threshold', 0.5)


@pytest.mark.parametrize('steps', [(), ('configure', 'activate')])
def test_shutdown_works_in_every_state_and_the_process_ends_with_status_0(stage, steps):
    client, manager = start(stage)
    for step in steps:
        assert manager.change(step)
    assert manager.change('shutdown')
    assert manager.state() == 'finalized'
    assert client.process.running()
    wait_for_no_outputs(client)
    client.process.signal(signal.SIGINT)
    assert client.process.status() == 0
    assert 'Traceback' not in client.process.log()


def test_a_pair_that_is_being_fused_during_deactivation_is_not_published(stage, block):
    blocked = block('pair')
    blocked.unlink()
    client = stage.run(script=SLOW_NODE)
    manager = Manager(client)
    assert manager.state() == 'active'  # autostart
    blocked.touch()
    before, stamps_ns = client.total('paired'), []
    for number in range(1, 4):  # one is being fused, another waits
        stamps_ns.append(client.next_stamp_ns())
        client.send_pair(*pictures.pair(stamps_ns[-1]))
        client.wait_for_count('paired', before + number)
    started = Path(blocked).with_suffix('.started')
    client.wait_until(lambda: str(stamps_ns[0]) in started.read_text(), 'the first to begin')
    assert manager.change('deactivate')
    assert manager.change('activate')
    blocked.unlink()
    client.drive(lambda: client.received['detections'])
    assert not received_ns(client) & set(stamps_ns)
