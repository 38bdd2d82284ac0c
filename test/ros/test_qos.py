"""Quality of service of the inputs: what the publishers offer is what is asked for."""

import numpy as np
import pytest
from rig import pictures

pytestmark = pytest.mark.ros


@pytest.fixture
def node(stage):
    """Return a node that follows the publishers."""
    return stage.start_node({'input_qos': 'AUTO'})


@pytest.fixture
def client(stage, node):
    """Return a client of that node; it offers nothing yet."""
    client = stage.client()
    client.listen('detections')
    client.status()
    return client


def subscription_is_reliable(client, topic):
    """Return whether the node's subscription asks for reliable delivery, None without one."""
    infos = client.node.get_subscriptions_info_by_topic(topic)
    return infos[0].qos_profile.reliability.name == 'RELIABLE' if len(infos) == 1 else None


@pytest.mark.parametrize('rgb', [True, False], ids=['rgb_reliable', 'rgb_best_effort'])
@pytest.mark.parametrize('ir', [True, False], ids=['ir_reliable', 'ir_best_effort'])
def test_auto_follows_publishers_that_appear_late(client, rgb, ir):
    for topic in ('/rgb/image_raw', '/ir/image_raw'):
        client.wait_until(
            lambda topic=topic: f'waiting for a publisher on {topic}' in client.latest().message,
            'a sentence',
        )
    client.offer('rgb', reliable=rgb)
    client.offer('ir', reliable=ir)
    client.warm_up(pictures.pair)
    assert subscription_is_reliable(client, '/rgb/image_raw') == rgb
    assert subscription_is_reliable(client, '/ir/image_raw') == ir
    assert 'waiting' not in client.status().message


def test_auto_follows_a_publisher_that_comes_back_otherwise(client, node):
    for reliable in (True, False, True):
        client.offer('rgb', 'ir', reliable=reliable)
        client.warm_up(pictures.pair)
        client.wait_until(
            lambda reliable=reliable: (
                subscription_is_reliable(client, '/rgb/image_raw') == reliable
            ),
            'the node to follow',
        )
        client.fuse(*pictures.pair(client.next_stamp_ns()))
        client.withdraw('rgb', 'ir')
    assert not [line for line in node.lines('WARN', 'ERROR') if 'qos' in line]


def test_auto_takes_best_effort_where_one_of_two_publishers_offers_no_more(client, stage):
    second = stage.client()
    second.offer('rgb', reliable=False)
    client.offer('rgb', 'ir', reliable=True)
    client.warm_up(pictures.pair)
    second.connect()
    client.wait_until(
        lambda: subscription_is_reliable(client, '/rgb/image_raw') is False, 'the node to follow'
    )


@pytest.mark.parametrize('name', ['RELIABLE', 'DEFAULT'])
def test_forced_reliable_against_best_effort_logs_the_remedy(stage, name):
    node = stage.start_node({'input_qos': name})
    client = stage.client()
    client.offer('rgb', 'ir', reliable=False)
    remedy = 'set input_qos to AUTO or SENSOR_DATA'
    client.wait_until(lambda: node.log().count(remedy) >= 2, 'the remedy, for both streams')
    lines = node.lines('WARN')
    for topic in ('/rgb/image_raw', '/ir/image_raw'):
        assert [line for line in lines if topic in line and f"'{name}'" in line and remedy in line]


@pytest.mark.parametrize('name', ['RELIABLE', 'SENSOR_DATA', 'SYSTEM_DEFAULT'])
def test_a_named_input_qos_receives_from_reliable_publishers(stage, name):
    stage.start_node({'input_qos': name})
    client = stage.client()
    client.offer('rgb', 'ir', reliable=True)
    client.listen('detections')
    client.warm_up(pictures.pair)


@pytest.mark.parametrize(
    ('name', 'reliable'), [('DEFAULT', True), ('RELIABLE', True), ('SENSOR_DATA', False)]
)
def test_output_qos_is_what_the_parameter_says(stage, name, reliable):
    stage.start_node({'output_qos': name})
    client = stage.client()
    topics = ('/detections', '/fused/image_raw', '/overlay/image_raw')
    for topic in topics:
        client.wait_until(lambda topic=topic: client.node.count_publishers(topic), topic)
        (info,) = client.node.get_publishers_info_by_topic(topic)
        assert (info.qos_profile.reliability.name == 'RELIABLE') == reliable


def test_images_that_dds_loses_are_counted(client):
    client.offer('rgb', 'ir', reliable=False)
    client.warm_up(pictures.pair)
    large = np.zeros((1500, 2000, 3), np.uint8)  # two of them fill the shared memory

    def lost():
        for _ in range(8):
            header = pictures.header(client.next_stamp_ns(), 'rgb')
            client.send('rgb', pictures.image(large, 'rgb8', header))
        return client.total('dropped.rgb.transport')

    client.wait_until(lost, 'a loss that is counted')
