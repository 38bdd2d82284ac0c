import os
import re
import shutil
import unicodedata

import numpy as np
import pytest

from tdfusion_ros.core.errors import FusionError
from training.data.batches import cache_samples
from training.data.datasets import DataError
from training.data.datasets import open_dataset

NOISE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
MASK = np.zeros((96, 128), np.uint8)
MASK[:48, 64:], MASK[90:] = 2, 255
XML = (
    '<annotation><size><width>128</width><height>96</height></size><object><name>{}</name>'
    '<bndbox><xmin>64</xmin><ymin>0</ymin><xmax>128</xmax><ymax>48</ymax></bndbox></object>'
    '</annotation>'
)
YOLO = '0 0.75 0.25 0.5 0.5\n'
COCO = (
    '{"images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 5, "name": "goat"}],'
    '"annotations": [{"image_id": 1, "category_id": 5, "bbox": [64, 0, 64, 48]}]}'
)


def pairs(rgb, ir, *names):
    files = {f'{rgb}/{name}.png': NOISE for name in names}
    return files | {f'{ir}/{name}.bmp': NOISE[..., 0] for name in names}


PLAIN = {
    **pairs('rgb', 'ir', 'a', 'b', 'c'),
    **{f'labels/{name}.txt': YOLO for name in 'abc'},
    **{f'masks/{name}.png': MASK for name in 'abc'},
    'classes.txt': 'goat\n',
    'mask_classes.txt': 'ground\nrock\ngoat\n',
}
NAMELESS = PLAIN | {'classes.txt': None}
M3FD = pairs('Vis', 'Ir', 'a') | {'meta/val.txt': 'a.png\n'}
LLVIP = pairs('visible/val', 'infrared/val', 'a')
RGBT = pairs('images/visible', 'images/infrared', 'a') | {'data.yaml': 'names: [man, goat]'}
YAML = {'data.yaml': 'path: ../any\nnc: 1\nnames:\n  0: goat\n'}


def test_msrs_has_masks_and_says_day_or_night(write_files):
    masks = {f'train/Segmentation_labels/{name}.png': MASK for name in ('00001D', '00002N')}
    files = pairs('train/vi', 'train/ir', '00001D', '00002N')
    dataset = open_dataset(write_files(files | masks), 'train')
    day, night = dataset
    assert day.strata == {'light': 'day', 'source': 'msrs'}
    assert night.strata == {'light': 'night', 'source': 'msrs'}
    assert dataset.mask_classes[2] == 'person'
    assert len(dataset.mask_classes) == 9
    np.testing.assert_array_equal(day.mask, MASK)
    np.testing.assert_array_equal(day.rgb[..., ::-1], NOISE)
    np.testing.assert_array_equal(night.ir, NOISE[..., 0])
    assert day.boxes_xyxy.shape == (0, 4)


def test_fmb_has_masks_of_fifteen_classes(write_files):
    files = pairs('test/Visible', 'test/Infrared', '00043')
    dataset = open_dataset(write_files(files | {'test/Label/00043.png': MASK * 0 + 14}), 'test')
    assert dataset.mask_classes[dataset[0].mask.max()] == 'pole'
    assert dataset[0].strata == {'source': 'fmb'}


