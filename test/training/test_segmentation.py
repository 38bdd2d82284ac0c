import copy
import json

import pytest

torch = pytest.importorskip('torch')
for package in (
    'cv2',
    'onnxruntime',
    'pycocotools',
    'safetensors',
    'tqdm',
    'transformers',
    'yaml',
):
    pytest.importorskip(package)

from variants import variant  # noqa: E402

from tdfusion_ros.core.errors import FusionError  # noqa: E402
from tdfusion_ros.nets.detector import Detector  # noqa: E402
from tdfusion_ros.nets.fusion_rt import FusionRT  # noqa: E402
from tdfusion_ros.nets.fusion_rt import FusionRTConfig  # noqa: E402
from training.checkpoint import load_run  # noqa: E402
from training.data.datasets import load_samples  # noqa: E402
from training.evaluate import main as evaluate  # noqa: E402
from training.method.loss_net import LossNetRT  # noqa: E402
from training.method.meta import constant_preconditioner  # noqa: E402
from training.method.meta import meta_gradient  # noqa: E402
from training.method.meta import MetaConfig  # noqa: E402
from training.method.meta import pixel_gradient  # noqa: E402
from training.method.segmentation import segmentation_loss  # noqa: E402
from training.method.segmentation import Segmenter  # noqa: E402
from training.method.segmentation import SegmenterConfig  # noqa: E402
from training.method.task_networks import judge  # noqa: E402
from training.method.task_networks import pair_of  # noqa: E402
from training.train import make_batch  # noqa: E402
from training.train import train  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture
def config(short_run, masked_root):
    return variant(short_run(), task='segmentation', source='ir', steps=3, scale_range=(1.0, 1.0))


@pytest.fixture
def samples(masked_root):
    return load_samples(masked_root, 'train')


@pytest.fixture
def batch(config, samples):
    return make_batch(samples, config, 0)


@pytest.fixture
def networks():
    torch.manual_seed(0)
    fusion, loss_net = FusionRT(FusionRTConfig(width=8, depth=3)), LossNetRT(width=8, depth=3)
    torch.nn.init.normal_(loss_net.head.weight, std=0.3)
    return fusion, loss_net


def segmenter(inputs=3):
    torch.manual_seed(1)
    return Segmenter(SegmenterConfig(('road', 'car'), inputs))


def logged(run):
    with open(f'{run}/log.jsonl', encoding='utf-8') as file:
        return [json.loads(line) for line in file]


def flat(gradient):
    return torch.cat([g.flatten() for g in gradient.values()])


def test_segmenter_is_as_large_as_its_authors_say():
    network = Segmenter(SegmenterConfig(tuple('abcdefghi')))
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == 3.7


@pytest.mark.parametrize(
    ('source', 'channels', 'inputs'),
    [('ir', 1, 1), ('early', 3, 2), ('fused', 1, 1), ('fused', 3, 3)],
)
def test_a_segmenter_trains_from_files_with_masks_to_a_run_folder(
    config, samples, tmp_path, source, channels, inputs
):
    fusion = variant(config, task='fusion', run=str(tmp_path / 'fusion'), steps=1)
    train(fusion, samples)
    config = variant(config, source=source, segmenter_channels=channels, fusion=fusion.run)
    trained = train(variant(config, mosaic=0.5), samples)
    loaded = load_run(config.run)
    assert loaded.config == SegmenterConfig(('road', 'car'), inputs)
    image = torch.rand(1, inputs, 64, 96)
    assert loaded(image).shape == (1, 2, 16, 24)
    torch.testing.assert_close(loaded(image), trained(image))
    assert [line['step'] for line in logged(config.run)] == [0, 1, 2]


def test_a_segmenter_learns_to_tell_hot_from_cold(config, samples):
    train(variant(config, steps=25, lr=1e-3), samples)
    losses = [line['loss'] for line in logged(config.run)]
    assert sum(losses[-3:]) < 0.6 * sum(losses[:3])


def test_unlabeled_pixels_count_neither_in_the_loss_nor_in_its_gradient():
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    mask = torch.randint(0, 3, (1, 4, 4))
    mask[:, :2] = 255
    loss = segmentation_loss(logits, mask)['loss']
    by_hand = [-logits[0, :, y, x].log_softmax(0)[mask[0, y, x]] for y in (2, 3) for x in range(4)]
    torch.testing.assert_close(loss, torch.stack(by_hand).mean())
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient[:, :, :2] == 0).all()
    assert (gradient[:, :, 2:] != 0).all()


def test_loss_is_that_of_the_transformers_library(batch):
    network = segmenter().eval()
    ours = segmentation_loss(network(batch.rgb), batch.mask)['loss']
    theirs = network.segformer(pixel_values=batch.rgb, labels=batch.mask).loss
    assert (batch.mask == 255).any()
    torch.testing.assert_close(ours, theirs)


def test_a_batch_without_labels_teaches_nothing_and_breaks_nothing():
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = segmentation_loss(logits, torch.full((1, 8, 8), 255))['loss']
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss == 0
    assert (gradient == 0).all()


