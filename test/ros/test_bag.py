"""The demo bag: in a loop, and the live node compared with the offline command."""

import copy
import subprocess
import sys

import pytest
from rig import pictures
from rig.stage import ROOT

DEMO = ROOT / 'demo' / 'm3svd_smoke'
PAIRS = 82
LOOPS = 2


@pytest.fixture(scope='module')
def recorded():
    """Return the images of the demo bag, [(stream, message)] in their order."""
    streams = {'/rgb/image_raw/compressed': 'rgb', '/ir/image_raw': 'ir'}
    return [(streams[topic], m) for topic, m in pictures.from_bag(DEMO, *streams)]


class Playback:
    """Send images in order, never ahead of the node, so that none is dropped as busy."""

    def __init__(self, client):
        from tdfusion_ros.core.config import SyncConfig
        from tdfusion_ros.core.nearest_policy import NearestPolicy

        self._client = client
        self._policy = NearestPolicy(SyncConfig())
        self._pairs = 0  # that a policy in this process finds

    def play(self, messages):
        """Send all (stream, message), then wait for the results without a following image."""
        busy = self._client.total('dropped.busy')
        for stream, message in messages:
            stamp_ns = pictures.stamp_ns(message)
            self._client.send(stream, message)
            self._wait_for(self._policy.push(stream, stamp_ns, stamp_ns))
        self._wait_for(self._policy.flush())
        assert self._client.total('dropped.busy') == busy

    def _wait_for(self, pairs):
        self._pairs += len(pairs)
        self._client.wait_until(
            lambda: all(len(m) >= self._pairs for m in self._client.received.values()),
            f'{self._pairs} results',
        )


@pytest.fixture(scope='module')
def offline(tmp_path_factory):
    """Return the results of ``tdfusion fuse`` for the demo bag, by topic and stamp."""
    out = tmp_path_factory.mktemp('offline') / 'fused'
    subprocess.run(
        [
            *(sys.executable, '-m', 'tdfusion_ros.cli', 'fuse', str(DEMO), '-o', str(out)),
            *('-p', 'tracker=none'),  # ids go on from what the live node has seen before
        ],
        cwd=ROOT,
        check=True,
        timeout=600,
    )
    messages = pictures.from_bag(out, '/detections', '/fused/image_raw')
    return {(topic, pictures.stamp_ns(message)): message for topic, message in messages}


@pytest.fixture(scope='module')
def live(shared_stage, recorded):
    """Return the node's results for the demo bag in a loop, by topic."""
    first = dict(reversed(recorded))

    def make_pair(stamp_ns):
        pair = copy.deepcopy((first['rgb'], first['ir']))
        for message in pair:
            message.header = pictures.header(stamp_ns, 'warm_up')
        return pair

    client = shared_stage.run(
        {'rgb.image_transport': 'compressed', 'tracker': 'none'},
        listen=('detections', 'fused/image_raw'),
        make_pair=make_pair,
    )
    Playback(client).play(recorded * LOOPS)
    return client.received


@pytest.mark.parametrize('topic', ['detections', 'fused/image_raw'])
def test_live_results_are_those_of_the_offline_command_in_each_loop_of_a_bag(live, offline, topic):
    stamps_ns = [pictures.stamp_ns(message) for message in live[topic]]
    assert len(set(stamps_ns)) == PAIRS
    assert stamps_ns == [ns for name, ns in offline if name == f'/{topic}'] * LOOPS
    assert not [m for m in live[topic] if m != offline[f'/{topic}', pictures.stamp_ns(m)]]
