"""What the node publishes for a pair: headers, camera infos, labels, detections, types."""

import numpy as np
import pytest
from rig import pictures
from rig.client import OUTPUTS
import vision_msgs.msg

CLASSES = ['person', 'bicycle', 'car']
# They cover all nested definitions, too.
TYPE_HASHES = {
    'Detection2DArray': 'RIHS01_214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968',
    'LabelInfo': 'RIHS01_3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783',
}


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


def test_outputs_are_what_the_pipeline_computes_from_the_pair(client, oracle):
    from tdfusion_ros.core.data import Frame

    rgb, ir = pictures.pair(client.next_stamp_ns(), seed=3)
    found = client.fuse(rgb, ir)
    expected = oracle.process(*(Frame(p, 0) for p in pictures.scene(3)))
    np.testing.assert_array_equal(pictures.pixels(found['fused/image_raw']), expected.fused)
    np.testing.assert_array_equal(
        pictures.pixels(found['ir_registered/image_raw']), np.round(expected.pair.ir * 255)
    )
    assert found['fused/camera_info'] == pictures.camera_info(rgb.header)
    images = {topic: found[topic] for topic in OUTPUTS if topic.endswith('image_raw')}
    assert {topic: m.encoding for topic, m in images.items()} == {
        'fused/image_raw': 'rgb8',
        'overlay/image_raw': 'rgb8',
        'ir_registered/image_raw': 'mono8',
    }
    for message in images.values():
        assert (message.height, message.width) == pictures.SMALL_HW
        assert len(message.data) == message.height * message.step


def test_compressed_outputs_are_the_raw_ones_as_jpeg(client):
    from tdfusion_ros.formats.decode import decode_compressed

    found = client.fuse(*pictures.pair(client.next_stamp_ns(), seed=3))
    for topic in ('fused/image_raw', 'overlay/image_raw'):
        message, raw = found[f'{topic}/compressed'], pictures.pixels(found[topic])
        assert message.format == 'rgb8; jpeg compressed bgr8'
        decoded = decode_compressed(message.format, np.frombuffer(message.data, np.uint8))
        assert np.abs(decoded.astype(int) - raw).mean() < 6
        assert len(message.data) < raw.nbytes / 2


def test_an_empty_scene_publishes_an_empty_array(client):
    head = pictures.header(client.next_stamp_ns(), 'rgb_optical_frame')
    black = np.zeros((*pictures.SMALL_HW, 3), np.uint8)
    levels = np.arange(pictures.SMALL_HW[1], dtype=np.uint8) * np.uint16(257)
    ramp = np.tile(levels, (pictures.SMALL_HW[0], 1))
    found = client.fuse(pictures.image(black, 'rgb8', head), pictures.image(ramp, 'mono16', head))
    for topic in ('detections', 'detections/temperature'):
        assert found[topic].header == head
        assert found[topic].detections == []
    np.testing.assert_array_equal(
        pictures.pixels(found['overlay/image_raw']), pictures.pixels(found['fused/image_raw'])
    )


def test_label_info_reaches_a_late_subscriber(client, stage):
    late = stage.client('/session')
    late.listen('label_info')
    late.wait_until(lambda: late.received['label_info'], 'label_info')
    (labels,) = late.received['label_info']
    assert {c.class_id: c.class_name for c in labels.class_map} == dict(enumerate(CLASSES))
    assert labels.threshold == pytest.approx(0.5)
    assert labels.header.stamp.sec > 0


def test_a_camera_info_of_another_size_is_not_passed_on(client):
    client.drive_frames(5, client.pair_with_infos((480, 640)))
    sizes = {(m.height, m.width) for m in client.received['fused/camera_info']}
    assert sizes <= {pictures.SMALL_HW}  # the previous info, until the new one is received
    client.warm_up(client.pair_with_infos())


def test_a_remapping_of_the_raw_images_holds_for_all_topics_of_the_camera(stage):
    client = stage.client()
    node = stage.start_node(
        {'rgb.image_transport': 'compressed'},
        remappings=('rgb/image_raw:=/cam/image', 'ir/image_raw:=/t/raw', 'ir/camera_info:=/i'),
    )
    client.wait_until(lambda: 'receiving' in node.log(), 'the node to subscribe')
    assert 'rgb images from /cam/image/compressed, ir images from /t/raw' in node.log()
    for topic in ('/cam/camera_info', '/i'):
        client.wait_until(lambda t=topic: client.node.count_subscribers(t) == 1, topic)


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
        assert {name: len(client.received[name]) for name in topics} == dict.fromkeys(topics, 10)
    before = {client: client.total('pairs') for client in clients}
    for _ in range(3):
        front.fuse(*pictures.pair(front.next_stamp_ns()))
    front.wait_for_count('pairs', before[front] + 3)
    assert rear.total('pairs') == before[rear]


@pytest.mark.parametrize('kind', TYPE_HASHES)
def test_type_hash_on_the_wire_is_that_of_the_released_vision_msgs(stage, kind):
    node = stage.client().node
    publisher = node.create_publisher(getattr(vision_msgs.msg, kind), 'hashed', 1)
    (endpoint,) = node.get_publishers_info_by_topic(publisher.topic_name)
    if not hasattr(endpoint, 'topic_type_hash'):
        pytest.skip('this ROS distribution has no type hashes')
    value = endpoint.topic_type_hash
    assert f'RIHS{value.version:02d}_{bytes(value.value).hex()}' == TYPE_HASHES[kind]
