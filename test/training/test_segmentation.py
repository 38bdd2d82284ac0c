import copy
from dataclasses import replace
import json
from pathlib import Path

import pytest
from safetensors.torch import load_file
import torch
from torch.nn import functional

from tdfusion_ros.compose.class_names import COCO
from tdfusion_ros.core.errors import ConfigError
from tdfusion_ros.core.errors import FusionError
from tdfusion_ros.nets.fusion_rt import FusionRT
from tdfusion_ros.nets.fusion_rt import FusionRTConfig
from tdfusion_ros.nets.segmenter import Segmenter
from tdfusion_ros.nets.segmenter import SegmenterConfig
from training.checkpoint import load_run
from training.config import LearnedTask
from training.data.datasets import open_dataset
from training.evaluate import main as evaluate
from training.measure.predictors import run_segmenter
from training.method import meta
from training.method import segmentation
from training.method.learned import task_loss
from training.method.loss_net import LossNetConfig
from training.method.loss_net import LossNetRT
from training.method.pretrained import load_yolox
from training.method.pretrained import origins
from training.method.tasks import downstream_training
from training.train import make_batch
from training.train import train

pytest.importorskip('onnxruntime')
pytestmark = pytest.mark.usefixtures('tiny_detector')
PLAIN = LearnedTask(prior_strength=0.0)


@pytest.fixture
def config(short_run, masked_root):
    return short_run('segmentation', source='ir', scale_range=(1.0, 1.0), panel_every=0)


@pytest.fixture
def samples(masked_root):
    return list(open_dataset(masked_root, 'train'))


def segmenter(inputs=3):
    torch.manual_seed(1)
    return Segmenter(SegmenterConfig(('road', 'car'), inputs))


@pytest.mark.parametrize(('source', 'inputs'), [('ir', 3), ('early', 2), ('fused', 3)])
def test_a_segmenter_trains_from_files_with_masks_to_a_run_folder(
    short_run, samples, fusion_run, logged, source, inputs
):
    config = short_run('segmentation', steps=2, mosaic=0.5, source=source, fusion=fusion_run)
    trained, loaded = train(config, samples), load_run(config.run)
    assert loaded.config == SegmenterConfig(('road', 'car'), inputs)
    image = torch.rand(1, inputs, 64, 96)
    assert loaded(image).shape == (1, 2, 16, 24)
    torch.testing.assert_close(loaded(image), trained(image))
    assert [line['step'] for line in logged(config.run)] == [0, 1]
    small = replace(samples[0], rgb=samples[0].rgb[:90, :101], ir=samples[0].ir[:90, :101])
    assert run_segmenter(config.run, ('road', 'car'))(small).shape == (90, 101)


@pytest.mark.parametrize(('source', 'inputs'), [('fused', 3), ('early', 4)])
def test_on_the_features_of_a_detector_only_the_head_learns(
    short_run, samples, fusion_run, yolox_file, source, inputs
):
    config = short_run(
        'segmentation', steps=2, source=source, fusion=fusion_run, pretrained=yolox_file
    )
    with pytest.warns(UserWarning, match='none of the known files'):
        start = downstream_training(config, torch.device('cpu')).networks['segmenter']
    before = {name: value.clone() for name, value in start.state_dict().items()}
    with pytest.warns(UserWarning, match='none of the known files'):
        train(config, samples)
    trained = load_run(config.run)
    assert trained.config.inputs == inputs
    for name, value in trained.state_dict().items():
        assert torch.equal(value, before[name]) == (name.split('.')[0] != 'head'), name
    with pytest.warns(UserWarning, match='none of the known files'):
        features = load_yolox(yolox_file, COCO).neck.up_coarse.join[0]
    assert torch.equal(trained.neck.up_coarse.join[0].weight, features.weight)


def test_masks_start_from_the_detector_of_a_bundle_and_know_its_origin(
    short_run, masked_root, fusion_run
):
    shipped = str(Path(__file__).parents[2] / 'models' / 'msrs_rt')
    config = short_run('segmentation', fusion=fusion_run, pretrained=shipped)
    found = downstream_training(config, torch.device('cpu')).networks['segmenter'].state_dict()
    weights = load_file(Path(shipped) / 'weights.safetensors')
    for name, value in found.items():
        assert name.startswith('head.') or torch.equal(value, weights[f'detector.{name}'])
    assert 'trained on COCO' in origins(config)['pretrained']
    with pytest.raises(ConfigError, match='reads 3 channels, so it does not fit source=early'):
        downstream_training(replace(config, source='early'), torch.device('cpu'))
    config = replace(config, pretrained=fusion_run)
    with pytest.raises(FusionError, match='FusionRT, not a detector'):
        downstream_training(config, torch.device('cpu'))