@pytest.mark.parametrize(
    ('split', 'files', 'name', 'number'),
    [
        ('val', M3FD | {'Annotation/a.xml': XML.format('Truck')}, 'truck', 5),
        ('val', M3FD | {'Annotations/a.xml': XML.format('trunk')}, 'truck', 5),
        ('val', M3FD | {'labels/a.txt': YOLO}, 'people', 0),
        ('val', M3FD | {'labels/a.txt': YOLO, 'classes.txt': 'moto\npeople'}, 'motorcycle', 4),
        ('val', LLVIP | {f'Annotations/{n}.xml': XML.format('person') for n in 'az'}, 'person', 0),
        ('all', pairs('vi', 'ir', 'a') | {'annotations.json': COCO}, 'goat', 0),
        ('all', RGBT | {'labels/a.txt': YOLO.replace('0 ', '1 ', 1)}, 'goat', 1),
        ('all', RGBT | {'labels/visible/a.txt': YOLO}, 'man', 0),
        # Suffixes in any case; files that macOS adds are ignored.
        (
            'all',
            pairs('rgb', 'ir', 'a')
            | {'classes.txt': 'goat', 'labels/a.TXT': YOLO}
            | {'ir/._a.png': '', 'labels/._a.txt': ''},
            'goat',
            0,
        ),
    ],
)
def test_boxes_have_the_class_names_of_the_layout(write_files, split, files, name, number):
    dataset = open_dataset(write_files(files), split)
    assert dataset[0].boxes_xyxy.tolist() == [[64, 0, 128, 48]]
    assert dataset[0].class_ids.tolist() == [number]
    assert dataset.classes[number] == name


@pytest.mark.parametrize(
    'places',
    [
        'images imagesIR labels/a.txt',
        'images/train imagesIR/train labels/train/a.txt',
        'rgb/train ir/train labels/train/a.txt',
        'train/vis train/lwir train/labels/a.txt',
        'images/train/rgb images/train/thermal labels/train/rgb/a.txt',
        'visible/train infrared/train labels/train/a.txt',
        'RGB Thermal labels/a.txt',
        'images images_ir labels/a.txt',
        'train/images train/images_ir train/labels/a.txt',
        'rgb ir Annotations/a.xml',
        'rgb ir rgb/a.xml',
        'rgb ir annotations/instances_train.json',
        'rgb ir annotations/instances_default.json',
        'train/rgb train/ir train/_annotations.coco.json',
    ],
)
def test_folders_of_own_data_may_be_in_many_places(write_files, places):
    rgb, ir, labels = places.split()
    content = {'.txt': YOLO, '.xml': XML.format('Goat'), 'json': COCO}[labels[-4:]]
    dataset = open_dataset(write_files(pairs(rgb, ir, 'a') | YAML | {labels: content}), 'train')
    assert dataset[0].boxes_xyxy.tolist() == [[64, 0, 128, 48]]
    assert dataset.classes == ('goat',)


@pytest.mark.parametrize('labels', ['rgb', 'labels'])
def test_labelimg_writes_the_classes_beside_its_labels(write_files, labels):
    files = {f'{labels}/a_rgb.txt': YOLO, f'{labels}/classes.txt': 'goat\n'}
    dataset = open_dataset(write_files(pairs('rgb', 'ir', 'a_rgb') | files), 'all')
    assert (dataset.classes, dataset[0].class_ids.tolist()) == (('goat',), [0])
    assert dataset.names == ('a',)


def test_text_beside_images_is_no_label_without_a_list_of_classes(write_files):
    dataset = open_dataset(write_files(pairs('rgb', 'ir', 'a') | {'rgb/times.txt': '1'}), 'all')
    assert dataset.boxes is None


@pytest.mark.parametrize('folder', ['', 'images/'])
def test_kaist_counts_reasonable_persons_and_ignores_the_others(write_files, folder):
    files, names = {}, [f'{number}/V000/I00001' for number in ('set00', 'set06')]
    for name in names:
        drive, frame = name.rsplit('/', 1)
        files |= pairs(f'{folder}{drive}/visible', f'{folder}{drive}/lwir', frame)
        files[f'annotations/{name}.txt'] = (
            '% bbGt version=3\nperson 64 0 64 60 0 0 0 0 0 0 0\nperson 9 0 9 54 0 0 0 0 0 0 0\n'
            'person 9 0 9 60 2 0 0 0 0 0 0\npeople 9 0 9 60 0 0 0 0 0 0 0\n'
        )
    dataset = open_dataset(write_files(files | {'imageSets/test.txt': f'{names[1]}\n'}), 'test')
    assert dataset.names == (names[1],)
    assert dataset.classes == ('person',)
    assert dataset[0].class_ids.tolist() == [0, -1, -1, -1]
    assert dataset[0].boxes_xyxy[0].tolist() == [64, 0, 128, 60]


