"""Files for viewers that are not here to try: rviz and Foxglove."""

import json

import pytest
import yaml

from tdfusion_ros.core.config import FusionConfig

INPUTS = {'rgb/image_raw', 'ir/image_raw'}
OUTPUTS = {'fused/image_raw', 'overlay/image_raw', 'ir_registered/image_raw'}


@pytest.fixture(scope='module')
def rviz(root):
    return yaml.safe_load((root / 'config' / 'fusion.rviz').read_text(encoding='utf-8'))


@pytest.fixture(scope='module')
def foxglove(root):
    return json.loads((root / 'config' / 'foxglove_layout.json').read_text(encoding='utf-8'))


def leaves(layout):
    """Return the panels of a layout in their order; each split must be whole."""
    if isinstance(layout, str):
        return [layout]
    assert layout.keys() == {'direction', 'splitPercentage', 'first', 'second'}
    assert layout['direction'] in ('row', 'column')
    assert 0 < layout['splitPercentage'] < 100
    return leaves(layout['first']) + leaves(layout['second'])


def test_rviz_shows_inputs_and_outputs_whatever_their_publishers_offer(rviz):
    displays = rviz['Visualization Manager']['Displays']
    assert {d['Topic']['Value'] for d in displays} == INPUTS | OUTPUTS
    for display in displays:
        assert display['Class'] == 'rviz_default_plugins/Image'
        # Best effort receives from reliable publishers and from best effort ones.
        assert display['Topic']['Reliability Policy'] == 'Best Effort'
        assert display['Topic']['Durability Policy'] == 'Volatile'
        assert display['Enabled'] == display['Value']
    classes = {panel['Class'] for panel in rviz['Panels']}
    assert classes == {'rviz_common/Displays', 'rviz_common/Time'}


def test_rviz_window_places_every_display_and_panel_by_its_name(rviz):
    state = bytes.fromhex(rviz['Window Geometry']['QMainWindow State'])
    named = [d['Name'] for d in rviz['Visualization Manager']['Displays']]
    for name in [*named, *(panel['Name'] for panel in rviz['Panels'])]:
        text = name.encode('utf-16-be')
        assert len(text).to_bytes(4, 'big') + text in state  # as QDataStream writes a QString
    shown = {d['Name'] for d in rviz['Visualization Manager']['Displays'] if d['Enabled']}
    assert shown <= rviz['Window Geometry'].keys()


def test_foxglove_layout_places_every_panel_once(foxglove):
    assert sorted(leaves(foxglove['layout'])) == sorted(foxglove['configById'])
    kinds = {name.partition('!')[0] for name in foxglove['configById']}
    assert kinds == {'Image', 'Plot', 'DiagnosticSummary'}


def test_foxglove_shows_inputs_and_outputs_and_boxes_over_the_fused_image_alone(foxglove):
    modes = [c['imageMode'] for c in foxglove['configById'].values() if 'imageMode' in c]
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
