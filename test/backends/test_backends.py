"""Opening a backend by name, and the CPU backend."""

from dataclasses import replace
import json
import os
import shutil
import sys

import numpy as np
import onnxruntime
import pytest

from tdfusion_ros.backends import gpu
from tdfusion_ros.backends import open_backend
from tdfusion_ros.backends.bundle import read_bundle
from tdfusion_ros.build import build_pipeline
from tdfusion_ros.core.config import FusionConfig
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import ModelError


@pytest.fixture(scope='module')
def cpu(shipped):
    return open_backend('cpu', shipped)


@pytest.fixture
def no_driver(monkeypatch):
    def refuse():
        raise ConfigError('there is no NVIDIA driver')

    monkeypatch.setattr(gpu, 'require_driver', refuse)


@pytest.mark.parametrize('size_hw', [(32, 32), (96, 160)])
def test_cpu_runs_the_shipped_model_at_any_multiple_with_repeatable_results(cpu, noise, size_hw):
    raw, again = (cpu.run(*noise(size_hw)) for _ in range(2))
    assert raw.fused.shape == (*size_hw, 3)
    assert raw.fused.dtype == np.uint8
    assert raw.boxes_xyxy.dtype == raw.scores.dtype == np.float32
    assert raw.boxes_xyxy.shape == (len(raw.scores), 4)
    assert raw.scores.shape[1] == 3
    assert 0 <= raw.scores.min() <= raw.scores.max() <= 1
    for name in ('fused', 'boxes_xyxy', 'scores'):
        np.testing.assert_array_equal(getattr(raw, name), getattr(again, name))


def test_cpu_omits_the_unneeded_fused_image_and_detects_the_same(cpu, demo_pairs):
    ir = demo_pairs[0].ir.pixels / np.float32(255)
    images = demo_pairs[0].rgb.pixels, ir, np.ones_like(ir)
    full = cpu.run(*images)
    detected = cpu.run(*images, fused=False)
    assert detected.fused is None
    np.testing.assert_allclose(detected.boxes_xyxy, full.boxes_xyxy, atol=1e-3)
    np.testing.assert_allclose(detected.scores, full.scores, atol=1e-5)


@pytest.mark.parametrize('threads', [1, 3])
def test_cpu_computes_with_as_many_threads_as_the_config_says(threads):
    before = set(os.listdir('/proc/self/task'))
    pipeline = build_pipeline(FusionConfig(backend='cpu', cpu_threads=threads))
    started = set(os.listdir('/proc/self/task')) - before
    graphs = 2  # with and without the fused image
    assert len(started) == graphs * (threads - 1)
    assert pipeline.backend.name == 'cpu'


@pytest.mark.parametrize(('threads', 'at_once', 'seconds'), [(1, 1, []), (3, 2, [1, 1])])
def test_second_run_at_once_has_half_of_the_threads_and_the_same_result(
    shipped, noise, monkeypatch, threads, at_once, seconds
):
    backend = open_backend('cpu', shipped, cpu_threads=threads)
    given, session = [], onnxruntime.InferenceSession

    class Session:
        """A session that notes its threads and its use."""

        def __init__(self, graph, options, providers):
            given.append(options.intra_op_num_threads)
            self.session = session(graph, options, providers=providers)
            self.get_inputs, self.get_outputs = self.session.get_inputs, self.session.get_outputs

        def run(self, names, images):
            used.append(self)
            return self.session.run(names, images)

    used = []
    monkeypatch.setattr(onnxruntime, 'InferenceSession', Session)
    assert backend.overlap() == at_once
    assert given == seconds
    alone = backend.run(*noise((64, 96)))
    assert not used
    with backend.first:
        second = backend.run(*noise((64, 96)))
    assert len(used) == at_once - 1
    np.testing.assert_array_equal(second.fused, alone.fused)
    np.testing.assert_allclose(second.boxes_xyxy, alone.boxes_xyxy, atol=1e-3)


@pytest.mark.parametrize(
    ('version', 'name', 'value'),
    [('1.26.0', 'spin_duration_us', '20'), ('1.19.2', 'allow_spinning', '0')],
)
def test_idle_threads_of_the_cpu_sleep_soon(shipped, monkeypatch, version, name, value):
    given, session = [], onnxruntime.InferenceSession

    def open_session(graph, options, providers):
        given.append(options.get_session_config_entry(f'session.intra_op.{name}'))
        return session(graph, options, providers=providers)

    monkeypatch.setattr(onnxruntime, '__version__', version)
    monkeypatch.setattr(onnxruntime, 'InferenceSession', open_session)
    open_backend('cpu', shipped, sizes_hw=((32, 32),))
    assert given == [value] * 2