def test_msrs_det_reads_splits_boxes_and_strata_from_its_files(write_files):
    names = ('00001D', '00002N')
    files = pairs('vi', 'ir', *names) | {f'boxes/fusion/{name}.txt': YOLO for name in names}
    files['splits/train.txt'] = '00002N\n00001D\n'
    files['index.csv'] = 'name,split,day_night,source_repo\n00001D,train,night,somebody\n'
    dataset = open_dataset(write_files(files), 'train')
    assert dataset.classes == ('person', 'bicycle', 'car')
    first, second = dataset
    assert (first.name, first.mask) == ('00002N', None)
    assert first.strata == {'light': 'night', 'source': 'msrs_det'}
    assert second.boxes_xyxy.tolist() == [[64, 0, 128, 48]]
    assert second.strata == {'light': 'night', 'source': 'somebody'}


@pytest.mark.parametrize('rgb', ['rgb', 'vi'])
def test_plain_pairs_need_no_labels(write_files, rgb):
    dataset = open_dataset(write_files(pairs(rgb, 'ir', 'b', 'a')), 'all')
    assert dataset.names == ('a', 'b')
    assert dataset.classes == dataset.mask_classes == ()
    assert dataset[1].mask is None
    assert len(dataset[:1]) == 1


@pytest.mark.parametrize(
    ('files', 'split', 'message'),
    [
        (PLAIN | {'rgb/b.png': None}, 'all', r"rgb lacks 'b' \(1 of 3"),
        (PLAIN | {'ir/b.bmp': None}, 'all', r"ir lacks 'b' \(1 of 3"),
        (PLAIN | {'labels/b.txt': None}, 'all', r"labels lacks 'b' \(1 of 3"),
        (PLAIN | {'masks/b.png': None}, 'all', r"masks lacks 'b' \(1 of 3"),
        (PLAIN | {'rgb/a.bmp': NOISE}, 'all', r'a\.bmp and .*a\.png have the same stem'),
        (PLAIN | {'classes.txt': None}, 'all', r'classes\.txt is missing'),
        (PLAIN | {'classes.txt': '\n'}, 'all', r'classes\.txt is missing or empty'),
        (PLAIN | {'classes.txt': 'a\nb\na'}, 'all', r"classes\.txt has the class 'a' twice"),
        (PLAIN | {'mask_classes.txt': None}, 'all', r'mask_classes\.txt is missing'),
        (PLAIN | {'ir/a.bmp': NOISE[:48, :, 0]}, 'all', r'ir/a\.bmp is 128x48, .*a\.png is 128x9'),
        (PLAIN | {'splits/t.txt': 'a\ny\nz\n'}, 't', r"rgb lacks 'y', 'z' \(2 of 3"),
        (PLAIN | {'splits/t.txt': 'a\nb\na\nb\n'}, 't', r"t\.txt contains 'a', 'b' twice"),
        (PLAIN | {'splits/t.txt': ''}, 't', 'is empty'),
        (PLAIN | {'splits/train.txt': 'a'}, 'val', r'splits/val\.txt is missing.*blocks_val'),
        (
            pairs('left', 'right', 'a'),
            'all',
            "rgb and ir.*found them in 'left', 'right'",
        ),
        (
            PLAIN | YAML | {'classes.txt': 'sheep'},
            'all',
            r'differ \(.*txt: sheep; .*data\.yaml: goat\)',
        ),
        (YAML | {'data.yaml': 'names: goat'} | NAMELESS, 'all', r'data\.yaml must have .*\[NAME'),
        (LLVIP, 'test', r'visible/test is missing: .*splits val \(--split; .*validate_split='),
        (pairs('a/rgb', 'a/ir', 'a') | {'b/rgb/a.txt': ''}, 'val', 'one of the splits a '),
        (pairs('rgb/images', 'ir/images', 'a'), 'val', r'rgb/val is missing: .*splits images '),
        (
            pairs('rgb/train/a', 'ir/train/a', 'a'),
            'train',
            "them in 'ir/train/a', 'rgb",
        ),
        (pairs('.', '.', 'a'), 'train', r"found them in '\.': rename the folders, or move"),
        (pairs('rgb', 'ir', 'a') | {'splits/day.txt': 'a'}, 'val', 'one of the splits day, all, '),
        (
            M3FD | {'labels/a.txt': YOLO, 'classes.txt': 'people\nhorse\n'},
            'all',
            r"classes\.txt contains 'horse'.*people, car",
        ),
    ],
)
def test_what_is_missing_or_does_not_fit_is_named(write_files, files, split, message):
    with pytest.raises(FusionError, match=message):
        list(open_dataset(write_files(files), split))


