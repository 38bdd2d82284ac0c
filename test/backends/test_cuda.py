"""The cuda backend as far as a machine without a GPU can hold it; the rest is in test_gpu.py."""

import sys

import numpy as np
import pytest

from tdfusion_ros.backends import gpu
from tdfusion_ros.backends import open_backend
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import ModelError


@pytest.fixture
def driver(monkeypatch):
    monkeypatch.setattr(gpu, 'require_driver', lambda: None)


def test_missing_torch_is_an_error_that_says_what_to_install(driver, shipped, monkeypatch):
    monkeypatch.setitem(sys.modules, 'torch', None)
    with pytest.raises(ConfigError, match='pip install torch safetensors'):
        open_backend('cuda', shipped)


def test_missing_safetensors_is_an_error_that_says_what_to_install(
    driver, shipped, monkeypatch, forget
):
    torch = pytest.importorskip('torch')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    forget('torch_network')
    monkeypatch.setitem(sys.modules, 'safetensors', None)
    monkeypatch.setitem(sys.modules, 'safetensors.torch', None)
    with pytest.raises(ConfigError, match='pip install torch safetensors'):
        open_backend('cuda', shipped)


@pytest.mark.torch
@pytest.mark.parametrize(
    ('built', 'words'), [(None, 'was built without CUDA'), ('13.0', r'sees no GPU .*CUDA 13\.0')]
)
def test_torch_without_a_gpu_is_an_error_that_says_why(driver, shipped, monkeypatch, built, words):
    torch = pytest.importorskip('torch')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.version, 'cuda', built)
    with pytest.raises(ConfigError, match=words):
        open_backend('cuda', shipped)


def noise(size_hw, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8), rng.random(size_hw, np.float32)


@pytest.mark.torch
def test_each_size_is_captured_once_and_replayed(played_cuda, shipped):
    sizes = ((32, 64), (64, 96))
    backend = open_backend('cuda', shipped, print, sizes)
    for size in (*sizes, *sizes):
        assert backend.run(*noise(size, 0)).fused.shape == (*size, 3)
    assert played_cuda == list(sizes)
    assert backend.engine.endswith('in half precision on a played GPU')


@pytest.mark.torch
def test_result_is_the_callers_to_keep_and_right(played_cuda, shipped):
    backend = open_backend('cuda', shipped, print, ((32, 64),))
    reference = open_backend('cpu', shipped)
    first, second = (backend.run(*noise((32, 64), seed)) for seed in (0, 1))
    for raw, seed in ((first, 0), (second, 1)):
        wanted = reference.run(*noise((32, 64), seed))
        assert np.abs(raw.fused.astype(int) - wanted.fused).max() <= 1
        assert raw.boxes_xyxy.dtype == raw.scores.dtype == np.float32


@pytest.mark.torch
def test_nothing_is_fused_where_nobody_wants_it(played_cuda, shipped, monkeypatch):
    backend = open_backend('cuda', shipped, print, ((32, 64),))
    given = noise((32, 64), 0)
    wanted = backend.run(*given)
    monkeypatch.setattr(backend._model, 'fusion', None)  # whoever calls it breaks off
    found = backend.run(*given, fused=False)
    assert found.fused is None
    np.testing.assert_array_equal(found.boxes_xyxy, wanted.boxes_xyxy)
    np.testing.assert_array_equal(found.scores, wanted.scores)
    assert played_cuda == [(32, 64)] * 2


@pytest.mark.torch
def test_memory_is_kept_for_a_few_sizes_only(played_cuda, shipped):
    backend = open_backend('cuda', shipped, print, ((32, 32),))
    for width in (64, 96, 128, 160):
        backend.run(*noise((32, width), 0))
    assert len(backend._captured) == 4
    assert ((32, 32), True) not in backend._captured


@pytest.mark.torch
def test_what_torch_raises_is_a_model_error(played_cuda, shipped, monkeypatch):
    backend = open_backend('cuda', shipped, print, ((32, 32),))

    def full(*arguments):
        raise RuntimeError('CUDA out of memory')

    monkeypatch.setattr(backend, '_capture', full)
    with pytest.raises(ModelError, match='CUDA out of memory'):
        backend.run(*noise((64, 64), 0))


@pytest.mark.torch
def test_engine_that_computes_something_else_is_refused(played_cuda, shipped, monkeypatch):
    from tdfusion_ros.backends import torch_network as network

    def broken(model):
        for parameter in model.parameters():
            parameter.zero_()
        return model

    monkeypatch.setattr(network, 'to_half', broken)
    with pytest.raises(ModelError, match="'cuda' cannot be used: the engine differs too much"):
        open_backend('cuda', shipped, print, ((32, 64),))
