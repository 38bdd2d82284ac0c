"""``--help`` of the node."""

import pytest

from tdfusion_ros.node.__main__ import main


@pytest.mark.parametrize('flag', ['-h', '--help'])
def test_help_of_the_node_is_printed_and_ends(flag, capsys):
    assert main([flag]) == 0
    assert 'usage: ros2 run tdfusion_ros fusion_node' in capsys.readouterr().out
