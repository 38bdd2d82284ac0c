"""Several data sets in one training: classes, shares, images of one camera, errors."""

from dataclasses import replace
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from tdfusion_ros.core.errors import FusionError
from training.config import DetectionTask
from training.data.batches import cache_samples
from training.data.batches import make_batch
from training.data.boxes import PSEUDO_LABELS
from training.data.mixture import Mixture
from training.data.mixture import open_data

MIX = """
classes: [person, car]
train:
  - {data: pairs, split: train, share: 3, names: {lamp: background}}
  - {data: drone, only: ir, names: {DontCare: ignore}, size_hw: [48, 64]}
  - {data: film, only: rgb}
val:
  - {data: pairs, split: val, names: {lamp: background}}
"""


def coco(names, boxes, **info):
    """Return a COCO file with the same boxes (class, x, y, w, h) in each of three images."""
    images = [{'id': i, 'file_name': f'{name}.png'} for i, name in enumerate('xyz')]
    annotations = [
        {'id': 10 * i + n, 'image_id': i, 'category_id': c, 'bbox': box}
        for i in range(3)
        for n, (c, *box) in enumerate(boxes)
    ]
    categories = [{'id': i, 'name': name} for i, name in enumerate(names)]
    content = {'images': images, 'annotations': annotations, 'categories': categories}
    return json.dumps({**content, 'info': info})


@pytest.fixture
def root(tmp_path, write_into):
    rng = np.random.default_rng(0)
    image = rng.integers(40, 200, (96, 128, 3), np.uint8)
    gray = image[..., 0]
    files = {'mix.yaml': MIX, 'pairs/classes.txt': 'lamp\npeople\ncar'}
    files |= {'pairs/splits/train.txt': 'a\nb\nc\nd', 'pairs/splits/val.txt': 'e'}
    for i, name in enumerate('abcde'):
        files |= {f'pairs/vi/{name}.png': image, f'pairs/ir/{name}.png': gray}
        files[f'pairs/labels/{name}.txt'] = f'{i % 3} 0.5 0.5 0.5 0.5'
    files |= {f'drone/ir/{name}.png': gray for name in 'xyz'}
    boxes = [(0, 0, 0, 32, 32), (1, 32, 32, 32, 32)]
    files['drone/annotations.json'] = coco(['Vehicle', 'DontCare'], boxes)
    files |= {f'film/rgb/{name}.png': image for name in 'xyz'}
    files['film/annotations.json'] = coco(['person'], [], **{PSEUDO_LABELS: 'by a detector'})
    return write_into(tmp_path, files)


@pytest.fixture
def mixture(root):
    return open_data(root / 'mix.yaml', 'train')


def test_a_mixture_has_the_samples_of_its_sets_with_their_names_and_origins(mixture):
    assert len(mixture) == 10
    assert mixture.names[:2] == ('pairs/a', 'pairs/b')
    assert [s.name for s in mixture] == list(mixture.names)
    assert [s.strata['source'] for s in mixture] == ['pairs'] * 4 + ['drone'] * 3 + ['film'] * 3
    with pytest.raises(IndexError):
        mixture[10]
    assert [part.data.label_origin for part in mixture.parts] == ['', '', 'by a detector']


def test_classes_of_a_set_become_those_of_the_mixture_and_the_labeled_ones_are_known(mixture):
    assert [s.class_ids.tolist() for s in mixture][:4] == [[], [0], [1], []]
    drone = mixture[4]
    assert drone.class_ids.tolist() == [1, -1]
    assert drone.boxes_xyxy.tolist() == [[0, 0, 16, 16], [16, 16, 32, 32]]
    assert drone.ir.shape == (48, 64)
    assert mixture[0].labeled is None
    assert mixture[4].labeled.tolist() == [False, True]
    assert mixture[9].labeled.tolist() == [True, False]


def test_a_set_without_boxes_labels_no_class(root):
    shutil.rmtree(root / 'pairs/labels')
    (root / 'mix.yaml').write_text(MIX.replace(', names: {lamp: background}', ''))
    mixture = open_data(root / 'mix.yaml', 'train')
    assert mixture[0].labeled.tolist() == [False, False]
    assert not len(mixture[0].boxes_xyxy)
    assert mixture[4].class_ids.tolist() == [1, -1]
    assert mixture.boxes is mixture.parts[1].data.boxes
    assert open_data(root / 'mix.yaml', 'val').boxes is None


