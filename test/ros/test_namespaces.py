"""Several nodes at once."""

import numpy as np
import pytest
from rig import pictures

pytestmark = pytest.mark.ros

NAMES = ('/front', '/rear')


@pytest.fixture
def clients(stage):
    """Return a client for each of two nodes."""
    made = []
    for name in NAMES:
        stage.start_node({'ir.normalization': 'passthrough'}, namespace=name)
        client = stage.client(name)
        client.offer('rgb', 'ir')
        client.listen('fused/image_raw', 'detections', 'ir_registered/image_raw')
        made.append(client)
    for client in made:
        client.warm_up(pictures.pair)
    return made


def scene_of(client, seed, stamp_ns):
    """Return a pair that can be told from the other client's."""
    rgb, ir = pictures.pair(stamp_ns, seed=seed)
    rgb.header.frame_id = client.node.get_namespace()
    return rgb, ir


def test_two_nodes_do_not_mix_their_images(clients, oracle):
    from tdfusion_ros.core.data import Frame

    sent = []
    for step in range(10):  # both with the same stamps
        stamp_ns = max(client.next_stamp_ns() for client in clients)
        for at, client in enumerate(clients):
            rgb, ir = scene_of(client, 2 * step + at, stamp_ns)
            client.send('rgb', rgb)
            client.send('ir', ir)
            sent.append((client, 2 * step + at, rgb))
        for client, seed, rgb in sent[-2:]:
            found = client.results(rgb.header.stamp)
            expected = oracle.process(*(Frame(p, 0) for p in pictures.scene(seed)))
            fused = pictures.pixels(found['fused/image_raw'])
            np.testing.assert_array_equal(fused, expected.fused)
            assert {m.header.frame_id for m in found.values()} == {rgb.header.frame_id}
    for client in clients:
        assert {topic: len(m) for topic, m in client.received.items()} == dict.fromkeys(
            client.received, 10
        )


def test_each_node_tells_of_itself_in_the_diagnostics(clients):
    front, rear = clients
    before = rear.total('pairs')
    for _ in range(3):
        front.fuse(*pictures.pair(front.next_stamp_ns()))
    front.wait_for_count('pairs', 3)
    assert rear.total('pairs') == before
