"""The engines of a GPU, really: run where there is one, skipped with the reason elsewhere."""

import importlib.util
import time

import numpy as np
import pytest

from tdfusion_ros.backends import gpu
from tdfusion_ros.backends import open_backend
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FusionError

pytestmark = pytest.mark.gpu
SIZE = (480, 640)


@pytest.fixture(autouse=True)
def gpu_facts():
    """Skip where the driver finds no GPU."""
    try:
        return gpu.facts()
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / 'engines'
    monkeypatch.setenv('XDG_CACHE_HOME', str(folder))
    return folder / 'tdfusion_ros'


@pytest.fixture(params=['cuda', 'trt'])
def opened(request, shipped):
    """Open an engine that is installed here: ``opened(sizes)``; it has passed its gate then."""
    package = {'cuda': 'torch', 'trt': 'torch_tensorrt'}[request.param]
    if not importlib.util.find_spec(package):  # looked for only: a broken one shall fail below
        pytest.skip(f'{package} is not installed')

    def opening(*sizes_hw, report=print):
        return open_backend(request.param, shipped, report, sizes_hw)

    return opening


def test_driver_names_the_gpu(gpu_facts):
    assert gpu_facts['gpu']
    assert gpu_facts['capability'] >= [5, 0]
    assert gpu_facts['driver']


def test_engine_gives_what_the_cpu_gives_on_real_pairs(opened, shipped, request):
    pytest.importorskip('rosbags')
    demo_pairs = request.getfixturevalue('demo_pairs')
    engine, cpu = opened(SIZE), open_backend('cpu', shipped)
    for pair in demo_pairs[::8]:
        given = pair.rgb.pixels, pair.ir.pixels / np.float32(255)
        got, wanted = engine.run(*given), cpu.run(*given)
        assert np.abs(got.fused.astype(int) - wanted.fused).max() <= 4
        assert np.abs(got.scores - wanted.scores).max() < 0.05
        seen = wanted.scores.max(1) > 0.3
        assert np.abs(got.boxes_xyxy - wanted.boxes_xyxy)[seen].max(initial=0) < 2


def test_engine_gives_the_same_each_time_whatever_ran_between(opened):
    engine = opened(SIZE)
    rng = np.random.default_rng(0)
    given = [
        (rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8), rng.random(SIZE, np.float32))
        for _ in range(2)
    ]
    first, _, again = (engine.run(*given[i]) for i in (0, 1, 0))
    for name in ('fused', 'boxes_xyxy', 'scores'):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))


def test_engine_takes_another_size_while_running(opened):
    engine = opened(SIZE)
    for size in ((256, 320), SIZE, (256, 320)):
        raw = engine.run(np.zeros((*size, 3), np.uint8), np.zeros(size, np.float32))
        assert raw.fused.shape == (*size, 3)


def test_second_start_of_tensorrt_is_fast(opened, request):
    if request.node.callspec.params['opened'] != 'trt':
        pytest.skip('only engines of TensorRT are kept')
    opened(SIZE)
    said, began = [], time.monotonic()
    opened(SIZE, report=said.append)
    assert not [sentence for sentence in said if 'building' in sentence]
    print(f'start with a kept engine: {time.monotonic() - began:.1f} s')


def test_damaged_engine_of_tensorrt_is_built_anew(opened, own_cache, request):
    if request.node.callspec.params['opened'] != 'trt':
        pytest.skip('only engines of TensorRT are kept')
    opened(SIZE)
    for plan in own_cache.glob('*/engine.plan'):
        plan.write_bytes(plan.read_bytes()[:1000])
    said = []
    opened(SIZE, report=said.append)
    assert [sentence for sentence in said if 'building it anew' in sentence]


def test_tensorrt_refuses_a_plan_that_is_none(opened, request):
    if request.node.callspec.params['opened'] != 'trt':
        pytest.skip('plans are of TensorRT')
    from tdfusion_ros.backends.trt_plan import PlanEngine

    with pytest.raises((FusionError, RuntimeError)):
        PlanEngine(b'no plan', SIZE)


def test_times_are_told(opened):
    """No limit: the figure is for the one who reads it (pytest -s)."""
    engine = opened(SIZE)
    given = np.zeros((*SIZE, 3), np.uint8), np.zeros(SIZE, np.float32)
    times = []
    for _ in range(200):
        began = time.perf_counter()
        engine.run(*given)
        times.append(1e3 * (time.perf_counter() - began))
    print(f'{engine.name} ({engine.engine}), 640x480: p50 {np.percentile(times, 50):.3f} ms, '
          f'p99 {np.percentile(times, 99):.3f} ms')  # fmt: skip
