"""How the process ends."""

from pathlib import Path
import signal
from time import sleep

import pytest
from rig import pictures
from rig.stage import SLOW_NODE
from std_srvs.srv import Trigger


def check_ended_well(node):
    """Check for status 0 and a log without warnings, except about cameras that sent nothing."""
    assert node.status() == 0
    assert 'Traceback' not in node.log()
    assert not [x for x in node.lines('WARN', 'ERROR', 'FATAL') if ' stream: no ' not in x]


def test_further_signals_do_not_disturb_a_shutdown_that_waits_for_a_pair(stage, block):
    blocked = block('pair')
    blocked.unlink()
    client = stage.run(
        script=SLOW_NODE, listen=('detections', 'fused/image_raw', 'overlay/image_raw')
    )
    node, before = client.process, client.total('paired')
    blocked.touch()
    for number in range(1, 4):  # one is being fused, another waits
        client.send_pair(*pictures.pair(client.next_stamp_ns()))
        client.wait_for_count('paired', before + number)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGINT, signal.SIGTERM):
        node.signal(number)
        sleep(0.02)
    assert node.running()
    blocked.unlink()
    check_ended_well(node)


def test_a_signal_ends_a_node_whose_disk_does_not_answer_while_a_pair_is_saved(stage, block):
    block('save')  # for ever
    client = stage.run(script=SLOW_NODE)
    client.request(Trigger, 'save_pair', Trigger.Request())
    client.drive_frames(3)
    client.process.signal(signal.SIGINT)
    check_ended_well(client.process)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_node_while_its_model_is_being_loaded(stage, block, number):
    block('load')  # for ever
    node = stage.start_node(script=SLOW_NODE)
    stage.client().wait_until(lambda: 'loading' in node.log(), 'the node to load')
    node.signal(number)
    check_ended_well(node)
    assert 'hangs' not in node.log()


def handles_signals(node):
    """Return whether our handlers are installed; Python itself has none for SIGTERM."""
    status = Path(f'/proc/{node.pid}/status').read_text()
    caught = next(line for line in status.splitlines() if line.startswith('SigCgt'))
    return int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1


@pytest.mark.parametrize('delay_s', [0.0, 0.1, 0.3, 0.6, 1.0, 1.5])
def test_a_signal_at_any_time_of_the_start_ends_the_node_without_a_traceback(stage, delay_s):
    node = stage.start_node()
    while not handles_signals(node):
        sleep(0.002)
    sleep(delay_s)
    node.signal(signal.SIGINT)
    check_ended_well(node)


@pytest.mark.parametrize(
    ('number', 'autostart', 'state'),
    [(signal.SIGINT, True, 'no usable'), (signal.SIGTERM, False, 'not configured')],
)
def test_signals_up_to_the_very_last_moment_do_not_change_status(stage, number, autostart, state):
    node, client = stage.start_node({'autostart': autostart}), stage.client()
    client.wait_until(lambda: state in client.latest().message, 'the state of the node')
    while node.running():
        node.signal(number)
        sleep(0.002)
    check_ended_well(node)
