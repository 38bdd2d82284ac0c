"""The cuda backend, as far as a machine without a GPU can test it; the rest is in test_gpu.py."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tdfusion_ros.backends import open_backend
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import ModelError

SIZE = (32, 64)


@pytest.mark.parametrize('missing', ['torch', 'safetensors'])
def test_missing_package_is_named_with_a_remedy(driver, shipped, monkeypatch, reimport, missing):
    reimport('torch_network')
    for name in (missing, f'{missing}.torch'):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match='pip install torch safetensors'):
        open_backend('cuda', shipped)


@pytest.mark.torch
@pytest.mark.parametrize('built', [None, '13.0'])
def test_torch_without_a_gpu_is_an_error_that_names_its_cuda(driver, shipped, monkeypatch, built):
    torch = pytest.importorskip('torch')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.version, 'cuda', built)
    with pytest.raises(ConfigError, match=f'built for CUDA {built} and finds no GPU'):
        open_backend('cuda', shipped)


@pytest.fixture
def cuda(fake_cuda, shipped):
    """Return the cuda backend on a fake GPU, ready for SIZE."""
    return open_backend('cuda', shipped, print, (SIZE,))


@pytest.mark.torch
def test_what_is_float32_is_not_computed_in_tf32(cuda, noise, monkeypatch):
    from torch.backends import cudnn

    seen, step = [], cuda._model.forward
    monkeypatch.setattr(
        cuda._model, 'forward', lambda *a, **k: seen.append(cudnn.allow_tf32) or step(*a, **k)
    )
    before = cudnn.allow_tf32
    cuda._capture(cuda._model, SIZE, cuda._device)
    assert set(seen) == {False}
    assert cudnn.allow_tf32 == before
    assert cudnn.enabled


@pytest.mark.torch
def test_earlier_result_stays_right_after_the_next_run(cuda, shipped, noise):
    reference = open_backend('cpu', shipped)
    inputs = [noise(SIZE, seed) for seed in (0, 1)]
    for raw, given in zip([cuda.run(*given) for given in inputs], inputs, strict=True):
        expected = reference.run(*given)
        assert np.abs(raw.fused.astype(int) - expected.fused).max() <= 1
        assert raw.boxes_xyxy.dtype == raw.scores.dtype == np.float32


@pytest.mark.torch
def test_masks_are_left_out_where_they_are_not_needed(fake_cuda, shipped, noise):
    from safetensors.torch import save

    from tdfusion_ros.backends.cuda import CudaBackend
    from tdfusion_ros.nets.perception import build_perception

    masks = {'name': 'mask_head', 'classes': ['a', 'b', 'c']}
    architecture = {**shipped.architecture, 'mask_head': masks}
    weights = save(build_perception(architecture).state_dict())
    backend = CudaBackend(SimpleNamespace(architecture=architecture, weights=lambda: weights))
    for fused in (True, False):
        assert backend.run(*noise(SIZE), fused=fused).segmentation.shape == SIZE
        raw = backend.run(*noise(SIZE), fused=fused, segmentation=False)
        assert raw.segmentation is None
        assert (raw.fused is not None) == fused


@pytest.mark.torch
def test_the_fused_image_is_left_out_where_it_is_not_needed(cuda, fake_cuda, noise):
    expected = cuda.run(*noise(SIZE))
    found = cuda.run(*noise(SIZE), fused=False)
    assert found.fused is None
    np.testing.assert_array_equal(found.boxes_xyxy, expected.boxes_xyxy)
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert fake_cuda == [SIZE] * 2


@pytest.mark.torch
def test_each_size_is_captured_once_and_the_last_four_are_kept(cuda, fake_cuda, noise):
    for width in (96, 128, 160, 192, 192, 64):  # the last one was removed
        assert cuda.run(*noise((32, width))).fused.shape == (32, width, 3)
    # The first also without the fused image.
    assert [width for _, width in fake_cuda] == [64, 64, 96, 128, 160, 192, 64]
    assert cuda.engine.endswith('in half precision on a fake GPU')


@pytest.mark.torch
def test_error_of_torch_is_a_model_error(cuda, noise, monkeypatch):
    def full(*arguments):
        raise RuntimeError('CUDA out of memory')

    monkeypatch.setattr(cuda, '_capture', full)
    with pytest.raises(ModelError, match='CUDA out of memory'):
        cuda.run(*noise((64, 64)))


@pytest.mark.torch
def test_network_that_computes_something_else_is_refused(fake_cuda, shipped, monkeypatch):
    from tdfusion_ros.backends import torch_network as network

    def broken(model):
        for parameter in model.parameters():
            parameter.zero_()
        return model

    monkeypatch.setattr(network, 'to_half', broken)
    with pytest.raises(ModelError, match="'cuda' cannot be used: the engine differs too much"):
        open_backend('cuda', shipped, print, (SIZE,))


@pytest.mark.torch
@pytest.mark.parametrize(('fusion', 'last'), [('fusion_rt', True), ('fusion', False)])
def test_channels_are_last_where_that_was_measured_to_be_faster(fusion, last):
    torch = pytest.importorskip('torch')
    from tdfusion_ros.backends import torch_network
    from tdfusion_ros.nets.perception import build_perception

    detector = {'name': 'detector', 'repeats': [0] * 5}
    model = build_perception({'fusion': {'name': fusion, 'width': 8}, 'detector': detector})
    wide = [
        w for w in torch_network.lay_out(model).parameters() if w.ndim == 4 and min(w.shape) > 1
    ]
    contiguous = [w.is_contiguous(memory_format=torch.channels_last) for w in wide]
    assert all(contiguous) if last else not any(contiguous)
