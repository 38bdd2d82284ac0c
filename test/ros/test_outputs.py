"""Images cost time; they are only made while somebody looks."""

import numpy as np
import pytest
from rig import pictures
from rig.client import Client

pytestmark = pytest.mark.ros

FUSED, DRAWN, GRAY = 'fused/image_raw', 'overlay/image_raw', 'ir_registered/image_raw'
EDGES = 'ir_registered/edges'


@pytest.fixture
def outputs(stage, monkeypatch):
    """Return the node's outputs in this process, and counts of what they make."""
    from tdfusion_ros.core.config import FusionConfig
    from tdfusion_ros.formats import messages
    from tdfusion_ros.node import outputs as module

    made = {'draw': 0, 'image': 0}

    def counted(name, function):
        def counting(*args):
            made[name] += 1
            return function(*args)

        return counting

    monkeypatch.setattr(module, 'draw', counted('draw', module.draw))
    monkeypatch.setattr(messages, 'image', counted('image', messages.image))
    return module.Outputs(stage.client().node, FusionConfig(), ('person',)), made


def publish(outputs, stamp_ns):
    """Publish a result without detections."""
    from tdfusion_ros.core.data import Detections
    from tdfusion_ros.core.data import Frame
    from tdfusion_ros.core.data import FusionResult
    from tdfusion_ros.core.data import RegisteredPair
    from tdfusion_ros.core.synchronizer import FramePair

    rgb, ir = pictures.scene()
    heat = (ir / 65535).astype(np.float32)
    nothing = Detections(
        np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)
    )
    pair = RegisteredPair(rgb, heat, np.ones_like(heat, bool))
    frame = Frame(rgb, stamp_ns, 'rgb')
    match = FramePair(frame, Frame(ir, stamp_ns, 'ir'), 'fused', frame)
    outputs.publish(FusionResult(rgb, nothing, pair), match, lambda stream: None)


def made_for(outputs, made, client):
    """Publish once and return how often something was drawn, and how many images were made."""
    made.update(draw=0, image=0)
    publish(outputs, client.next_stamp_ns())
    return made['draw'], made['image']


def test_images_are_only_made_while_somebody_subscribes(stage, outputs):
    outputs, made = outputs
    alone = stage.client()
    assert made_for(outputs, made, alone) == (0, 0)
    assert not outputs.wants_fused()
    viewer = Client()
    try:
        for topic, wanted in ((FUSED, (0, 1)), (DRAWN, (1, 2)), (GRAY, (1, 3)), (EDGES, (1, 4))):
            viewer.listen(topic)
            alone.wait_until(lambda w=wanted: made_for(outputs, made, alone) == w, topic)
            viewer.wait_until(lambda t=topic: viewer.received[t], f'{topic} to arrive')
            assert outputs.wants_fused()
    finally:
        viewer.close()
    alone.wait_until(lambda: made_for(outputs, made, alone) == (0, 0), 'an end of all')


@pytest.mark.parametrize('topic', [FUSED, DRAWN])
def test_either_picture_of_the_fused_image_makes_the_network_compute_it(stage, outputs, topic):
    outputs, _ = outputs
    viewer = stage.client()
    viewer.listen(topic)
    viewer.wait_until(outputs.wants_fused, topic)


def test_detections_are_the_same_whether_anybody_sees_the_fused_image_or_not(stage, demo_pairs):
    stage.start_node()
    client = stage.client()
    client.offer('rgb', 'ir')
    client.listen('detections')
    shown = demo_pairs[0]

    def pair(stamp_ns):
        return [
            pictures.image(frame.pixels, encoding, pictures.header(stamp_ns, stream))
            for stream, frame, encoding in (('rgb', shown.rgb, 'rgb8'), ('ir', shown.ir, 'mono8'))
        ]

    def boxes():
        message = client.fuse(*pair(client.next_stamp_ns()), 'detections')['detections']
        return [
            (d.results[0].hypothesis.class_id, d.bbox.center.position.x, d.bbox.size_x)
            for d in message.detections
        ]

    client.warm_up(pair)
    alone = boxes()
    assert alone
    client.listen(FUSED)
    client.wait_until(lambda: boxes() and client.received[FUSED], 'the fused image')
    for one, other in zip(alone, boxes(), strict=True):
        assert one[0] == other[0]
        np.testing.assert_allclose(one[1:], other[1:], atol=1e-2)
