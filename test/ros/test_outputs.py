"""Images and annotations are only computed while somebody subscribes."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from rig import pictures

FUSED, OVERLAY, IR = 'fused/image_raw', 'overlay/image_raw', 'ir_registered/image_raw'
EDGES, ANNOTATIONS = 'ir_registered/edges', 'fused/annotations'


@pytest.fixture
def foxglove():
    return pytest.importorskip(
        'foxglove_msgs.msg', reason='no foxglove_msgs: run pip_ros/build_messages.py'
    )


def make_outputs(client, *mask_classes):
    from tdfusion_ros.core.config import FusionConfig
    from tdfusion_ros.node.outputs import Outputs

    contract = SimpleNamespace(classes=('person',), mask_classes=mask_classes)
    return Outputs(client.node, FusionConfig(), contract)


def count_calls(monkeypatch, module, name):
    calls, function = [], getattr(module, name)
    monkeypatch.setattr(module, name, lambda *args: calls.append(function(*args)) or calls[-1])
    return calls


def publish(outputs, client):
    from tdfusion_ros.core.data import Detections
    from tdfusion_ros.core.data import Frame
    from tdfusion_ros.core.data import FusionResult
    from tdfusion_ros.core.data import RegisteredPair
    from tdfusion_ros.core.synchronizer import FramePair

    (rgb, ir), stamp_ns = pictures.scene(), client.next_stamp_ns()
    box, score = np.float32([[8, 8, 40, 60]]), np.float32([0.9])
    found = Detections(box, score, np.zeros(1, np.int64), ids=np.array([7]))
    pair = RegisteredPair(rgb, (ir / 65535).astype(np.float32), np.ones(ir.shape, np.float32))
    frame = Frame(rgb, stamp_ns, 'rgb')
    frames = FramePair(frame, Frame(ir, stamp_ns, 'ir'), 'fused', frame)
    outputs.publish(FusionResult(rgb, found, pair), frames, {})


def test_images_are_only_computed_while_somebody_subscribes(stage, monkeypatch):
    from tdfusion_ros.formats import messages
    from tdfusion_ros.formats import result_topics as module

    drawn = count_calls(monkeypatch, module, 'draw_result')
    images = count_calls(monkeypatch, messages, 'image')
    sender, viewer = stage.client(), stage.client()
    outputs = make_outputs(sender)

    def computed():
        drawn.clear()
        images.clear()
        publish(outputs, sender)
        return len(drawn), len(images)

    assert computed() == (0, 0)
    assert not outputs.wants_fused()
    for topic, wanted in ((IR, (0, 1)), (EDGES, (0, 2)), (OVERLAY, (1, 3)), (FUSED, (1, 4))):
        viewer.listen(topic)
        sender.wait_until(lambda w=wanted: computed() == w, topic)
        viewer.wait_until(lambda t=topic: viewer.received[t], f'{topic} to arrive')
        assert outputs.wants_fused() == (topic in (OVERLAY, FUSED))
    viewer.close()
    sender.wait_until(lambda: computed() == (0, 0), 'the end of all subscriptions')


def test_annotations_are_only_computed_while_somebody_subscribes(stage, monkeypatch, foxglove):
    from tdfusion_ros.formats import foxglove as module

    made = count_calls(monkeypatch, module, 'image_annotations')
    sender, viewer, received = stage.client(), stage.client(), []
    outputs = make_outputs(sender)
    publish(outputs, sender)
    assert not made
    viewer.node.create_subscription(foxglove.ImageAnnotations, ANNOTATIONS, received.append, 50)
    viewer.wait_until(lambda: publish(outputs, sender) or received, 'annotations')
    (box,), (text,) = received[0].points, received[0].texts
    assert (len(box.points), text.text) == (4, 'person #7 0.90')
    assert text.timestamp == received[0].timestamp
    assert not outputs.wants_fused()  # annotations need no fused image


@pytest.mark.parametrize('topic', ['segmentation/image_raw', OVERLAY])
def test_masks_are_only_wanted_while_somebody_subscribes_to_them_or_the_overlay(stage, topic):
    sender, viewer = stage.client(), stage.client()
    outputs = make_outputs(sender, 'background', 'car')
    assert not outputs.wants_masks()
    viewer.listen(FUSED)
    sender.wait_until(outputs.wants_fused, 'a subscription to the fused image')
    assert not outputs.wants_masks()
    viewer.listen(topic)
    sender.wait_until(outputs.wants_masks, f'a subscription to {topic}')


def test_node_publishes_masks_and_their_names_for_a_bundle_with_masks(stage, masked_bundle):
    topic, names = 'segmentation/image_raw', 'segmentation/label_info'
    client = stage.run({'model': str(masked_bundle), 'backend': 'cpu'}, listen=(FUSED, topic))
    client.drive(lambda: client.received[FUSED] and client.received[topic], pictures.pair)
    fused = {pictures.stamp_ns(message): message for message in client.received[FUSED]}
    masks = client.received[topic][-1]
    assert masks.encoding == 'mono8'
    assert masks.header == fused[pictures.stamp_ns(masks)].header
    expected = pictures.pixels(fused[pictures.stamp_ns(masks)])[..., 0] // 128
    np.testing.assert_array_equal(pictures.pixels(masks), expected)
    client.listen(names)  # later than it was published
    client.wait_until(lambda: client.received[names], names)
    [labels] = client.received[names]
    assert [c.class_name for c in labels.class_map] == ['dark', 'bright']


def test_there_are_no_topics_of_masks_without_them_or_of_annotations_without_their_package(
    stage, monkeypatch
):
    for name in ('foxglove_msgs', 'foxglove_msgs.msg'):
        monkeypatch.setitem(sys.modules, name, None)
    client = stage.client()
    make_outputs(client)
    topics = dict(client.node.get_publisher_names_and_types_by_node('client', '/'))
    assert '/detections' in topics
    assert not [topic for topic in topics if topic == f'/{ANNOTATIONS}' or 'segmentation' in topic]


def test_nothing_is_computed_without_a_subscriber(stage):
    client = stage.client()
    client.process = stage.start_node()
    client.offer('rgb', 'ir')
    client.connect()
    client.drive(lambda: int(client.latest().values.get('unsubscribed', 0)) > 5)
    assert 'network_ms_p50' not in client.latest().values
    assert client.statuses['inference'].level == 0
    client.listen('fused/image_raw/compressed')
    client.drive(lambda: client.received['fused/image_raw/compressed'])
    assert 'network_ms_p50' in client.status().values
