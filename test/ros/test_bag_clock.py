"""A bag's clock (use_sim_time): it stands before the bag plays, at its end and in a pause."""

from diagnostic_msgs.msg import DiagnosticArray
import pytest
from rig import pictures

pytestmark = pytest.mark.ros


def test_node_works_and_tells_of_itself_while_the_bags_clock_stands_still(stage):
    stage.start_node({'use_sim_time': True})
    client = stage.client()
    told = []
    client.node.create_subscription(DiagnosticArray, '/diagnostics', told.append, 10)
    client.wait_until(lambda: len(told) >= 2, 'diagnostics without a clock')
    # Published only after the node looked for publishers at its start.
    client.offer('rgb', 'ir')
    client.listen('fused/image_raw')
    client.warm_up(pictures.pair)
    last = pictures.pair(client.next_stamp_ns(), seed=1)
    found = client.fuse(*last)
    assert found['fused/image_raw'].header == last[0].header
    before = len(told)
    client.wait_until(lambda: len(told) >= before + 2, 'diagnostics after the last image')
