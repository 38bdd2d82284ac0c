"""Quality of service: the inputs follow the publishers, the outputs the parameter."""

import signal

import numpy as np
import pytest
from rig import pictures

from tdfusion_ros.node import qos

TOPICS = {'rgb': 'rgb/image_raw', 'ir': 'ir/image_raw'}


@pytest.fixture(scope='module')
def client(shared_stage):
    """Return a client that offers nothing yet, of a node that follows the publishers."""
    client = shared_stage.client()
    client.process = shared_stage.start_node({'input_qos': 'AUTO'})
    client.listen('detections')
    return client


def is_reliable(infos):
    """Return whether the only endpoint is reliable, None without exactly one."""
    return infos[0].qos_profile.reliability.name == 'RELIABLE' if len(infos) == 1 else None


def wait_for_subscription(client, stream, reliable):
    client.wait_until(
        lambda: (
            is_reliable(client.node.get_subscriptions_info_by_topic(TOPICS[stream])) is reliable
        ),
        f'a subscription to {stream} with reliable = {reliable}',
    )


def test_auto_follows_publishers_that_appear_late_and_return_with_another_qos(client):
    for topic in TOPICS.values():
        client.wait_until(
            lambda topic=topic: f'publisher on /shared/{topic}' in client.latest().message,
            'the reason',
        )
    for rgb, ir in ((True, True), (False, False), (True, False), (False, True), (True, True)):
        client.offer('rgb', reliable=rgb)
        client.offer('ir', reliable=ir)
        client.connect()
        wait_for_subscription(client, 'rgb', rgb)
        wait_for_subscription(client, 'ir', ir)
        client.warm_up()  # resends: the node may just have subscribed again
        client.withdraw('rgb', 'ir')
    assert 'waiting' not in client.status().message
    assert not [line for line in client.process.lines('WARN', 'ERROR') if 'qos' in line]


def test_auto_uses_best_effort_if_one_of_two_publishers_offers_no_more(client, stage):
    second = stage.client('/shared')
    second.offer('rgb', reliable=False)
    client.offer('rgb', 'ir', reliable=True)
    wait_for_subscription(client, 'rgb', False)
    client.warm_up()
    client.withdraw('rgb', 'ir')


def test_images_that_dds_loses_are_counted(client):
    client.offer('rgb', 'ir', reliable=False)
    client.warm_up()
    large = np.zeros((1500, 2000, 3), np.uint8)  # two of them fill the shared memory

    def lost():
        client.process.signal(signal.SIGSTOP)  # so that it does not read them as they come
        for _ in range(8):
            header = pictures.header(client.next_stamp_ns(), 'rgb')
            client.send('rgb', pictures.image(large, 'rgb8', header))
        client.process.signal(signal.SIGCONT)
        return client.total('dropped.rgb.transport')

    client.wait_until(lost, 'a counted loss', timeout=240.0)
    client.withdraw('rgb', 'ir')


def test_reliable_input_qos_and_best_effort_publishers_log_the_remedy(stage):
    node = stage.start_node({'input_qos': 'RELIABLE'})
    client = stage.client()
    client.offer('rgb', 'ir', reliable=False)
    remedy = 'set input_qos to AUTO or SENSOR_DATA'
    client.wait_until(lambda: node.log().count(remedy) >= 2, 'the remedy, for both streams')
    lines = [line for line in node.lines('WARN') if "'RELIABLE'" in line and remedy in line]
    for topic in TOPICS.values():
        assert [line for line in lines if topic in line]


@pytest.mark.parametrize(
    ('name', 'reliable'), [('DEFAULT', True), ('RELIABLE', True), ('SENSOR_DATA', False)]
)
def test_named_qos_applies_to_inputs_and_outputs(make_node, name, reliable):
    node = make_node({'input_qos': name, 'output_qos': name})
    assert node.autostart()
    for topic in TOPICS.values():
        assert is_reliable(node.get_subscriptions_info_by_topic(topic)) is reliable
    for topic in ('detections', 'fused/image_raw', 'overlay/image_raw'):
        assert is_reliable(node.get_publishers_info_by_topic(topic)) is reliable


def test_system_default_qos_receives_from_reliable_publishers(stage):
    stage.run({'input_qos': 'SYSTEM_DEFAULT'})


def test_policies_that_the_user_sets_replace_those_of_the_node(stage):
    prefix = 'qos_overrides./{}/image_raw.{}.reliability'
    overrides = {
        prefix.format('rgb', 'subscription'): 'best_effort',
        prefix.format('fused', 'publisher'): 'best_effort',
    }
    client = stage.run(overrides)
    assert is_reliable(client.node.get_subscriptions_info_by_topic('/rgb/image_raw')) is False
    assert is_reliable(client.node.get_subscriptions_info_by_topic('/ir/image_raw')) is True
    assert is_reliable(client.node.get_publishers_info_by_topic('/fused/image_raw')) is False
    assert is_reliable(client.node.get_publishers_info_by_topic('/overlay/image_raw')) is True


def test_overrides_of_unknown_topics_entities_and_policies_are_named(make_node):
    right = (
        '/in_process/rgb/image_raw.subscription.depth',
        '/in_process/fused/image_raw.publisher.depth',
    )
    wrong = ('/in_process/rgb/imge_raw.subscription.depth', '/fused/image_raw.publisher.depth')
    wrong += (
        '/in_process/rgb/image_raw.subscription.relability',
        '/in_process/fused/image_raw.publisher',
        '/a',
    )
    given = {f'qos_overrides.{name}': 1 for name in right}
    node = make_node(given | {f'qos_overrides.{name}': 1 for name in wrong})
    assert node.autostart()
    assert sorted(qos.without_effect(node)) == sorted(f'qos_overrides.{name}' for name in wrong)