def test_bundle_without_a_detector_graph_still_detects(shipped, noise):
    older = open_backend('cpu', replace(shipped, detector_graph=None), sizes_hw=((32, 32),))
    assert older.run(*noise((32, 32)), fused=False).fused is not None


def without_coverage(graph):
    """Return a graph as earlier versions wrote it: with the input ``coverage`` made constant."""
    onnx = pytest.importorskip('onnx')
    model = onnx.load_from_string(graph)
    inputs = list(model.graph.input)
    del model.graph.input[:]
    model.graph.input.extend(tensor for tensor in inputs if tensor.name != 'coverage')
    one = onnx.numpy_helper.from_array(np.ones(1, np.float32))
    for node in (
        onnx.helper.make_node('ConstantOfShape', ['shape_of_ir'], ['coverage'], value=one),
        onnx.helper.make_node('Shape', ['ir'], ['shape_of_ir']),
    ):
        model.graph.node.insert(0, node)
    return model.SerializeToString()


def test_bundle_of_an_earlier_version_without_coverage_still_runs(cpu, shipped, noise):
    graphs = {
        name: without_coverage(getattr(shipped, name)) for name in ('graph', 'detector_graph')
    }
    contract = replace(shipped.contract, inputs=('rgb', 'ir'))
    older = open_backend(
        'cpu', replace(shipped, contract=contract, **graphs), sizes_hw=((32, 32),)
    )
    rgb, ir, coverage = noise((64, 96))
    for fused in (True, False):
        got = older.run(rgb, ir, coverage, fused=fused)
        expected = cpu.run(rgb, ir, np.ones_like(ir), fused=fused)
        np.testing.assert_allclose(got.scores, expected.scores, atol=1e-5)
    np.testing.assert_array_equal(older.run(rgb, ir, coverage).fused.shape, rgb.shape)


@pytest.mark.parametrize('name', ['cuda', 'trt'])
def test_missing_named_backend_is_an_error_that_says_what_to_use(shipped, no_driver, name):
    with pytest.raises(ConfigError, match=f"'{name}' cannot .* NVIDIA driver; or use cpu or auto"):
        open_backend(name, shipped)


def test_auto_reports_which_backend_it_took_and_why_without_importing_others(
    shipped, no_driver, monkeypatch, messages
):
    for package in ('torch', 'tensorrt', 'torch_tensorrt'):
        monkeypatch.setitem(sys.modules, package, None)
    backend = open_backend('auto', shipped, messages.append)
    assert messages == [
        f'backend auto: took cpu ({backend.engine}); not trt, not cuda: there is no NVIDIA driver'
    ]


def test_missing_onnx_runtime_is_an_error_with_a_remedy(shipped, no_driver, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(ConfigError, match='pip install onnxruntime'):
        open_backend('auto', shipped)


@pytest.mark.parametrize('share', [0, 0.5])
def test_invalid_graph_is_refused_in_one_line(shipped, share):
    part = shipped.graph[: int(share * len(shipped.graph))]
    with pytest.raises(ModelError, match=r'refuses the model.*\Z'):
        open_backend('cpu', replace(shipped, graph=part))


@pytest.mark.parametrize('name', [b'scores', b'fused'])
def test_graph_with_other_names_than_the_contract_is_refused(shipped, name):
    renamed = shipped.graph.replace(name, name[:-1] + b'x')
    with pytest.raises(ModelError, match='export the model again'):
        open_backend('cpu', replace(shipped, graph=renamed))


@pytest.mark.parametrize('content', [None, b'other'])
def test_missing_or_other_weights_are_refused_by_name(shipped, tmp_path, content):
    if content:
        (tmp_path / 'weights.safetensors').write_bytes(content)
    with pytest.raises(ModelError, match=r'weights\.safetensors'):
        replace(shipped, folder=tmp_path).weights()


@pytest.mark.parametrize('architecture', [None, 'fusion_rt'])
def test_bundle_without_an_architecture_still_runs_on_the_cpu(bundle, tmp_path, architecture):
    folder = shutil.copytree(bundle, tmp_path / 'copy')
    raw = json.loads((folder / 'model.json').read_text(encoding='utf-8'))
    (folder / 'model.json').write_text(json.dumps({**raw, 'architecture': architecture}))
    read = read_bundle(folder)
    assert read.architecture == {}
    assert open_backend('cpu', read, sizes_hw=((32, 32),)).name == 'cpu'
