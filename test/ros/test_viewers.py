"""The topics and values in the files for rviz and Foxglove exist in the running node."""

import importlib.util
import json
import re

import pytest
from rig.stage import ROOT
import yaml

STATUS = re.compile(
    r'/diagnostics\.status\[:\]\{name=="([^"]+)"\}\.values\[:\]\{key=="([^"]+)"\}\.value'
)


@pytest.fixture
def panels():
    text = (ROOT / 'config' / 'foxglove_layout.json').read_text(encoding='utf-8')
    return json.loads(text)['configById'].values()


@pytest.fixture
def kinds(client):
    """Return the message type of every topic of the node, without its namespace."""
    node = client.node
    found = node.get_publisher_names_and_types_by_node('tdfusion', '/session')
    found += node.get_subscriber_names_and_types_by_node('tdfusion', '/session')
    return {name.removeprefix('/session'): types[0] for name, types in found}


def test_rviz_shows_image_topics_of_the_node_whatever_their_publishers_offer(kinds):
    config = yaml.safe_load((ROOT / 'config' / 'fusion.rviz').read_text(encoding='utf-8'))
    topics = [display['Topic'] for display in config['Visualization Manager']['Displays']]
    assert len(topics) == 5
    for topic in topics:
        assert kinds['/' + topic['Value']] == 'sensor_msgs/msg/Image'
        # Best effort receives from reliable publishers and from best effort ones.
        assert topic['Reliability Policy'] == 'Best Effort'
        assert topic['Durability Policy'] == 'Volatile'


def test_foxglove_shows_topics_of_the_node(kinds, panels):
    for panel in panels:
        if mode := panel.get('imageMode'):
            assert kinds[mode['imageTopic']] == 'sensor_msgs/msg/Image'
            assert kinds[mode['calibrationTopic']] == 'sensor_msgs/msg/CameraInfo'
            if importlib.util.find_spec('foxglove_msgs'):
                for topic in mode.get('annotations', ()):
                    assert kinds[topic] == 'foxglove_msgs/msg/ImageAnnotations'
                    assert mode['imageTopic'] == '/fused/image_raw'  # others have boxes, or none
        if 'topicToRender' in panel:
            assert kinds[panel['topicToRender']] == 'diagnostic_msgs/msg/DiagnosticArray'


def test_foxglove_plots_values_of_the_diagnostics(client, panels):
    client.status()
    paths = [path for panel in panels for path in panel.get('paths', ())]
    assert len(paths) == 6
    for path in paths:
        name, key = STATUS.fullmatch(path['value']).groups()
        assert float(client.statuses[name.removeprefix('/tdfusion: ')].values[key]) >= 0
        assert path['enabled'] is True  # otherwise it draws nothing
