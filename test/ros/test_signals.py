"""How the process ends."""

import signal
from time import sleep

import pytest
from rig import pictures
from rig.stage import SLOW_NODE

pytestmark = pytest.mark.ros

SIGNALS = [signal.SIGINT, signal.SIGTERM]


def check_ended_well(node, log=''):
    """See status 0 and nothing alarming in the log."""
    assert node.status() == 0
    assert log in node.log()
    assert 'Traceback' not in node.log()
    assert not node.lines('WARN', 'ERROR', 'FATAL')


@pytest.mark.parametrize('number', SIGNALS)
def test_a_signal_ends_an_idle_node_with_status_0(stage, number):
    node = stage.start_node()
    client = stage.client()
    client.wait_until(lambda: 'no usable' in client.latest().message, 'it to be active')
    node.signal(number)
    check_ended_well(node)


@pytest.mark.parametrize('number', SIGNALS)
def test_a_signal_ends_a_node_that_waits_for_its_manager_with_status_0(stage, number):
    node = stage.start_node({'autostart': False})
    client = stage.client()
    client.wait_until(
        lambda: ('tdfusion', '/') in client.node.get_node_names_and_namespaces(), 'the node'
    )
    node.signal(number)
    check_ended_well(node)


@pytest.mark.parametrize('number', SIGNALS)
def test_a_signal_ends_a_node_in_the_midst_of_its_work_with_status_0(stage, number, monkeypatch):
    monkeypatch.setenv('SLOW_INFERENCE_S', '0.3')
    node = stage.start_node(script=SLOW_NODE)
    client = stage.client()
    client.offer('rgb', 'ir')
    client.listen('detections', 'fused/image_raw', 'overlay/image_raw')
    client.warm_up(pictures.pair)
    before = client.total('ir')
    for _ in range(5):
        rgb, ir = pictures.pair(client.next_stamp_ns())
        client.send('rgb', rgb)
        client.send('ir', ir)
    client.wait_for_count('ir', before + 1)
    node.signal(number)
    check_ended_well(node)


@pytest.mark.parametrize('number', SIGNALS)
def test_a_signal_ends_a_node_that_still_loads_its_model_with_status_0(stage, number, monkeypatch):
    monkeypatch.setenv('SLOW_START_S', '1.0')
    node = stage.start_node(script=SLOW_NODE)
    client = stage.client()
    client.wait_until(lambda: 'loading' in node.log(), 'the node to load')
    node.signal(number)
    check_ended_well(node)


def test_further_signals_do_not_disturb_the_end(stage, monkeypatch):
    monkeypatch.setenv('SLOW_INFERENCE_S', '0.5')
    node = stage.start_node(script=SLOW_NODE)
    client = stage.client()
    client.offer('rgb', 'ir')
    client.listen('detections')
    client.warm_up(pictures.pair)
    before = client.total('ir')
    for _ in range(4):  # the end has to wait for the one at hand
        rgb, ir = pictures.pair(client.next_stamp_ns())
        client.send('rgb', rgb)
        client.send('ir', ir)
    client.wait_for_count('ir', before + 4)
    for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        node.signal(number)
        client.wait_until(lambda: True, 'one spin')
    check_ended_well(node)


def test_signals_up_to_the_very_last_moment_do_not_change_the_status(stage):
    node = stage.start_node()
    client = stage.client()
    client.wait_until(lambda: 'no usable' in client.latest().message, 'it to be active')
    while node.running():
        node.signal(signal.SIGINT)
        sleep(0.002)
    check_ended_well(node)


def test_the_first_signal_interrupts_unless_the_end_has_begun():
    from tdfusion_ros.node.signals import interrupt_once

    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        interrupt_once()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        interrupt_once().append(0)
        signal.raise_signal(signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