def test_what_is_used_of_a_data_set_is_remarked(write_files):
    rgb, ir = (f'{camera}/val' for camera in ('visible', 'infrared'))
    (remark,) = open_dataset(write_files(pairs(rgb, ir, 'a')), 'val').check()
    assert re.search(
        r'has no boxes: expected one of .*annotations/val\.json, .*labels/val', remark
    )


def test_all_files_that_cannot_be_used_are_listed_before_training(write_files):
    bad = {
        'labels/a.txt': '7 0.5 0.5 1 1',
        'masks/a.png': MASK[:50],
        'labels/c.txt': '0 0.5 0.5 0 1',
        'ir/b.bmp': NOISE[:48, :, 0],
    }
    root = write_files(PLAIN | bad)
    (root / 'rgb' / 'd.png').write_bytes((root / 'rgb' / 'a.png').read_bytes()[:-30])
    for good in ('ir/c.bmp', 'labels/b.txt', 'masks/b.png'):
        shutil.copy(root / good, (root / good).with_stem('d'))
    with pytest.raises(DataError, match=r'^5 files cannot be used: ') as caught:
        cache_samples(open_dataset(root, 'all'))
    expected = (
        *(r'a\.txt contains class 7', r'masks/a\.png is 128x50', r'ir/b\.bmp is 128x48'),
        *(r'c\.txt: box 1', r'rgb/d\.png is not an image that can be read'),
    )
    for text, problem in zip(expected, caught.value.problems, strict=True):
        assert re.search(text, problem)


def test_names_are_the_same_whether_accents_are_composed_or_not(write_files):
    apart, composed = (unicodedata.normalize(form, 'café 1') for form in ('NFD', 'NFC'))
    files = pairs('rgb', 'ir', apart) | {'splits/t.txt': f'{composed}\n', 'classes.txt': 'goat'}
    root = write_files(files | {f'labels/{composed}.txt': YOLO})
    assert open_dataset(root, 't').names == (composed,)
    assert len(open_dataset(root, 't')[0].boxes_xyxy) == 1


def test_names_that_are_not_utf8_are_read(write_files):
    root, name = write_files(pairs('rgb', 'ir', 'a')), os.fsdecode('像1'.encode('gbk'))
    for path in (root / 'rgb' / 'a.png', root / 'ir' / 'a.bmp'):  # imwrite cannot
        path.rename(path.with_stem(name))
    (sample,) = open_dataset(root, 'all')
    assert sample.name == name


def test_msrs_det_reads_the_masks_that_are_there(data_root, write_into):
    assert open_dataset(data_root, 'val').mask_classes == ()
    write_into(data_root, {'masks/a.png': np.full((96, 128), 8, np.uint8)})
    data = open_dataset(data_root, 'val')
    assert len(data.mask_classes) == 9
    assert [sample.name for sample in data if sample.mask is not None] == ['a']
    assert data[0].mask.max() == 8
