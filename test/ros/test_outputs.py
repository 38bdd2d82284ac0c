"""Overlay and registered ir cost time; they are only made while somebody looks."""

import numpy as np
import pytest
from rig import pictures
from rig.client import Client

pytestmark = pytest.mark.ros

DRAWN, GREY = 'overlay/image_raw', 'ir_registered/image_raw'


@pytest.fixture
def outputs(stage, monkeypatch):
    """Return the node's outputs in this process, and counts of what they make."""
    from tdfusion_ros import messages
    from tdfusion_ros import outputs as module
    from tdfusion_ros.core.config import FusionConfig

    made = {'draw': 0, 'image': 0}

    def counted(name, function):
        def counting(*args):
            made[name] += 1
            return function(*args)

        return counting

    monkeypatch.setattr(module, 'draw', counted('draw', module.draw))
    monkeypatch.setattr(messages, 'image', counted('image', messages.image))
    return module.Outputs(stage.client().node, FusionConfig(), ('person',)), made


def publish(outputs, stamp_ns):
    """Publish a result without detections."""
    from tdfusion_ros.core.data import Detections
    from tdfusion_ros.core.data import Frame
    from tdfusion_ros.core.data import FusionResult
    from tdfusion_ros.core.data import RegisteredPair

    rgb, ir = pictures.scene()
    heat = (ir / 65535).astype(np.float32)
    nothing = Detections(
        np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)
    )
    pair = RegisteredPair(rgb, heat, np.ones_like(heat, bool))
    outputs.publish(FusionResult(rgb, nothing, pair), Frame(rgb, stamp_ns, 'rgb'), None)


def made_for(outputs, made, client):
    """Publish once and return how often something was drawn, and how many images were made."""
    made.update(draw=0, image=0)
    publish(outputs, client.next_stamp_ns())
    return made['draw'], made['image']


def test_overlay_and_registered_ir_are_only_made_while_somebody_subscribes(stage, outputs):
    outputs, made = outputs
    alone = stage.client()
    assert made_for(outputs, made, alone) == (0, 1)
    viewer = Client()
    try:
        viewer.listen(DRAWN)
        alone.wait_until(lambda: made_for(outputs, made, alone) == (1, 2), 'the overlay')
        viewer.wait_until(lambda: viewer.received[DRAWN], 'the overlay to arrive')
        viewer.listen(GREY)
        alone.wait_until(lambda: made_for(outputs, made, alone) == (1, 3), 'the ir image')
        viewer.wait_until(lambda: viewer.received[GREY], 'the ir image to arrive')
    finally:
        viewer.close()
    alone.wait_until(lambda: made_for(outputs, made, alone) == (0, 1), 'an end of both')
