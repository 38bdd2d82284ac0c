"""Running a TensorRT engine, with a played TensorRT that reads and writes the given addresses."""

import numpy as np
import pytest

from tdfusion_ros.core.errors import ModelError

pytestmark = pytest.mark.torch
SIZE = (32, 64)
SHAPES = {
    'rgb': (*SIZE, 3),
    'ir': SIZE,
    'output0': (*SIZE, 3),
    'output1': (42, 4),
    'output2': (42, 3),
}


@pytest.fixture
def load(played_tensorrt):
    """Load an engine of a played TensorRT: ``load(shapes, compute)``."""
    import torch

    def loading(*engine, **facts):
        played_tensorrt(*engine, **facts)
        from tdfusion_ros.backends.trt_plan import Plan

        return Plan(b'plan', torch.device('cpu'))

    return loading


def compute(rgb, ir):
    """Return something of every shape that depends on both inputs."""
    return rgb + ir[..., None], np.full((42, 4), rgb.sum()), np.full((42, 3), ir.sum())


def test_engine_reads_and_writes_the_right_tensors(load):
    import torch

    plan = load(SHAPES, compute)
    rgb, ir = torch.rand(SHAPES['rgb']), torch.rand(SIZE)
    for got, wanted in zip(plan(rgb, ir), compute(rgb.numpy(), ir.numpy()), strict=True):
        np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-6)


def test_engine_for_another_size_is_not_run(load):
    import torch

    plan = load(SHAPES)
    with pytest.raises(ModelError, match=r'rgb of the engine is \(32, 64, 3\)'):
        plan(torch.zeros(64, 64, 3), torch.zeros(64, 64))


def test_engine_that_breaks_off_is_an_error(load):
    import torch

    plan = load(SHAPES, compute)
    plan._engine.succeeds = False
    with pytest.raises(ModelError, match='broke off'):
        plan(torch.zeros(SHAPES['rgb']), torch.zeros(SIZE))


def test_what_tensorrt_cannot_read_is_an_error(load):
    with pytest.raises(ModelError, match='cannot read the engine'):
        load(None)


@pytest.mark.parametrize(
    ('shapes', 'dtype', 'words'),
    [
        (SHAPES, 'float16', 'not float32'),
        ({**SHAPES, 'output3': (1,)}, 'float32', 'has the tensors'),
        ({k: v for k, v in SHAPES.items() if k != 'ir'}, 'float32', 'has the tensors'),
    ],
)
def test_engine_of_another_network_is_refused(load, shapes, dtype, words):
    with pytest.raises(ModelError, match=words):
        load(shapes, dtype=dtype)
