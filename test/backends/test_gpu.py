"""The backends on a real GPU: skipped, with the reason, where there is none."""

import importlib.util

import numpy as np
import pytest

from tdfusion_ros.backends import gpu
from tdfusion_ros.backends import open_backend
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FusionError

pytestmark = pytest.mark.gpu
SIZE = (480, 640)


@pytest.fixture(autouse=True)
def gpu_facts(monkeypatch, tmp_path_factory):
    """Skip where the driver finds no GPU; keep engines in a folder of the test run."""
    folder = tmp_path_factory.getbasetemp() / 'engines'
    monkeypatch.setenv('XDG_CACHE_HOME', str(folder))
    try:
        return gpu.properties()
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.fixture(params=['cuda', 'trt'])
def opened(request, shipped):
    """Open a backend that is installed: ``opened(*sizes_hw)``."""
    return opener(request.param, shipped)


@pytest.fixture
def opened_trt(shipped):
    """Open the trt backend: ``opened_trt(*sizes_hw)``."""
    return opener('trt', shipped)


def opener(name, shipped):
    package = {'cuda': 'torch', 'trt': 'torch_tensorrt'}[name]
    if not importlib.util.find_spec(package):  # not imported: a broken one must fail the test
        pytest.skip(f'{package} is not installed')
    return lambda *sizes_hw, report=print: open_backend(name, shipped, report, sizes_hw)


def test_driver_names_the_gpu(gpu_facts):
    assert gpu_facts['gpu']
    assert gpu_facts['capability'] >= [5, 0]
    assert gpu_facts['driver']


def test_backend_returns_what_the_cpu_returns_for_real_pairs(opened, shipped, demo_pairs):
    backend, cpu = opened(SIZE), open_backend('cpu', shipped)
    for pair in demo_pairs[::8]:
        ir = pair.ir.pixels / np.float32(255)
        given = pair.rgb.pixels, ir, np.ones_like(ir)
        got, expected = backend.run(*given), cpu.run(*given)
        assert np.abs(got.fused.astype(int) - expected.fused).max() <= 4
        assert np.abs(got.scores - expected.scores).max() < 0.05
        seen = expected.scores.max(1) > 0.3
        assert np.abs(got.boxes_xyxy - expected.boxes_xyxy)[seen].max(initial=0) < 2


def test_backend_repeats_its_result_after_other_inputs_and_sizes(opened, noise):
    backend = opened(SIZE)
    first, _, again = (backend.run(*noise(SIZE, seed)) for seed in (0, 1, 0))
    for name in ('fused', 'boxes_xyxy', 'scores'):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    backend = opened(SIZE)
    for size in ((256, 320), SIZE, (256, 320)):
        assert backend.run(*noise(size)).fused.shape == (*size, 3)


def test_second_start_of_tensorrt_builds_nothing(opened_trt, messages):
    opened_trt(SIZE)
    opened_trt(SIZE, report=messages.append)
    assert not [text for text in messages if 'building' in text]


def test_damaged_engine_of_tensorrt_is_built_again(opened_trt, messages, tmp_path_factory):
    opened_trt(SIZE)
    for path in tmp_path_factory.getbasetemp().glob('engines/*/*.engine'):
        path.write_bytes(path.read_bytes()[:1000])
    opened_trt(SIZE, report=messages.append)
    assert [text for text in messages if 'building it again' in text]


def test_tensorrt_refuses_an_invalid_plan(opened_trt):
    from tdfusion_ros.backends.trt_plan import PlanEngine

    with pytest.raises((FusionError, RuntimeError)):
        PlanEngine(b'no plan', SIZE)
