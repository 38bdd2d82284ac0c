from dataclasses import replace
import json
import shutil
import sys
from time import process_time
from time import sleep

import numpy as np
import onnxruntime
import pytest

from tdfusion_ros.backends import gpu
from tdfusion_ros.backends import open_backend
from tdfusion_ros.backends.bundle import read_bundle
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import ModelError


@pytest.fixture(scope='module')
def cpu(shipped):
    """Return the cpu backend with the shipped model."""
    return open_backend('cpu', shipped)


@pytest.fixture
def no_driver(monkeypatch):
    """Make this a machine without a GPU, whatever it is."""

    def refuse():
        raise ConfigError('there is no NVIDIA driver')

    monkeypatch.setattr(gpu, 'require_driver', refuse)


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


def test_cpu_leaves_the_fused_image_out_where_nobody_wants_it_and_detects_the_same(
    cpu, demo_pairs
):
    ir = demo_pairs[0].ir.pixels / np.float32(255)
    whole = cpu.run(demo_pairs[0].rgb.pixels, ir)
    detected = cpu.run(demo_pairs[0].rgb.pixels, ir, fused=False)
    assert detected.fused is None
    np.testing.assert_allclose(detected.boxes_xyxy, whole.boxes_xyxy, atol=1e-3)
    np.testing.assert_allclose(detected.scores, whole.scores, atol=1e-5)


@pytest.mark.parametrize('version', [onnxruntime.__version__, '1.19.2'])
def test_threads_of_the_cpu_sleep_between_two_pairs(shipped, monkeypatch, version):
    monkeypatch.setattr(onnxruntime, '__version__', version)
    cpu = open_backend('cpu', shipped)
    cpu.run(np.zeros((480, 640, 3), np.uint8), np.zeros((480, 640), np.float32))
    begun = process_time()
    sleep(0.3)
    assert process_time() - begun < 0.01, 'they wait in a busy loop'


def test_bundle_without_a_graph_of_the_detector_alone_still_detects(shipped, demo_pairs):
    older = open_backend('cpu', replace(shipped, detector_graph=None))
    ir = demo_pairs[0].ir.pixels / np.float32(255)
    assert older.run(demo_pairs[0].rgb.pixels, ir, fused=False).fused is not None


@pytest.mark.parametrize('name', ['cuda', 'trt'])
def test_named_engine_that_is_not_there_is_an_error_that_says_what_to_use(
    shipped, no_driver, name
):
    with pytest.raises(ConfigError, match=f"'{name}' cannot .* NVIDIA driver; or use cpu or auto"):
        open_backend(name, shipped)


def test_auto_says_which_engine_it_took_and_why(shipped, no_driver):
    said = []
    backend = open_backend('auto', shipped, said.append)
    assert said == [
        f'backend auto: took cpu ({backend.engine}); not trt, not cuda: there is no NVIDIA driver'
    ]


def test_auto_loads_no_engine_of_a_gpu_that_is_not_there(shipped, no_driver, monkeypatch):
    for package in ('torch', 'tensorrt', 'torch_tensorrt'):
        monkeypatch.setitem(sys.modules, package, None)
    assert open_backend('auto', shipped, print).name == 'cpu'


def test_named_engine_has_nothing_to_report(shipped):
    said = []
    open_backend('cpu', shipped, said.append)
    assert said == []


def test_missing_onnx_runtime_is_an_error_that_says_what_to_install(
    shipped, no_driver, monkeypatch
):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(ConfigError, match='pip install onnxruntime'):
        open_backend('auto', shipped)


@pytest.mark.parametrize('share', [0, 0.5])
def test_graph_that_is_none_is_refused_in_one_line(shipped, share):
    part = shipped.graph[: int(share * len(shipped.graph))]
    with pytest.raises(ModelError, match='refuses the model') as caught:
        open_backend('cpu', replace(shipped, graph=part))
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('name', [b'scores', b'fused'])
def test_graph_with_other_names_than_the_contract_is_refused(shipped, name):
    renamed = shipped.graph.replace(name, name[:-1] + b'x')
    with pytest.raises(ModelError, match='export the model again'):
        open_backend('cpu', replace(shipped, graph=renamed))


def test_weights_that_are_not_those_of_the_contract_are_refused(shipped, tmp_path):
    (tmp_path / 'weights.safetensors').write_bytes(b'other')
    with pytest.raises(ModelError, match=r'weights\.safetensors is not the file .*sha256'):
        replace(shipped, folder=tmp_path).weights()


def test_missing_weights_are_refused_naming_them(shipped, tmp_path):
    with pytest.raises(ModelError, match=r'weights\.safetensors'):
        replace(shipped, folder=tmp_path).weights()


@pytest.mark.parametrize('architecture', [None, [], 'fusion_rt'])
def test_bundle_without_an_architecture_runs_on_the_cpu_all_the_same(
    bundle, tmp_path, architecture
):
    folder = shutil.copytree(bundle, tmp_path / 'copy')
    raw = json.loads((folder / 'model.json').read_text(encoding='utf-8'))
    (folder / 'model.json').write_text(json.dumps({**raw, 'architecture': architecture}))
    read = read_bundle(folder)
    assert read.architecture == {}
    assert open_backend('cpu', read).name == 'cpu'
