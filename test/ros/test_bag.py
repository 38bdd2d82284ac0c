"""The demo bag: loops, and the live node against the offline command."""

import copy
import subprocess
import sys

import numpy as np
import pytest
from rig import pictures
from rig.stage import ROOT

pytestmark = pytest.mark.ros

DEMO = ROOT / 'demo' / 'msrs_drive'
PAIRS = 37  # three of the 40 rgb images have no partner


@pytest.fixture(scope='module')
def recorded():
    """Return the images of the demo bag, [(stream, message)] in their order."""
    streams = {'/rgb/image_raw/compressed': 'rgb', '/ir/image_raw': 'ir'}
    return [(streams[topic], m) for topic, m in pictures.from_bag(DEMO, *streams)]


class Playback:
    """Send images in their order, never ahead of the node, so that none is dropped busy."""

    def __init__(self, client):
        from tdfusion_ros.core.config import SyncConfig
        from tdfusion_ros.core.nearest_policy import NearestPolicy

        self._client = client
        self._policy = NearestPolicy(SyncConfig())
        self.pairs = []  # stamps of rgb and ir [ns], as an independent policy finds them

    def send(self, stream, message):
        """Send an image and wait for the results that it makes certain."""
        stamp_ns = pictures.stamp_ns(message)
        found = self._policy.push(stream, stamp_ns, stamp_ns)
        self.pairs += [(pair.rgb, pair.ir) for pair in found]
        self._client.send(stream, message)
        self.wait()

    def end(self):
        """Wait for the results that come when no image follows any more."""
        self.pairs += [(pair.rgb, pair.ir) for pair in self._policy.flush()]
        self.wait()

    def wait(self):
        """Wait until there are as many results as pairs."""
        self._client.wait_until(
            lambda: all(len(m) >= len(self.pairs) for m in self._client.received.values()),
            f'{len(self.pairs)} results',
        )


def test_a_bag_that_loops_gives_the_same_pairs_each_time(stage, recorded):
    stage.start_node()
    client = stage.client()
    client.offer('rgb', 'ir')
    client.listen('ir_registered/image_raw')
    client.warm_up(pictures.pair)
    playback = Playback(client)
    stamps_ns = []
    for stream, message in recorded * 3:
        if stream == 'rgb':
            black = np.zeros((*pictures.SMALL_HW, 3), np.uint8)
            playback.send('rgb', pictures.image(black, 'rgb8', message.header))
        else:  # its brightness tells which one it is
            if (stamp_ns := pictures.stamp_ns(message)) not in stamps_ns:
                stamps_ns.append(stamp_ns)
            ramp = np.tile(np.arange(pictures.SMALL_HW[1], dtype=np.uint8), (96, 1)) // 2
            ramp[0] = 5 * stamps_ns.index(stamp_ns)  # the rest: an ir image that shows something
            ramp[-1] = 255 - ramp[0]
            playback.send('ir', pictures.image(ramp, 'mono8', message.header))
    playback.end()
    found = [
        (pictures.stamp_ns(m), stamps_ns[pictures.pixels(m)[0, 0] // 5])
        for m in client.received['ir_registered/image_raw']
    ]
    assert found[:PAIRS] == found[PAIRS : 2 * PAIRS] == found[2 * PAIRS :]
    assert len(set(found)) == PAIRS
    assert found == playback.pairs
    assert client.total('dropped.busy') == 0


@pytest.fixture(scope='module')
def offline(tmp_path_factory):
    """Return what ``tdfusion fuse`` makes of the demo bag, by topic and stamp."""
    out = tmp_path_factory.mktemp('offline') / 'fused'
    subprocess.run(
        [sys.executable, '-m', 'tdfusion_ros.cli', 'fuse', str(DEMO), '-o', str(out)],
        cwd=ROOT,
        check=True,
        timeout=120,
    )
    messages = pictures.from_bag(out, '/detections', '/fused/image_raw')
    return {(topic, pictures.stamp_ns(message)): message for topic, message in messages}


@pytest.fixture(scope='module')
def live(shared_stage, recorded):
    """Return what the node makes of the demo bag, by topic and stamp."""
    shared_stage.start_node({'rgb.image_transport': 'compressed'})
    client = shared_stage.client()
    client.offer('rgb', transport='compressed')
    client.offer('ir')
    client.listen('detections', 'fused/image_raw')
    first = dict(reversed(recorded))

    def make_pair(stamp_ns):
        pair = copy.deepcopy((first['rgb'], first['ir']))
        for message in pair:
            message.header = pictures.header(stamp_ns, 'warm_up')
        return pair

    client.warm_up(make_pair)
    playback = Playback(client)
    for stream, message in recorded:
        playback.send(stream, message)
    playback.end()
    assert client.total('dropped.busy') == 0
    return {
        (f'/{topic}', pictures.stamp_ns(message)): message
        for topic, kept in client.received.items()
        for message in kept
    }


def test_live_and_offline_find_the_same_in_the_same_pairs(live, offline):
    assert live.keys() == offline.keys()
    assert len(live) == 2 * PAIRS
    differing = [key for key, message in live.items() if message != offline[key]]
    assert not differing


def test_detections_in_real_pictures_have_known_names_and_lie_in_the_image(live):
    arrays = [message for (topic, _), message in live.items() if topic == '/detections']
    found = [detection for array in arrays for detection in array.detections]
    assert len(found) > PAIRS  # streets with people and cars
    names = {d.results[0].hypothesis.class_id for d in found}
    assert {'person', 'car'} <= names <= {'person', 'bicycle', 'car'}
    for detection in found:
        (result,) = detection.results
        assert 0.3 <= result.hypothesis.score <= 1.0
        box = detection.bbox
        x, y = box.center.position.x, box.center.position.y
        assert box.size_x > 0
        assert box.size_y > 0
        assert box.center.theta == 0.0
        assert -1e-3 <= x - box.size_x / 2 < x + box.size_x / 2 <= 640 + 1e-3
        assert -1e-3 <= y - box.size_y / 2 < y + box.size_y / 2 <= 480 + 1e-3


def test_each_array_of_detections_is_sorted_by_score(live):
    for (topic, _), message in live.items():
        if topic == '/detections':
            scores = [d.results[0].hypothesis.score for d in message.detections]
            assert scores == sorted(scores, reverse=True)
