"""Files for viewers that are not here to try: rviz and Foxglove."""

import json

import yaml

from tdfusion_ros.core.config import FusionConfig

INPUTS = {'rgb/image_raw', 'ir/image_raw'}
OUTPUTS = {'fused/image_raw', 'overlay/image_raw', 'ir_registered/image_raw'}


def test_rviz_shows_inputs_and_outputs_whatever_their_publishers_offer(root):
    rviz = yaml.safe_load((root / 'config' / 'fusion.rviz').read_text(encoding='utf-8'))
    displays = rviz['Visualization Manager']['Displays']
    assert {d['Topic']['Value'] for d in displays} == INPUTS | OUTPUTS
    for display in displays:
        assert display['Class'] == 'rviz_default_plugins/Image'
        # Best effort receives from reliable publishers and from best effort ones.
        assert display['Topic']['Reliability Policy'] == 'Best Effort'
        assert display['Topic']['Durability Policy'] == 'Volatile'
        assert display['Enabled'] == display['Value']


def test_foxglove_shows_inputs_and_outputs_and_boxes_over_the_fused_image_alone(root):
    layout = json.loads((root / 'config' / 'foxglove_layout.json').read_text(encoding='utf-8'))
    modes = [c['imageMode'] for c in layout['configById'].values() if 'imageMode' in c]
    drawn = {mode['imageTopic']: mode.get('annotations') for mode in modes}
    assert drawn == {
        '/rgb/image_raw': None,
        '/ir/image_raw': None,
        '/fused/image_raw': {'/fused/annotations': {'visible': True}},
        '/overlay/image_raw': None,
    }


def test_the_analyzer_takes_the_statuses_of_the_node(root):
    text = (root / 'config' / 'diagnostic_aggregator.yaml').read_text(encoding='utf-8')
    analyzer = yaml.safe_load(text)['/**']['ros__parameters']['tdfusion']
    status = '/tdfusion: rgb stream'  # as node/diagnostics_publisher.py names it
    assert [status.startswith(prefix) for prefix in analyzer['startswith']] == [True]
    assert analyzer['timeout'] > FusionConfig().diagnostics_period_s
    (prefix,) = analyzer['remove_prefix']
    assert status.removeprefix(prefix) == 'rgb stream'
