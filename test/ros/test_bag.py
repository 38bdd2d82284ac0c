"""The demo bag: in a loop, and the live node compared with the offline command."""

import copy
import subprocess
import sys

import numpy as np
import pytest
from rig import pictures
from rig.stage import ROOT

DEMO = ROOT / 'demo' / 'm3svd_smoke'
PAIRS = 82
LOST = (9, 18, 31)  # ir images that do not arrive, in the loop


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
        self.pairs = []  # stamps of rgb and ir [ns], as found by a policy in this process

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
        self.pairs += [(pair.rgb, pair.ir) for pair in pairs]
        self._client.wait_until(
            lambda: all(len(m) >= len(self.pairs) for m in self._client.received.values()),
            f'{len(self.pairs)} results',
        )


def test_a_bag_in_a_loop_gives_the_same_pairs_each_time(stage, recorded):
    client = stage.run(listen=('ir_registered/image_raw',))
    stamps_ns = sorted({pictures.stamp_ns(m) for stream, m in recorded if stream == 'ir'})
    small = []
    lost = [stamps_ns[number] for number in LOST]
    arriving = [(s, m) for s, m in recorded if s == 'rgb' or pictures.stamp_ns(m) not in lost]
    for stream, message in arriving * 3:
        if stream == 'rgb':
            pixels, encoding = np.zeros((*pictures.SMALL_HW, 3), np.uint8), 'rgb8'
        else:  # the brightness of the first row identifies the image
            pixels = np.tile(np.arange(pictures.SMALL_HW[1], dtype=np.uint8), (96, 1)) // 2
            pixels[0] = 3 * stamps_ns.index(pictures.stamp_ns(message))
            pixels[-1] = 255 - pixels[0]
            encoding = 'mono8'
        small.append((stream, pictures.image(pixels, encoding, message.header)))
    playback = Playback(client)
    playback.play(small)
    found = [
        (pictures.stamp_ns(m), stamps_ns[pictures.pixels(m)[0, 0] // 3])
        for m in client.received['ir_registered/image_raw']
    ]
    count = PAIRS - len(LOST)
    assert found[:count] == found[count : 2 * count] == found[2 * count :]
    assert len(set(found)) == count
    assert found == playback.pairs


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
    """Return the node's results for the demo bag, by topic and stamp."""
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
    Playback(client).play(recorded)
    return {
        (f'/{topic}', pictures.stamp_ns(message)): message
        for topic, messages in client.received.items()
        for message in messages
    }


def test_live_and_offline_results_are_identical(live, offline):
    assert live.keys() == offline.keys()
    assert len(live) == 2 * PAIRS
    assert not [key for key, message in live.items() if message != offline[key]]
