import sys

import numpy as np
import pytest

from tdfusion_ros.backends import open_backend
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import ModelError


@pytest.fixture(scope='module')
def graph(bundle):
    """Return the graph of the shipped model."""
    return (bundle / 'model.onnx').read_bytes()


@pytest.fixture(scope='module')
def cpu(graph):
    """Return the cpu backend with the shipped model."""
    return open_backend('cpu', graph)


@pytest.mark.parametrize('size_hw', [(32, 32), (96, 160)])
def test_cpu_runs_the_shipped_model_at_any_multiple(cpu, size_hw):
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8)
    ir = rng.random(size_hw, dtype=np.float32)
    raw = cpu.run(rgb, ir)
    assert raw.fused.shape == (*size_hw, 3)
    assert raw.fused.dtype == np.uint8
    assert raw.boxes_xyxy.dtype == raw.scores.dtype == np.float32
    assert raw.boxes_xyxy.shape == (len(raw.scores), 4)
    assert raw.scores.shape[1] == 3
    assert 0 <= raw.scores.min() <= raw.scores.max() <= 1


def test_cpu_gives_the_same_result_each_time(cpu, demo_pairs):
    ir = demo_pairs[0].ir.pixels / np.float32(255)
    first, second = (cpu.run(demo_pairs[0].rgb.pixels, ir) for _ in range(2))
    for name in ('fused', 'boxes_xyxy', 'scores'):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize('name', ['cuda', 'trt'])
def test_named_engine_that_is_not_there_is_an_error_that_says_what_to_use(graph, name):
    with pytest.raises(ConfigError, match=f"backend '{name}'.*use cpu or auto"):
        open_backend(name, graph)


def test_auto_says_which_engine_it_took_and_why(graph):
    said = []
    backend = open_backend('auto', graph, said.append)
    (sentence,) = said
    assert f'took {backend.name} ({backend.engine})' in sentence
    assert 'the only engine' in sentence


def test_named_engine_has_nothing_to_report(graph):
    said = []
    open_backend('cpu', graph, said.append)
    assert said == []


def test_missing_onnx_runtime_is_an_error_that_says_what_to_install(graph, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(ConfigError, match='pip install onnxruntime'):
        open_backend('auto', graph)


@pytest.mark.parametrize('share', [0, 0.5])
def test_graph_that_is_none_is_refused_in_one_line(graph, share):
    with pytest.raises(ModelError, match='refuses the model') as caught:
        open_backend('cpu', graph[: int(share * len(graph))])
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('name', [b'scores', b'fused'])
def test_graph_with_other_names_than_the_contract_is_refused(graph, name):
    renamed = graph.replace(name, name[:-1] + b'x')
    with pytest.raises(ModelError, match='export the model again'):
        open_backend('cpu', renamed)
