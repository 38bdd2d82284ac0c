"""Boxes for Foxglove, over DDS, and no such topic where foxglove_msgs is not installed."""

import sys

import pytest
from rig import pictures
from rig.client import Client

pytestmark = pytest.mark.ros

TOPIC = 'fused/annotations'


@pytest.fixture
def foxglove():
    return pytest.importorskip(
        'foxglove_msgs.msg', reason='no foxglove_msgs: run pip_ros/build_messages.py'
    )


def outputs_of(client):
    from tdfusion_ros.core.config import FusionConfig
    from tdfusion_ros.node.outputs import Outputs

    return Outputs(client.node, FusionConfig(), ('person',))


def topics_of(client):
    return dict(client.node.get_publisher_names_and_types_by_node('client', '/'))


def test_annotations_over_dds_are_the_detections_of_the_same_image(stage, demo_pairs, foxglove):
    stage.start_node()
    client = stage.client()
    client.offer('rgb', 'ir')
    client.listen('detections')
    arrived = []
    client.node.create_subscription(foxglove.ImageAnnotations, TOPIC, arrived.append, 50)
    shown = demo_pairs[0]

    def pair(stamp_ns):
        return [
            pictures.image(frame.pixels, encoding, pictures.header(stamp_ns, stream))
            for stream, frame, encoding in (('rgb', shown.rgb, 'rgb8'), ('ir', shown.ir, 'mono8'))
        ]

    client.warm_up(pair)
    rgb, ir = pair(client.next_stamp_ns())
    found = client.fuse(rgb, ir, 'detections')['detections'].detections
    (made,) = client.wait_until(
        lambda: [one for one in arrived if one.timestamp == rgb.header.stamp], TOPIC
    )
    assert found
    assert len(made.points) == len(made.texts) == len(found)
    for box, text, detection in zip(made.points, made.texts, found, strict=True):
        hypothesis = detection.results[0].hypothesis
        assert text.text == f'{hypothesis.class_id} {hypothesis.score:.2f}'
        assert text.timestamp == box.timestamp == rgb.header.stamp
        xs, ys = ([getattr(point, axis) for point in box.points] for axis in 'xy')
        center = detection.bbox.center.position
        assert (sum(xs) / 4, sum(ys) / 4) == pytest.approx((center.x, center.y))
        assert (max(xs) - min(xs), max(ys) - min(ys)) == pytest.approx(
            (detection.bbox.size_x, detection.bbox.size_y)
        )


def test_annotations_are_only_made_while_somebody_subscribes(stage, monkeypatch, foxglove):
    from test_outputs import publish

    from tdfusion_ros.formats import foxglove as annotations

    made = []
    fill = annotations.image_annotations
    monkeypatch.setattr(
        annotations, 'image_annotations', lambda *given: made.append(fill(*given)) or made[-1]
    )
    sender = stage.client()
    outputs = outputs_of(sender)
    publish(outputs, sender.next_stamp_ns())
    assert not made
    viewer, arrived = Client(), []
    try:
        viewer.node.create_subscription(foxglove.ImageAnnotations, TOPIC, arrived.append, 50)
        viewer.wait_until(
            lambda: publish(outputs, sender.next_stamp_ns()) or arrived, 'annotations'
        )
        assert not arrived[0].points
        assert not outputs.wants_fused()  # they need no fused image
    finally:
        viewer.close()


def test_topic_does_not_exist_where_foxglove_msgs_is_not_installed(stage, monkeypatch):
    for name in ('foxglove_msgs', 'foxglove_msgs.msg'):
        monkeypatch.setitem(sys.modules, name, None)
    client = stage.client()
    outputs = outputs_of(client)
    assert '/detections' in topics_of(client)  # so the others are known by now
    assert f'/{TOPIC}' not in topics_of(client)
    outputs.destroy()
