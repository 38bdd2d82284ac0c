"""What the node publishes for a pair: headers, infos, labels, detections."""

import numpy as np
import pytest
from rig import pictures
from rig.client import OUTPUTS

pytestmark = pytest.mark.ros

CLASSES = ['person', 'bicycle', 'car']


@pytest.fixture(scope='module')
def client(shared_stage):
    """Return a client that listens to every output of a running node."""
    shared_stage.start_node({'ir.normalization': 'passthrough'})
    client = shared_stage.client()
    client.offer('rgb', 'ir', 'rgb_info', 'ir_info')
    client.listen(*OUTPUTS)
    client.connect()
    client.warm_up(with_infos(client))
    for _ in range(4):  # from here on the node knows the rate
        client.fuse(*pictures.pair(client.next_stamp_ns()))
    client.forget()
    return client


def with_infos(client):
    """Return what makes a pair and sends both infos ahead of it."""

    def make_pair(stamp_ns):
        client.send('rgb_info', pictures.camera_info(pictures.header(stamp_ns, 'rgb')))
        client.send('ir_info', pictures.camera_info(pictures.header(stamp_ns, 'ir'), (9, 9)))
        return pictures.pair(stamp_ns)

    return make_pair


@pytest.mark.parametrize('order', [('rgb', 'ir'), ('ir', 'rgb')], ids=lambda o: f'{o[1]}_last')
@pytest.mark.parametrize('skew_ns', [8_000_000, -8_000_000])
def test_every_output_carries_the_rgb_header_whichever_image_arrives_last(client, order, skew_ns):
    rgb, ir = pictures.pair(client.next_stamp_ns(), skew_ns=skew_ns)
    messages = {'rgb': rgb, 'ir': ir}
    first, last = order
    before = client.total(first)
    client.send(first, messages[first])
    client.wait_for_count(first, before + 1)
    client.send(last, messages[last])
    found = client.results(rgb.header.stamp)
    assert {topic: message.header for topic, message in found.items()} == dict.fromkeys(
        OUTPUTS, rgb.header
    )
    assert all(d.header == rgb.header for d in found['detections'].detections)


def test_fused_image_is_what_the_pipeline_makes_of_the_pair(client, oracle):
    from tdfusion_ros.core.data import Frame

    rgb, ir = pictures.pair(client.next_stamp_ns(), seed=3)
    found = client.fuse(rgb, ir)
    expected = oracle.process(*(Frame(p, 0) for p in pictures.scene(3)))
    np.testing.assert_array_equal(pictures.pixels(found['fused/image_raw']), expected.fused)
    np.testing.assert_array_equal(
        pictures.pixels(found['ir_registered/image_raw']), np.round(expected.pair.ir * 255)
    )


def test_fused_camera_info_equals_the_rgb_cameras_info(client):
    rgb, ir = pictures.pair(client.next_stamp_ns())
    info = client.fuse(rgb, ir)['fused/camera_info']
    assert info == pictures.camera_info(rgb.header)


def test_an_empty_scene_publishes_an_empty_array(client):
    head = pictures.header(client.next_stamp_ns(), 'rgb_optical_frame')
    black = np.zeros((*pictures.SMALL_HW, 3), np.uint8)
    ramp = np.tile(np.arange(pictures.SMALL_HW[1], dtype=np.uint8), (pictures.SMALL_HW[0], 1))
    found = client.fuse(pictures.image(black, 'rgb8', head), pictures.image(ramp, 'mono8', head))
    assert found['detections'].header == head
    assert found['detections'].detections == []
    np.testing.assert_array_equal(
        pictures.pixels(found['overlay/image_raw']), pictures.pixels(found['fused/image_raw'])
    )


def test_label_info_reaches_a_late_subscriber(client, shared_stage):
    late = shared_stage.client()
    late.listen('label_info')
    late.wait_until(lambda: late.received['label_info'], 'label_info')
    (labels,) = late.received['label_info']
    assert {c.class_id: c.class_name for c in labels.class_map} == dict(enumerate(CLASSES))
    assert labels.threshold == pytest.approx(0.3)
    assert labels.header.stamp.sec > 0


def test_output_images_are_rgb8_and_mono8_of_the_rgb_size(client):
    found = client.fuse(*pictures.pair(client.next_stamp_ns()))
    images = {topic: found[topic] for topic in OUTPUTS if topic.endswith('image_raw')}
    assert {topic: m.encoding for topic, m in images.items()} == {
        'fused/image_raw': 'rgb8',
        'overlay/image_raw': 'rgb8',
        'ir_registered/image_raw': 'mono8',
    }
    for message in images.values():
        assert (message.height, message.width) == pictures.SMALL_HW
        assert len(message.data) == message.height * message.step


def test_a_camera_info_of_another_size_is_not_passed_on(client):
    head = pictures.header(client.next_stamp_ns(), 'rgb')
    client.send('rgb_info', pictures.camera_info(head, (480, 640)))
    for _ in range(3):  # when the last pair is back, that info has long been seen
        rgb, ir = pictures.pair(client.next_stamp_ns())
        client.fuse(rgb, ir, 'fused/image_raw', 'ir_registered/image_raw')
    sizes = {(m.height, m.width) for m in client.received['fused/camera_info']}
    assert sizes <= {pictures.SMALL_HW}
    client.warm_up(with_infos(client))
