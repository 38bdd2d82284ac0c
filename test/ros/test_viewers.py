"""What the files for rviz and Foxglove name, the running node has."""

import importlib.util
import json
import re

import pytest
from rig import pictures
from rig.stage import ROOT
import yaml

pytestmark = pytest.mark.ros

STATUS = re.compile(
    r'/diagnostics\.status\[:\]\{name=="([^"]+)"\}\.values\[:\]\{key=="([^"]+)"\}\.value'
)


@pytest.fixture(scope='module')
def client(shared_stage):
    """Return a client of a node that has fused a pair."""
    shared_stage.start_node({'ir.normalization': 'passthrough'})
    client = shared_stage.client()
    client.offer('rgb', 'ir')
    client.listen('fused/image_raw')
    client.warm_up(pictures.pair)
    return client


@pytest.fixture(scope='module')
def foxglove():
    return json.loads((ROOT / 'config' / 'foxglove_layout.json').read_text(encoding='utf-8'))


def topics_of(client):
    """Return message type by topic of everything that the node publishes or subscribes."""
    graph = client.node
    found = graph.get_publisher_names_and_types_by_node('tdfusion', '/')
    found += graph.get_subscriber_names_and_types_by_node('tdfusion', '/')
    return {name: kinds[0] for name, kinds in found}


def test_rviz_names_image_topics_of_the_node(client):
    config = yaml.safe_load((ROOT / 'config' / 'fusion.rviz').read_text(encoding='utf-8'))
    kinds = topics_of(client)
    for display in config['Visualization Manager']['Displays']:
        assert kinds['/' + display['Topic']['Value']] == 'sensor_msgs/msg/Image'


def test_foxglove_names_topics_of_the_node(client, foxglove):
    kinds = topics_of(client)
    for panel in foxglove['configById'].values():
        if 'imageMode' in panel:
            assert kinds[panel['imageMode']['imageTopic']] == 'sensor_msgs/msg/Image'
            assert kinds[panel['imageMode']['calibrationTopic']] == 'sensor_msgs/msg/CameraInfo'
            if importlib.util.find_spec('foxglove_msgs'):
                for topic in panel['imageMode'].get('annotations', ()):
                    assert kinds[topic] == 'foxglove_msgs/msg/ImageAnnotations'
        if 'topicToRender' in panel:
            assert kinds[panel['topicToRender']] == 'diagnostic_msgs/msg/DiagnosticArray'


def test_foxglove_plots_numbers_that_the_node_tells(client, foxglove):
    client.wait_for_count('pairs', 1)
    client.status()
    paths = [path for c in foxglove['configById'].values() for path in c.get('paths', ())]
    assert len(paths) == 6
    for path in paths:
        node, key = STATUS.fullmatch(path['value']).groups()
        subject = node.removeprefix('/tdfusion: ')
        assert float(client.statuses[subject].values[key]) >= 0
        assert path['enabled'] is True  # a path without it draws nothing
