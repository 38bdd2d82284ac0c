"""Running a TensorRT engine, with a fake TensorRT that uses the given addresses."""

import numpy as np
import pytest

from tdfusion_ros.core.errors import ModelError

pytest.importorskip('torch')
pytestmark = pytest.mark.torch
SIZE = (32, 64)
SHAPES = {
    'rgb': (*SIZE, 3),
    'ir': SIZE,
    'coverage': SIZE,
    'output0': (*SIZE, 3),
    'output1': (42, 4),
    'output2': (42, 3),
}


def test_masks_of_an_engine_become_uint8(fake_tensorrt):
    masks = np.arange(32 * 64).reshape(SIZE) % 9
    outputs = {**SHAPES, 'output3': SIZE}
    fake_tensorrt(outputs, lambda *images: (*compute(*images), masks))
    from tdfusion_ros.backends.trt_plan import PlanEngine

    images = np.zeros((*SIZE, 3), np.uint8), np.zeros(SIZE, np.float32), np.ones(SIZE, np.float32)
    raw = PlanEngine(b'plan', SIZE, 'cpu', outputs=4).run(*images)
    assert raw.segmentation.dtype == np.uint8
    np.testing.assert_array_equal(raw.segmentation, masks)


def compute(rgb, ir, coverage):
    """Return outputs of the right shapes that depend on all inputs."""
    return (
        rgb * (ir * coverage)[..., None],
        np.full((42, 4), rgb.sum()),
        np.full((42, 3), ir.sum()),
    )


@pytest.fixture
def load(fake_tensorrt):
    """Load a plan of a fake engine: ``load(shapes, dtype, succeeds)``."""

    def loading(shapes, dtype='float32', succeeds=True):
        engine = fake_tensorrt(shapes, compute, dtype)
        if engine:
            engine.succeeds = succeeds
        from tdfusion_ros.backends.trt_plan import PlanEngine

        return PlanEngine(b'plan', SIZE, 'cpu')

    return loading


@pytest.mark.parametrize(
    ('shapes', 'facts', 'words'),
    [
        (None, {}, 'cannot read the engine'),
        (SHAPES, {'succeeds': False}, 'cannot run the engine'),
        (SHAPES, {'dtype': 'float16'}, 'not float32'),
        ({**SHAPES, 'output3': (1,)}, {}, 'must have the tensors'),
        ({k: v for k, v in SHAPES.items() if k != 'ir'}, {}, 'must have the tensors'),
        ({**SHAPES, 'ir': (64, 64)}, {}, r'ir of the engine is \(64, 64\), expected \(32, 64\)'),
    ],
)
def test_engine_that_fails_or_is_of_another_network_is_refused(load, shapes, facts, words):
    with pytest.raises(ModelError, match=words):
        load(shapes, **facts)
