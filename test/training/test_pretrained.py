"""The reader of pretrained weights: on files made here, and on the released one if it is there."""

from dataclasses import asdict
from dataclasses import replace
from pathlib import Path
import warnings

import numpy as np
import pytest
import torch

from tdfusion_ros.compose.class_names import COCO
from tdfusion_ros.core.errors import ModelError
from tdfusion_ros.nets.detector import Detector
from tdfusion_ros.nets.detector import DetectorConfig
from tdfusion_ros.nets.yolox import Yolox
from tdfusion_ros.nets.yolox import YoloxConfig
from training.checkpoint import load_run
from training.checkpoint import save_run
from training.config import DetectionTask
from training.method import pretrained
from training.method.task_networks import make_detector
from training.method.task_networks import read_detector
from training.method.tasks import blend_with_start
from training.train import train

RELEASED = Path(__file__).parents[3] / 'shared/pretrained/yolox_nano.onnx'
needs_file = pytest.mark.skipif(not RELEASED.is_file(), reason='needs the released YOLOX-Nano')
OURS = ('person', 'bicycle', 'car')


def load(path, *options):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return pretrained.load_yolox(path, *options)


@needs_file
@torch.inference_mode()
def test_the_network_equals_the_released_one_in_onnx_runtime():
    onnxruntime = pytest.importorskip('onnxruntime')
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # its sha256 is known
        network = pretrained.load_yolox(str(RELEASED), COCO)
    image = torch.rand(1, 3, 416, 416)
    bgr = (image.flip(1) * 255).numpy()
    session = onnxruntime.InferenceSession(str(RELEASED), providers=['CPUExecutionProvider'])
    (expected,) = session.run(None, {'images': bgr})
    parts = [
        torch.cat((raw.boxes, raw.objectness.sigmoid(), raw.classes.sigmoid()), -1)
        for raw in network.raw(network.features(image))
    ]
    np.testing.assert_allclose(torch.cat(parts, 1).numpy(), expected, atol=1e-4)
    scores = network(image)[1].sigmoid().numpy()
    np.testing.assert_allclose(scores, expected[..., 4:5] * expected[..., 5:], atol=1e-5)


@torch.inference_mode()
def test_a_class_has_the_best_score_of_its_members_in_coco(yolox_file):
    image = torch.rand(1, 3, 64, 64)
    all_boxes, all_logits = load(yolox_file, COCO)(image)
    boxes, logits = load(yolox_file, OURS)(image)
    torch.testing.assert_close(boxes, all_boxes)
    car = all_logits[..., [2, 5, 7]].amax(-1)
    torch.testing.assert_close(logits, torch.stack((*all_logits[..., :2].unbind(-1), car), -1))


@torch.inference_mode()
def test_a_class_that_coco_lacks_is_named_and_finds_nothing(yolox_file):
    with pytest.warns(UserWarning, match="no class 'drone'"):
        network = pretrained.load_yolox(yolox_file, ('person', 'drone'))
    assert network(torch.rand(1, 3, 64, 64))[1][..., 1].max() < -9


@torch.inference_mode()
def test_four_channels_start_as_three_on_a_gray_pair(yolox_file):
    gray = torch.rand(1, 1, 64, 64).expand(-1, 4, -1, -1)
    for got, expected in zip(
        load(yolox_file, OURS, 4)(gray), load(yolox_file, OURS)(gray[:, :3]), strict=True
    ):
        torch.testing.assert_close(got, expected, atol=1e-3, rtol=1e-4)


def test_an_unknown_origin_is_warned_of_with_its_hash_and_every_origin_recorded(yolox_file):
    with pytest.warns(UserWarning, match='sha256 [0-9a-f]{64}'):
        pretrained.load_yolox(yolox_file, OURS)
    config = DetectionTask(source='early', pretrained=yolox_file)
    assert 'unknown origin, sha256' in pretrained.origins(config)['pretrained']
    assert pretrained.origins(DetectionTask(source='early')) == {}
    if RELEASED.is_file():
        config = DetectionTask(source='early', pretrained=str(RELEASED))
        assert 'YOLOX-Nano' in pretrained.origins(config)['pretrained']


def test_a_run_that_starts_from_another_inherits_its_origin(tmp_path):
    first, config = str(tmp_path / 'first'), DetectionTask(source='early')
    network = Detector(DetectorConfig(3, inputs=4))
    save_run(first, network, {'config': asdict(config), 'pretrained': 'somebody'})
    config = replace(config, pretrained=first)
    assert pretrained.origins(config) == {'pretrained': 'somebody'}


def test_a_detector_starts_from_that_of_a_bundle_and_inherits_its_origin():
    bundle = str(Path(__file__).parents[2] / 'models' / 'msrs_rt')
    shipped, classes = read_detector(bundle)
    started = make_detector(classes, bundle).state_dict()
    for name, value in shipped.state_dict().items():
        torch.testing.assert_close(started[name], value)
    config = DetectionTask(source='early', pretrained=bundle)
    assert 'YOLOX-Nano' in pretrained.origins(config)['pretrained']


def test_another_network_is_refused(tmp_path, write_yolox):
    whole = Yolox(YoloxConfig((1,) * 80))
    bare = torch.nn.Sequential(*[m for m in whole.modules() if isinstance(m, torch.nn.Conv2d)])
    cases = {
        'short.onnx': bare[:-1],
        'other.onnx': torch.nn.Sequential(*bare[:5], torch.nn.Conv2d(3, 3, 3), *bare[6:]),
    }
    for name, network in cases.items():
        with pytest.raises(ModelError, match='is not YOLOX-Nano'):
            load(write_yolox(tmp_path / name, network), OURS)


@pytest.mark.parametrize('content', [None, b'', b'\x80\x04K\x01.', b'not a graph'])
def test_what_is_no_onnx_file_is_refused_by_name(tmp_path, content):
    path = tmp_path / 'weights.onnx'
    if content is not None:
        path.write_bytes(content)
    words = 'cannot be read .* from https:' if content is None else 'is not YOLOX-Nano'
    with pytest.raises(ModelError, match=rf'weights\.onnx {words}'):
        load(str(path), OURS)


def test_a_share_of_the_pretrained_weights_stays_in_the_trained_ones(yolox_file):
    start, trained = (load(yolox_file, OURS) for _ in range(2))
    with torch.no_grad():
        for weight in trained.parameters():
            weight += 1
    config = DetectionTask(source='early', pretrained=yolox_file, pretrained_share=0.25)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        blend_with_start(trained, config, OURS)
    for weight, before in zip(trained.parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(weight, before + 0.75)


@pytest.mark.parametrize(('source', 'stays'), [('rgb', True), ('early', False)])
def test_the_convolution_of_gray_levels_stays_as_it_is_if_it_reads_what_it_was_trained_on(
    yolox_file, short_run, samples, source, stays
):
    config = short_run('detection', steps=2, source=source, pretrained=yolox_file)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        network = make_detector(OURS, yolox_file, 3 if source == 'rgb' else 4)
        train(config, samples)
    trained, start = load_run(config.run).state_dict(), network.state_dict()
    assert torch.equal(trained['stem.0.weight'], start['stem.0.weight']) == stays
    assert not torch.equal(trained['stages.0.0.1.0.weight'], start['stages.0.0.1.0.weight'])
