"""Two nodes at once."""

import numpy as np
from rig import pictures


def test_two_nodes_do_not_mix_their_images_and_diagnostics(stage, oracle):
    from tdfusion_ros.core.data import Frame

    parameters = {'ir.normalization': 'passthrough'}
    topics = ('fused/image_raw', 'detections', 'ir_registered/image_raw')
    clients = [stage.run(parameters, namespace=n, listen=topics) for n in ('/front', '/rear')]
    front, rear = clients
    for step in range(10):  # both with the same stamps
        stamp_ns = max(client.next_stamp_ns() for client in clients)
        pairs = [pictures.pair(stamp_ns, seed=2 * step + at) for at in range(2)]
        for client, (rgb, ir) in zip(clients, pairs, strict=True):
            rgb.header.frame_id = client.node.get_namespace()
            client.send_pair(rgb, ir)
        for at, client in enumerate(clients):
            rgb = pairs[at][0]
            found = client.results(rgb.header.stamp)
            expected = oracle.process(*(Frame(p, 0) for p in pictures.scene(2 * step + at)))
            fused = pictures.pixels(found['fused/image_raw'])
            np.testing.assert_array_equal(fused, expected.fused)
            assert {m.header.frame_id for m in found.values()} == {rgb.header.frame_id}
    for client in clients:
        assert {topic: len(client.received[topic]) for topic in topics} == dict.fromkeys(
            topics, 10
        )
    before = {client: client.total('pairs') for client in clients}
    for _ in range(3):
        front.fuse(*pictures.pair(front.next_stamp_ns()))
    front.wait_for_count('pairs', before[front] + 3)
    assert rear.total('pairs') == before[rear]