def test_the_image_of_a_camera_that_a_set_does_not_have_is_black_in_every_batch(mixture):
    assert not mixture[4].rgb.any()
    assert not mixture[9].ir.any()
    assert not mixture[9].coverage.any()
    config = DetectionTask(source='early', batch=40, crop_hw=(64, 64), stretch=1.0, mosaic=0.5)
    batch = make_batch(mixture, replace(config, modality_dropout=1.0), 0)
    for name, rgb, ir in zip(batch.names, batch.rgb, batch.ir, strict=True):
        assert 'drone' not in name or (not rgb.any() and ir.any())
        assert 'film' not in name or (rgb.any() and not ir.any())


def test_crops_have_the_shares_of_the_sets_and_mosaics_stay_within_one(mixture):
    config = DetectionTask(source='early', batch=100, crop_hw=(32, 32), mosaic=0.5)
    batch = make_batch(mixture, config, 0)
    sources = [{part.split('/')[0] for part in name.split('+')} for name in batch.names]
    assert [len(source) for source in sources] == [1] * 100
    assert [sources.count({name}) for name in ('pairs', 'drone', 'film')] == [60, 20, 20]


def test_a_mixture_in_memory_equals_the_one_on_disk_and_its_limit_is_for_each_set(mixture):
    cached = cache_samples(mixture)
    config = DetectionTask(source='early', batch=8, crop_hw=(32, 32))
    assert (make_batch(cached, config, 3).rgb == make_batch(mixture, config, 3).rgb).all()
    assert mixture[:2].names == ('pairs/a', 'pairs/b', 'drone/x', 'drone/y', 'film/x', 'film/y')
    assert cache_samples(mixture[:1])[2].name == 'film/x'


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('classes: [person, car]', 'classes: 3', r'mix\.yaml must have "classes.*name its folder'),
        ('share: 3', 'share: -1', 'share of pairs must be above 0'),
        ('share: 3', 'share: 500', 'the share of drone is below one percent'),
        ('share: 3', 'weight: 3', 'may have split, share'),
        ('only: ir', 'only: both', 'only of drone must be rgb or ir'),
        ('names: {lamp: background}', 'only: ""', "has the class 'lamp', .*names: {lamp: CLASS}"),
        ('lamp: background', 'lamp: thing', "has the class 'lamp', which is none of"),
        ('lamp: background', 'light: car', "pairs has no class 'light'"),
        ('data: film, only: rgb', 'data: gone, only: rgb', 'gone'),
        ('data: film, only: rgb', 'data: drone, only: ir, names: {DontCare: car}', 'two'),
        ('train:', 'other:', "no list of data sets 'train'; it has other, val"),
        ('[person, car]', '[person, car', 'not valid YAML'),
    ],
)
def test_a_mistake_in_a_mixture_is_named(root, old, new, message):
    (root / 'mix.yaml').write_text(MIX.replace(old, new, 1), encoding='utf-8')
    with pytest.raises(FusionError, match=message):
        open_data(root / 'mix.yaml', 'train')


def test_a_folder_without_rgb_is_taken_for_infrared_alone_only_if_the_mixture_says_so(root):
    (root / 'mix.yaml').write_text(MIX.replace('only: ir, ', ''), encoding='utf-8')
    with pytest.raises(FusionError, match='drone is not a data set'):
        open_data(root / 'mix.yaml', 'train')


def test_masks_of_a_mixture_have_the_classes_of_all_its_data_sets_with_masks():
    def mixture(*classes):
        return Mixture(('car',), tuple(SimpleNamespace(data=one) for one in map(masked, classes)))

    def masked(classes):
        return SimpleNamespace(mask_classes=classes)

    assert mixture((), ('road', 'car'), ('road', 'car')).mask_classes == ('road', 'car')
    assert mixture((), ()).mask_classes == ()
    with pytest.raises(FusionError, match='different classes'):
        _ = mixture(('road',), ('road', 'car')).mask_classes
