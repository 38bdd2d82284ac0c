"""An engine that is too slow for the cameras: the newest pair wins, and nothing grows old."""

from statistics import median
from time import monotonic

import pytest
from rig import pictures
from rig.stage import SLOW_NODE

pytestmark = pytest.mark.ros

INFERENCE_S = 0.3
FRAME_S = 0.1
PAIRS = 60


@pytest.fixture
def client(stage, monkeypatch):
    """Return a client of a node whose engine needs three frame periods."""
    monkeypatch.setenv('SLOW_INFERENCE_S', str(INFERENCE_S))
    stage.start_node(script=SLOW_NODE)
    client = stage.client()
    client.offer('rgb', 'ir')
    client.listen('detections')
    client.warm_up(pictures.pair)
    return client


def test_results_never_grow_old_and_busy_drops_are_counted(client):
    before = client.status().values
    sent = {}  # when the later image of each pair was published
    begun = monotonic()
    for turn in range(PAIRS):
        client.watch(begun + turn * FRAME_S)
        rgb, ir = pictures.pair(client.next_stamp_ns())
        client.send('rgb', rgb)
        client.send('ir', ir)
        sent[pictures.stamp_ns(rgb)] = monotonic()
    client.results(rgb.header.stamp)  # the newest is never dropped
    received = [pictures.stamp_ns(m) for m in client.received['detections']]
    ages = [
        arrived - sent[stamp]
        for stamp, arrived in zip(received, client.times['detections'], strict=True)
    ]
    print(f'age of results [s]: median {median(ages):.3f}, worst {max(ages):.3f}')
    assert max(ages) <= 2 * INFERENCE_S + FRAME_S
    assert median(ages) <= INFERENCE_S + 1.5 * FRAME_S  # as the newest pair wins, not the oldest
    assert received == sorted(set(received))
    assert len(received) >= PAIRS * FRAME_S / INFERENCE_S / 2  # it did work all the time
    client.wait_for_count('pairs', int(before['pairs']) + len(received))
    after = client.status().values
    busy = int(after['dropped.busy']) - int(before.get('dropped.busy', 0))
    assert busy > 0
    assert busy + len(received) == PAIRS
    assert float(after['queue_ms_p95']) <= (INFERENCE_S + FRAME_S) * 1e3


def test_latency_in_the_diagnostics_is_what_was_waited_and_worked(client):
    for _ in range(3):  # one at a time: nobody waits
        client.fuse(*pictures.pair(client.next_stamp_ns()))
    values = client.status().values
    assert float(values['latency_ms_p50']) >= INFERENCE_S * 1e3
    assert int(values.get('dropped.busy', 0)) == 0
