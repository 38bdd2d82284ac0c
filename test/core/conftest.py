"""A pipeline without a network; property-based tests draw the same examples each time."""

from hypothesis import settings
import numpy as np
import pytest

from tdfusion_ros.core.calibration import Identity
from tdfusion_ros.core.config import from_mapping
from tdfusion_ros.core.data import RawOutput
from tdfusion_ros.core.pipeline import Pipeline

settings.register_profile('tdfusion', derandomize=True, database=None, deadline=None)
settings.load_profile('tdfusion')


class Recorder:
    """A backend that records its inputs and returns the rgb image and one box around it."""

    name = 'recorder'

    def run(self, rgb, ir, coverage, *, fused=True, segmentation=True):
        self.rgb, self.ir, self.coverage, self.fused = rgb, ir, coverage, fused
        box = np.array([[0, 0, rgb.shape[1], rgb.shape[0]]], np.float32)
        return RawOutput(rgb if fused else None, box, np.array([[0.9, 0, 0]], np.float32))


@pytest.fixture
def make(pipeline):
    """Return a function that makes a pipeline with a recorder in place of the network."""

    def make(calibration=None, contract=pipeline.contract, backend=None, **settings):
        config = from_mapping(settings)
        return Pipeline(config, contract, calibration or Identity(), backend or Recorder())

    return make
