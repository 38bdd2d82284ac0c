"""Running a TensorRT engine, with a fake TensorRT that uses the given addresses."""

import numpy as np
import pytest

from tdfusion_ros.core.errors import ModelError

torch = pytest.importorskip('torch')
pytestmark = pytest.mark.torch
SIZE = (32, 64)
SHAPES = {
    'rgb': (*SIZE, 3),
    'ir': SIZE,
    'output0': (*SIZE, 3),
    'output1': (42, 4),
    'output2': (42, 3),
}


def compute(rgb, ir):
    """Return outputs of the right shapes that depend on both inputs."""
    return rgb + ir[..., None], np.full((42, 4), rgb.sum()), np.full((42, 3), ir.sum())


@pytest.fixture
def load(fake_tensorrt):
    """Load a plan of a fake engine: ``load(shapes, dtype)``; return the plan and the engine."""

    def loading(shapes, dtype='float32'):
        engine = fake_tensorrt(shapes, compute, dtype)
        from tdfusion_ros.backends.trt_plan import Plan

        return Plan(b'plan', torch.device('cpu')), engine

    return loading


def test_engine_reads_and_writes_the_right_tensors(load):
    plan, _ = load(SHAPES)
    rgb, ir = torch.rand(SHAPES['rgb']), torch.rand(SIZE)
    for got, expected in zip(plan(rgb, ir), compute(rgb.numpy(), ir.numpy()), strict=True):
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-6)


def test_input_of_another_size_is_refused(load):
    plan, _ = load(SHAPES)
    with pytest.raises(ModelError, match=r'rgb of the engine is \(32, 64, 3\), got \(64, 64, 3\)'):
        plan(torch.zeros(64, 64, 3), torch.zeros(64, 64))


def test_failed_run_is_an_error(load):
    plan, engine = load(SHAPES)
    engine.succeeds = False
    with pytest.raises(ModelError, match='cannot run the engine'):
        plan(torch.zeros(SHAPES['rgb']), torch.zeros(SIZE))


@pytest.mark.parametrize(
    ('shapes', 'dtype', 'words'),
    [
        (None, 'float32', 'cannot read the engine'),
        (SHAPES, 'float16', 'not float32'),
        ({**SHAPES, 'output3': (1,)}, 'float32', 'must have the tensors'),
        ({k: v for k, v in SHAPES.items() if k != 'ir'}, 'float32', 'must have the tensors'),
    ],
)
def test_engine_of_another_network_is_refused(load, shapes, dtype, words):
    with pytest.raises(ModelError, match=words):
        load(shapes, dtype=dtype)