def test_the_overlap_is_one_minus_the_mean_iou_where_all_is_certain():
    truth = torch.tensor([0, 0, 0, 1, 1, 2])
    found = functional.one_hot(torch.tensor([0, 0, 1, 1, 1, 0]), 4).float()
    expected = 1 - (2 / 4 + 2 / 3 + 0) / 3
    assert segmentation.overlap_loss(found, truth).item() == pytest.approx(expected)


def test_an_image_without_labeled_pixels_has_no_loss_and_no_gradient():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    unlabeled = segmentation.segmentation_loss(logits, torch.full((1, 8, 8), 255))['loss']
    assert unlabeled == 0
    assert (torch.autograd.grad(unlabeled, logits)[0] == 0).all()


def gradient_of(method, networks, batch, losses):
    """Return the meta gradient as one vector, and the task losses."""
    if method == 'pixel':
        result, values = meta.pixel_gradient(*networks, losses, PLAIN)
    else:
        precondition = meta.constant_preconditioner(networks[0], 0.01)
        arguments = (*networks, [batch.pair], losses)
        result, values = meta.meta_gradient(*arguments, precondition=precondition, config=PLAIN)
    return torch.cat([g.flatten() for g in result.values()]), values


@pytest.mark.parametrize(('method', 'inputs'), [('adam', 1), ('pixel', 3)])
def test_a_meta_step_leaves_the_segmenter_as_it_was(config, samples, method, inputs):
    batch, loss_net = make_batch(samples, config, 0), LossNetRT(LossNetConfig('affine', 4, 2))
    torch.nn.init.normal_(loss_net.head.weight, std=0.3)
    networks = FusionRT(FusionRTConfig(width=4, depth=2)), loss_net
    network = segmenter(inputs).train()
    before = copy.deepcopy(network.state_dict())
    losses = [task_loss(network, batch)]
    (_, first), (_, again) = (gradient_of(method, networks, batch, losses) for _ in range(2))
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
    assert network.training
    assert all(p.grad is None for p in network.parameters())
    assert first == again  # nothing was dropped at random


@pytest.mark.parametrize(
    'changes',
    [
        {'task_networks': 'segmentation', 'segmenter_channels': 1, 'method': 'paper'},
        {'task_networks': 'both', 'combine': 'normalized', 'method': 'adam'},
    ],
    ids=lambda changes: '-'.join(map(str, changes.values())),
)
def test_the_learned_loss_trains_with_segmenters(short_run, samples, logged, changes):
    config = short_run('learned', meta_every=1, **changes)
    train(config, samples)
    log, both = logged(config.run), config.task_networks == 'both'
    for name in ['detector', 'segmenter'] if both else ['segmenter']:
        evaluate([f'--{name}', f'{config.run}/{name}', '--data', config.data])
        assert (f'task_{name}' in log[-1]) == both
    for key in ('task', 'after_inner_update'):
        if both:
            parts = (log[-1][f'{key}_detector'], log[-1][f'{key}_segmenter'])
            assert log[-1][key] == pytest.approx(sum(parts))
    assert log[-1]['map_size'] != log[0]['map_size']


def test_a_segmenter_learns_and_is_evaluated_for_each_class_but_not_for_other_classes(
    config, samples, masked_root, logged, tmp_path, capsys
):
    config = replace(config, steps=60, lr=2e-2)
    train(config, samples)
    losses = [line['loss'] for line in logged(config.run)]
    assert sum(losses[-3:]) < 0.6 * sum(losses[:3])
    output = tmp_path / 'table.json'
    evaluate(['--segmenter', config.run, '--data', config.data, '-o', str(output)])
    table = json.loads(output.read_text(encoding='utf-8'))
    assert list(table) == ['road', 'car', 'all']
    for column in ('IoU', 'Acc'):
        mean = (table['road'][column] + table['car'][column]) / 2
        assert table['all'][column] == pytest.approx(mean, abs=1e-4)
    assert '| car |' in capsys.readouterr().out
    (masked_root / 'mask_classes.txt').write_text('road\nbike\n', encoding='utf-8')
    with pytest.raises(FusionError, match=r'road, car, but the data have road, bike'):
        evaluate(['--segmenter', config.run, '--data', config.data])
