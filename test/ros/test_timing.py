"""An engine that is slower than the cameras: the newest pair wins, older ones are dropped."""

from pathlib import Path
from time import monotonic

from rig import pictures
from rig.stage import SLOW_NODE


def test_after_a_slow_pair_the_newest_one_is_fused_and_the_others_are_dropped(stage, block):
    blocked = block('pair')
    blocked.unlink()
    client = stage.run(script=SLOW_NODE)
    start_file = Path(blocked).with_suffix('.started')
    before = client.status().values

    def count(name, values=None):
        return int((values or client.latest().values).get(name, 0)) - int(before.get(name, 0))

    blocked.touch()
    started, sent = monotonic(), []
    for number in range(1, 7):
        rgb, ir = pictures.pair(client.next_stamp_ns())
        sent.append(pictures.stamp_ns(rgb))
        client.send_pair(rgb, ir)
        client.wait_until(lambda n=number: count('paired') == n, f'{number} pairs')
        client.wait_until(lambda: str(sent[0]) in start_file.read_text(), 'the first one to begin')
    assert client.received['detections'] == []
    blocked_ms = (monotonic() - started) * 1e3
    blocked.unlink()
    client.results(rgb.header.stamp)
    client.wait_until(lambda: count('pairs') == 2, 'both results in the counters')
    values = client.status().values
    assert [pictures.stamp_ns(m) for m in client.received['detections']] == [sent[0], sent[-1]]
    assert count('dropped.busy', values) == 4
    # The first pair was blocked all the time, and the newest one waited for it.
    assert float(values['latency_ms_p95']) > blocked_ms / 2 > 100
    assert float(values['queue_ms_p95']) > 0