@pytest.mark.parametrize('inputs', [1, 3])
def test_meta_step_leaves_the_segmenter_in_training_with_its_weights_and_buffers(
    batch, networks, inputs
):
    fusion, loss_net = networks
    network = segmenter(inputs).train()
    before = copy.deepcopy(network.state_dict())
    judges = [judge('segmenter', [network], [batch])]
    first, again = (
        meta_gradient(
            fusion,
            loss_net,
            [pair_of(batch)],
            judges,
            precondition=constant_preconditioner(fusion, 0.01),
            config=MetaConfig(),
        )
        for _ in range(2)
    )
    pixel_gradient(fusion, loss_net, judges, MetaConfig())
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
    assert network.training
    assert all(p.grad is None for p in network.parameters())
    assert first.task_losses == again.task_losses  # nothing was dropped at random


@pytest.mark.parametrize('method', ['look_ahead', 'pixel'])
def test_with_two_teachers_the_loss_learns_from_both(batch, networks, method):
    fusion, loss_net = networks
    judges = [
        judge('detector', [Detector()], [batch]),
        judge('segmenter', [segmenter()], [batch]),
    ]

    def gradient(*judges):
        if method == 'pixel':
            return flat(pixel_gradient(fusion, loss_net, judges, MetaConfig()).gradient)
        result = meta_gradient(
            fusion,
            loss_net,
            [pair_of(batch)],
            judges,
            precondition=constant_preconditioner(fusion, 0.01),
            config=MetaConfig(),
        )
        return flat(result.gradient)

    both, detection, segmentation = gradient(*judges), gradient(judges[0]), gradient(judges[1])
    assert detection.norm() > 0
    assert segmentation.norm() > 0
    assert ((both - detection - segmentation).norm() / both.norm()).item() < 1e-3


@pytest.mark.parametrize(
    'changes',
    [
        {'task_networks': 'segmentation'},
        {'task_networks': 'segmentation', 'segmenter_channels': 1, 'method': 'paper'},
        {'task_networks': 'both', 'combine': 'sum', 'method': 'pixel'},
        {'task_networks': 'both', 'combine': 'normalized'},
        {'task_networks': 'both', 'combine': 'pcgrad'},
    ],
    ids=lambda changes: '-'.join(map(str, changes.values())),
)
def test_the_learned_loss_trains_with_every_teacher(config, samples, changes):
    config = variant(config, task='learned', source='fused', batch=2, meta_every=1, **changes)
    train(config, samples)
    last, both = logged(config.run)[-1], config.task_networks == 'both'
    names = ['detector', 'segmenter'] if both else ['segmenter']
    for name in names:
        load_run(f'{config.run}/{name}_a')
        assert (f'task_{name}' in last) == both
    for what in ('task', 'after_look_ahead'):
        if both:
            assert last[what] == pytest.approx(sum(last[f'{what}_{name}'] for name in names))
    assert last['weight_ir'] != logged(config.run)[0]['weight_ir']


def test_evaluation_of_a_segmenter_has_a_row_for_each_class(config, samples, tmp_path, capsys):
    train(config, samples)
    output = tmp_path / 'table.json'
    evaluate(['--segmenter', config.run, '--data', config.data, '-o', str(output)])
    table = json.loads(output.read_text(encoding='utf-8'))
    assert list(table) == ['road', 'car', 'all']
    for column in ('IoU', 'Acc'):
        mean = (table['road'][column] + table['car'][column]) / 2
        assert table['all'][column] == pytest.approx(mean, abs=1e-4)
    assert '| car |' in capsys.readouterr().out


@pytest.mark.parametrize('name', ['detector', 'segmenter'])
def test_a_teacher_is_measured_on_what_its_own_fusion_network_makes(config, samples, name):
    train(variant(config, task='learned', source='fused', task_networks='both', batch=2), samples)
    evaluate([f'--{name}', f'{config.run}/{name}_a', '--data', config.data])


def test_a_segmenter_of_other_classes_is_refused(config, samples, masked_root):
    train(config, samples)
    (masked_root / 'mask_classes.txt').write_text('road\nbike\n', encoding='utf-8')
    with pytest.raises(FusionError, match=r'road, car; those of the data are road, bike'):
        evaluate(['--segmenter', config.run, '--data', config.data])


def test_a_run_of_another_network_is_no_segmenter(config, samples, tmp_path):
    fusion = variant(config, task='fusion', run=str(tmp_path / 'fusion'), steps=1)
    train(fusion, samples)
    with pytest.raises(FusionError, match='FusionRT, not a segmenter'):
        evaluate(['--segmenter', fusion.run, '--data', config.data])


def test_a_detector_that_teaches_asks_for_boxes(config, samples, masked_root):
    (masked_root / 'labels').rename(masked_root / 'elsewhere')
    with pytest.raises(FusionError, match='has no boxes'):
        train(variant(config, task='learned', task_networks='both'), samples)


def test_segmentation_asks_for_masks(config, samples, masked_root):
    (masked_root / 'masks').rename(masked_root / 'elsewhere')
    with pytest.raises(FusionError, match='has no masks'):
        train(config, samples)
