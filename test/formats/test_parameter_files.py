"""Parameter files: of one node, of a whole robot, of several rigs."""

import pytest
import yaml

from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.formats.parameter_files import read_parameters

CAMERA = {'ros__parameters': {'image_width': 640}}


def threshold(value, **others):
    return {'ros__parameters': {'score_threshold': value, **others}}


@pytest.fixture
def read(tmp_path):
    """Return a function that writes a file and reads the parameters of a node."""

    def read(tree, node=''):
        path = tmp_path / 'params.yaml'
        path.write_text(tree if isinstance(tree, str) else yaml.safe_dump(tree, sort_keys=False))
        return read_parameters(path, node)

    return read


@pytest.mark.parametrize(
    'tree',
    [
        {'/**': threshold(0.5)},
        {'fusion_of_front': threshold(0.5)},
        {'/rig': {'tdfusion': threshold(0.5)}},
        {'/**': {'tdfusion': threshold(0.5)}},
        *(
            f'tdfusion: {{ros__parameters: {{score_threshold: {number}}}}}'
            for number in ('5e-1', '+5.e-1', '0.05E1', '.005e2', '.5')
        ),
        {'usb_cam': CAMERA, 'tdfusion': threshold(0.5)},
        {'usb_cam': CAMERA, '/rig/tdfusion': threshold(0.5)},
        {'/rig': {'usb_cam': CAMERA, 'tdfusion': threshold(0.5)}},
        {'/**': threshold(0.9), 'usb_cam': CAMERA, 'tdfusion': threshold(0.5)},
        {'tdfusion': threshold(0.5), '/**': threshold(0.9)},
        {'tdfusion': threshold(0.5), '/other/*': threshold(0.9)},
        {'/*': threshold(0.5), 'usb_cam': CAMERA, 'tdfusion': threshold(0.5)},
        {'/**': threshold(0.5), '/**/usb_cam': CAMERA, '/rig/tdfusion': threshold(0.5)},
        {'/**': threshold(0.5, use_sim_time=True, **{'qos_overrides./a': {'depth': 3}})},
    ],
    ids=str,
)
def test_parameters_of_our_node_are_found_among_those_of_others(read, tree):
    assert read(tree) == {'score_threshold': 0.5}


def test_nested_parameters_get_dotted_names(read):
    assert read({'/**': {'ros__parameters': {'ir': {'invert': True}}}}) == {'ir.invert': True}


RIGS = {'/**': threshold(0.1), '/rig1': {'tdfusion': threshold(0.5)}, '/rig2/tdfusion': CAMERA}


def test_of_several_nodes_one_must_be_chosen(read):
    with pytest.raises(ConfigError, match=r'/rig1/tdfusion, /rig2/tdfusion; .*--node /rig1/td'):
        read(RIGS)
    assert read(RIGS, '/rig1/tdfusion') == {'score_threshold': 0.5}
    assert read(RIGS, 'rig2/tdfusion') == {'score_threshold': 0.1, 'image_width': 640}
    assert read(RIGS, '/rig3/tdfusion') == {'score_threshold': 0.1}
    with pytest.raises(ConfigError, match='parameters of /lidar, /usb_cam; choose'):
        read({'usb_cam': CAMERA, 'lidar': threshold(0.1)})


@pytest.mark.parametrize('tree', ['', '[1]', 'a: 1', '3', 'tdfusion: {score_threshold: 1}'])
def test_file_without_parameters_is_refused_with_what_it_should_be(read, tree):
    with pytest.raises(ConfigError, match=r'params.yaml is not a parameter file: expected NODE'):
        read(tree)
